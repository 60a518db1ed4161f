"""`tinygen listen`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinygen.cli.console import console, print_json, progress
from tinygen.cli.options import Json, Port
from tinygen.errors import TinygenError

if TYPE_CHECKING:
    import numpy as np

    from tinygen.hil.audio import HopEvent


def listen(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A directory written by `tinygen build --app wakeword`.")
    ],
    wav: Annotated[
        list[Path] | None,
        typer.Option("--wav", metavar="F", help="Sound to send; may be repeated, one after the other."),
    ] = None,
    mic: Annotated[
        bool, typer.Option("--mic", help="Send what this computer's microphone hears, until Ctrl-C.")
    ] = False,
    board_mic: Annotated[
        bool,
        typer.Option(
            "--board-mic",
            help="Have the board listen to its own microphone, until Ctrl-C; an emulated one hears --wav.",
        ),
    ] = False,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Send sound to wake-word firmware; show what it detects.

    Also shows the time that each hop of sound takes on the board.
    """
    import numpy as np

    from tinygen.cli.listen_tables import listen_view
    from tinygen.hil.ports import EMULATED
    from tinygen.verbs.listen import app_of, listen_to_board
    from tinygen.verbs.listen import listen as run

    rate = int(app_of(folder).sample_rate_hz)
    emulated = port in (None, EMULATED)
    if (mic and (wav or board_mic)) or not (mic or wav or board_mic):
        fix = "Give --wav FILE (one or more), or --mic; or --board-mic."
        raise TinygenError("nothing to listen to, or too much", fix=fix)
    if board_mic and emulated != bool(wav):
        what = "hears nothing but what it is given" if emulated else "hears what there is to hear, not a file"
        fix = "Give --wav FILE, too." if emulated else "Leave --wav out."
        raise TinygenError(f"the microphone of this board {what}", where=str(port or folder), fix=fix)
    with progress(as_json) as update:
        sounds, hops = (_microphone(rate), 0) if mic else _files(wav or [], rate, folder)

        def show(event: HopEvent, probability: float) -> None:
            what = "listening" if hops else f"listening, probability {probability:.2f}"
            update(what, event.hop + 1, hops or None)

        if board_mic:
            heard = np.concatenate(list(sounds)) if wav else None
            result = listen_to_board(folder, heard, port=port, on_event=show)
        else:
            result = run(folder, sounds, port=port, on_event=show)
    if as_json:
        print_json(result.as_json())
    else:
        console.print(listen_view(result))


def _files(paths: list[Path], rate: int, folder: Path) -> tuple[list[np.ndarray], int]:
    from tinygen.audio.wav import read_wav
    from tinygen.verbs.listen import app_of

    sounds = [read_wav(path, rate) for path in paths]
    return sounds, sum(sound.size for sound in sounds) // int(app_of(folder).hop_samples)


def _microphone(rate: int) -> Iterator[np.ndarray]:
    """Until Ctrl-C, which ends the sound, not the report."""
    from tinygen.audio.microphone import record

    pieces: Iterable[np.ndarray] = record(rate)
    try:
        yield from pieces
    except KeyboardInterrupt:
        return
