"""`tinygen demo`: the digits without a name, the others by theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinygen.cli.console import console, print_json, progress
from tinygen.cli.demo_classify import classify
from tinygen.cli.demo_wakeword import wakeword
from tinygen.cli.options import Board, Force, Json, Toolchain

demo = typer.Typer(help="Build a demo and run it on the emulated board.")


@demo.callback(invoke_without_command=True)
def digits(
    context: typer.Context,
    board: Board = "f746zg",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the project is written.")] = Path(
        "out/demo"
    ),
    count: Annotated[
        int, typer.Option("--digits", min=1, max=1000, metavar="N", help="How many test digits to run.")
    ] = 200,
    toolchain: Toolchain = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Build the bundled digit classifier and run it on the emulated board; or one of the demos below."""
    if context.invoked_subcommand is not None:
        return
    from tinygen.apps.digits.demo import run_demo

    with progress(as_json) as update:
        result = run_demo(board, out, digits=count, toolchain=toolchain, force=force, progress=update)
    if as_json:
        print_json(result.as_json())
    else:
        from tinygen.cli.tables import demo_view

        console.print(demo_view(result))


demo.command("wakeword")(wakeword)
demo.command("classify")(classify)
