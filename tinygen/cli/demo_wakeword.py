"""`tinygen demo wakeword`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tinygen.cli.console import console, print_json, progress
from tinygen.cli.options import Arithmetic, Board, Json, Toolchain
from tinygen.errors import TinygenError


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
            metavar="PORT",
            help="Of a real board, which is flashed first: auto, or its serial port; default: the emulated one.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the project is written.")] = Path(
        "out/wakeword"
    ),
    train: Annotated[
        str | None,
        typer.Option("--train", metavar="PHRASE", help="Train a network for this phrase first, in some minutes."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="With --train: next to nothing of all, to see that it works.")
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="With --train: of the data set and the network.")
    ] = 0,
    recipes: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="With --train: train it in few bits, too, one network each: int8,w4a4,w2a2,w1a2,xnor.",
        ),
    ] = "",
    exits: Annotated[
        bool,
        typer.Option("--exit", help="With --train: a network with an exit, too, and what an hour of listening takes."),
    ] = False,
    toolchain: Toolchain = None,
    arithmetic: Arithmetic = "reference",
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace the file at --save-wav, and files in --out that were changed since."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Build wake-word firmware, start the board and play speech to it."""
    if train is not None:
        if wav is not None or mic or port is not None or save_wav is not None or model != "okay_nabu":
            fix = "Train first; then: tinygen demo wakeword --model DIR/model.tg --wav FILE."
            raise TinygenError("--train plays a scene of its own to the emulated board", fix=fix)
        from tinygen.cli.train_wakeword import Training, train_and_show

        names = tuple(part for name in recipes.split(",") if (part := name.strip()))
        training = Training(board, quick, seed, toolchain, force, names, exits)
        train_and_show(train, out, training, as_json=as_json)
        return
    if quick:
        raise TinygenError("--quick is for training", fix='Give --train "hey computer", too.')
    if recipes or exits:
        what = "--recipes" if recipes else "--exit"
        raise TinygenError(f"{what} is for training", fix='Give --train "hey computer", too.')
    from tinygen.apps.wakeword.demo import DemoOptions, Watcher, demo_wakeword
    from tinygen.cli.demo_wakeword_view import LiveView, demo_view

    with _interrupt_ends(mic) as ended, LiveView(console, quiet=as_json) as view, progress(as_json) as update:
        result = demo_wakeword(
            board,
            out,
            DemoOptions(
                model=model,
                wav=wav,
                microphone=mic,
                port=port,
                toolchain=toolchain,
                arithmetic=arithmetic,
                save_wav=save_wav,
                force=force,
            ),
            Watcher(ended, update, view.start, view.show),
        )
    if as_json:
        print_json(result.as_json())
    else:
        console.print(demo_view(result))


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
