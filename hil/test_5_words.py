"""A wake word, with sound over the line and from the board's own microphone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hil.foreign import gaps_of
from hil.place import Place
from tinygen.audio.models import bundled
from tinygen.errors import TinygenError
from tinygen.hil.ports import LABWIRED
from tinygen.project.wakeword_json import wakeword_app_from_json
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.listen import ListenReport, listen, listen_to_board

WORD, SECONDS = "okay_nabu", 2.5
RATE = 16_000


@pytest.fixture(scope="session")
def sound() -> np.ndarray:
    """The word, said by a synthetic voice; int16 at 16 kHz."""
    from tinygen.audio.speech import say

    try:
        spoken = say("okay nabu")
    except TinygenError as error:
        pytest.skip(f"no sound to play: {error.what}")
    pause = np.zeros(RATE // 2, np.int16)
    return np.concatenate([pause, spoken, pause])[: int(SECONDS * RATE)]


def _firmware(board: str, folder: Path, toolchain: str | None, kernels: str = "tinygen") -> Path:
    try:
        model, config = bundled()[WORD]
    except TinygenError as error:
        pytest.skip(f"no wake word: {error.what}")
    app = wakeword_app_from_json(config)
    options = BuildOptions(board=board, toolchain=toolchain, app=app, kernels=kernels)
    return build(model, folder, options, profile=False).folder


@pytest.fixture(scope="session")
def wakeword(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wakeword") / "firmware"
    return _firmware(str(place.board.path), folder, place.toolchain, place.kernels)


def test_sound_over_the_line(place: Place, wakeword: Path, sound: np.ndarray, tmp_path: Path) -> None:
    """Every code of every hop is what the same C gives on this computer."""
    ours = listen(_firmware("host", tmp_path / "host", None), [sound])
    with place.device(wakeword) as device, gaps_of(place, wakeword, "the wake word"):
        heard = listen(wakeword, [sound], device=device)
    if place.port == LABWIRED and _said(heard) != _said(ours) == _said(listen(wakeword, [sound])):
        pytest.skip("labwired computes otherwise than this computer and our emulated board: the wake word")
    assert _said(heard) == _said(ours)
    if heard.cycles_source:
        assert heard.counted.overruns == 0


def test_its_own_microphone(place: Place, wakeword: Path, sound: np.ndarray) -> None:
    if place.board.microphone is None:
        pytest.skip("no microphone: its board file has none")
    if place.is_foreign:
        pytest.skip(f"{place.port} has no microphone")
    with place.device(wakeword) as device:
        if place.is_real:
            print("\nSay something.")
            heard = listen_to_board(wakeword, hops=int(SECONDS * RATE / 160), device=device)
        else:
            heard = listen_to_board(wakeword, sound, device=device)
    assert heard.counted.lost == 0 and heard.counted.overruns == 0
    codes = {event.codes for event in heard.events if event.ran}
    assert len(codes) > 1, "the same whatever it hears: no microphone is connected, or it is silent"


def _said(report: ListenReport) -> list[object]:
    return [replace(event, frontend_cycles=0, inference_cycles=0) for event in report.events]
