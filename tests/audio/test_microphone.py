"""The computer's microphone, played by a module in sounddevice's place."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen.audio import microphone
from tinygen.audio.microphone import record
from tinygen.errors import TinygenError


class PortAudioError(Exception):
    pass


class Stream:
    """What sounddevice.InputStream does, with a ramp for sound."""

    opened: list[Stream] = []

    def __init__(self, **settings: Any) -> None:
        self.settings, self.position, self.state = settings, 0, "opened"
        self.overflows_at = self.fails_at = 10**9
        Stream.opened.append(self)

    def start(self) -> None:
        self.state = "started"

    def close(self) -> None:
        self.state = "closed"

    def read(self, count: int) -> tuple[np.ndarray, bool]:
        assert self.state == "started"
        if self.position >= self.fails_at:
            raise PortAudioError("Unanticipated host error [PaErrorCode -9999]")
        samples = np.arange(self.position, self.position + count, dtype=np.int16)[:, None]
        self.position += count
        return samples, self.position > self.overflows_at


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    fake: Any = types.ModuleType("sounddevice")
    fake.PortAudioError, fake.InputStream = PortAudioError, Stream
    fake.check_input_settings = lambda **settings: None
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    Stream.opened = []
    return fake


def test_pieces_follow_each_other_and_the_stream_is_closed(module: types.ModuleType) -> None:
    pieces = record(16000)
    sound = np.concatenate([next(pieces) for _ in range(3)])
    assert sound.dtype == np.int16 and sound.tolist() == list(range(2400))
    (stream,) = Stream.opened
    assert stream.settings == {"device": None, "channels": 1, "dtype": "int16", "samplerate": 16000}
    pieces.close()  # type: ignore[attr-defined]
    assert stream.state == "closed"


def test_lost_samples_are_an_error(module: types.ModuleType) -> None:
    pieces = record(16000)
    next(pieces)
    Stream.opened[0].overflows_at = 1000
    with pytest.raises(TinygenError, match="samples of the microphone were lost"):
        next(pieces)
    assert Stream.opened[0].state == "closed"


def test_a_microphone_that_goes_away_is_an_error(module: types.ModuleType) -> None:
    pieces = record(16000)
    Stream.opened[0].fails_at = 800
    next(pieces)
    with pytest.raises(TinygenError, match="the microphone stopped: Unanticipated host error"):
        next(pieces)
    assert Stream.opened[0].state == "closed"


@pytest.mark.parametrize(
    "problem",
    [
        PortAudioError("Error querying device -1"),
        PortAudioError("Invalid sample rate [PaErrorCode -9997]"),
        ValueError("No input device matching 'usb'"),
    ],
)
def test_no_microphone_or_not_at_this_rate(module: Any, problem: Exception) -> None:
    def refuse(**settings: Any) -> None:
        raise problem

    module.check_input_settings = refuse
    with pytest.raises(TinygenError, match="no microphone gives one channel of 16 bits at 11025 Hz") as error:
        record(11025)  # by the call, not by the first piece
    assert str(problem) in str(error.value) and not Stream.opened


def raising(problem: Exception) -> Callable[[str], Any]:
    def imported(name: str) -> Any:
        raise problem

    return imported


def test_a_missing_package_and_a_missing_library_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone.importlib, "import_module", raising(ImportError("No module named 'sounddevice'")))
    with pytest.raises(TinygenError, match=r"tinygen\[mic\]"):
        record()
    monkeypatch.setattr(microphone.importlib, "import_module", raising(OSError("PortAudio library not found")))
    with pytest.raises(TinygenError, match=r"PortAudio library not found(?s:.)*libportaudio2"):
        record()
