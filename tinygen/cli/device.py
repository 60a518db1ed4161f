"""`tinygen device`."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinygen.cli.console import console, print_json
from tinygen.cli.options import Json

if TYPE_CHECKING:
    from tinygen.verbs.device import Opened


def device(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A directory written by `tinygen build`.")],
    link: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Also make a symbolic link to the port, which is gone at the end."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a build on an emulated board: a serial port for any program.

    Until Ctrl-C. Times that the board reports are predicted.
    """
    from tinygen.verbs.device import serve

    with _until_told() as stop, serve(folder, link) as serving:
        if as_json:
            print_json(serving.opened.as_json())
            sys.stdout.flush()  # a program that reads it from a pipe waits for it
        else:
            console.print(_text(serving.opened), soft_wrap=True, highlight=False, markup=False)
        serving.wait(stop)


def _text(opened: Opened) -> str:
    """A line that fits, unless the user's own link is long: a path is not broken."""
    where = opened.port if opened.link is None else f"{opened.link} ({opened.port})"
    return f"{opened.board}, emulated, {opened.baud} baud: {where}\nTimes are predicted. Ctrl-C ends it."


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Waits for Ctrl-C or `kill`, which are the normal end and no errors."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
