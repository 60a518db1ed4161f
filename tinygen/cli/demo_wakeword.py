"""`tinygen demo wakeword`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tinygen.cli.console import console, print_json, print_wide, progress
from tinygen.cli.options import Board, Json, Toolchain


def wakeword(
    board: Board = "f746zg",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|PATH",
            help="okay_nabu, hey_jarvis, hey_mycroft, alexa; or a .tflite or .tg file with its JSON beside it.",
        ),
    ] = "okay_nabu",
    wav: Annotated[
        Path | None, typer.Option("--wav", metavar="FILE", help="Sound to play; default: synthesised sentences.")
    ] = None,
    mic: Annotated[
        bool, typer.Option("--mic", help="Play what this computer's microphone hears, until Ctrl-C.")
    ] = False,
    save_wav: Annotated[Path | None, typer.Option("--save-wav", metavar="FILE", help="Write what was played.")] = None,
    port: Annotated[
        str | None,
        typer.Option(
            help="Of a real board, which is flashed first: auto, or its serial port; default: the emulated one."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the project is written.")] = Path(
        "out/wakeword"
    ),
    toolchain: Toolchain = None,
    as_json: Json = False,
) -> None:
    """Build firmware that listens for a wake word, start the (emulated) board, and speak to it."""
    from tinygen.cli.demo_wakeword_view import LiveView, demo_view
    from tinygen.verbs.demo_wakeword import demo_wakeword

    with _interrupt_ends(mic) as ended, LiveView(console, quiet=as_json) as view, progress(as_json) as update:
        result = demo_wakeword(
            board, out, model=model, wav=wav, microphone=mic, port=port, toolchain=toolchain, save_wav=save_wav,
            until=ended, progress=update, on_start=view.start, on_hop=view.show,
        )  # fmt: skip
    if as_json:
        print_json(result.as_json())
    else:
        print_wide(demo_view(result), 110)


@contextmanager
def _interrupt_ends(sound: bool) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; a second one interrupts, as the first does where it does not end the sound."""
    ended = threading.Event()
    if not sound:
        yield ended.is_set
        return

    def interrupted(*_: Any) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()

    previous = signal.signal(signal.SIGINT, interrupted)
    try:
        yield ended.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
