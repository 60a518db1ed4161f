"""`tinygen flash`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tinygen.cli.console import console, print_json


def flash(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A directory written by `tinygen build`.")],
    board: Annotated[
        str | None, typer.Option("--board", "-b", metavar="BOARD", help="Must be the build's; default: the build's.")
    ] = None,
    port: Annotated[
        str | None, typer.Option(metavar="PORT|auto", help="Serial port; default: found by the board's USB identity.")
    ] = None,
    probe: Annotated[
        str | None, typer.Option(metavar="ID", help="Serial number of the debug probe, or where its drive is mounted.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="M", help="pyocd, openocd, ...; default: the first the board prefers and is here."),
    ] = None,
    verify: Annotated[bool, typer.Option(help="Read flash back; some tools always do.")] = True,
    check: Annotated[bool, typer.Option(help="Ask the board afterwards which build it runs.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands, run nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Put a build's firmware on a real board, and see that it answers."""
    from tinygen.verbs.flash import FlashOptions, flash

    def echo(text: str) -> None:
        if not as_json:
            sys.stderr.write(text)
            sys.stderr.flush()

    result = flash(folder, FlashOptions(board, method, port, probe, verify, check, dry_run), echo=echo)
    if as_json:
        print_json(result.as_json())
    elif dry_run:
        console.print("\n".join(result.commands), soft_wrap=True)
    else:
        console.print(f"{result.board.title}: {result.sentence()}")
