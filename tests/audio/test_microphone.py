"""The computer's microphone, played by a module in sounddevice's place."""

from __future__ import annotations

import sys
import threading
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
    """What sounddevice.InputStream does; a test plays the thread that calls back."""

    opened: list[Stream] = []

    def __init__(self, *, callback: Callable[..., None], **settings: Any) -> None:
        self.callback, self.settings, self.position, self.state = callback, settings, 0, "opened"
        self.buffer = np.zeros((settings["blocksize"], 1), np.int16)
        Stream.opened.append(self)

    def start(self) -> None:
        self.state = "started"

    def close(self) -> None:
        self.state = "closed"

    def hear(self, blocks: int = 1, *, overflow: bool = False) -> None:
        """A ramp, in an array that every block is written into."""
        for _ in range(blocks):
            count = len(self.buffer)
            self.buffer[:, 0] = np.arange(self.position, self.position + count) % 30000
            self.callback(self.buffer, count, None, types.SimpleNamespace(input_overflow=overflow))
            self.position += count


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
    (stream,) = Stream.opened
    stream.hear(3)
    sound = np.concatenate([next(pieces) for _ in range(3)])
    assert sound.dtype == np.int16 and sound.tolist() == list(range(2400))
    assert stream.settings == {
        "device": None,
        "channels": 1,
        "dtype": "int16",
        "samplerate": 16000,
        "blocksize": 800,
    }
    pieces.close()  # type: ignore[attr-defined]
    assert stream.state == "closed"


def test_pieces_are_waited_for(module: types.ModuleType) -> None:
    pieces = record(16000)
    threading.Timer(0.1, Stream.opened[0].hear).start()
    assert next(pieces).tolist() == list(range(800))


def test_a_slow_board_may_be_behind_but_not_for_ever(module: types.ModuleType) -> None:
    pieces = record(16000)
    kept = round(microphone.KEPT_SECONDS / microphone.BLOCK_SECONDS)
    Stream.opened[0].hear(kept + 5)
    sound = np.concatenate([next(pieces) for _ in range(kept)])
    assert np.array_equal(sound, np.arange(kept * 800) % 30000)
    with pytest.raises(TinygenError, match="the board is 30 s behind the microphone"):
        next(pieces)
    assert Stream.opened[0].state == "closed"


def test_lost_samples_are_an_error_after_those_before_them(module: types.ModuleType) -> None:
    pieces = record(16000)
    Stream.opened[0].hear(2)
    Stream.opened[0].hear(overflow=True)
    Stream.opened[0].hear()
    assert [int(next(pieces)[0]) for _ in range(2)] == [0, 800]
    with pytest.raises(TinygenError, match="the sound system lost samples"):
        next(pieces)
    assert Stream.opened[0].state == "closed"


def test_a_microphone_that_goes_away_is_an_error(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "_SILENT_SECONDS", 0.05)
    pieces = record(16000)
    Stream.opened[0].hear()
    next(pieces)
    with pytest.raises(TinygenError, match="the microphone stopped"):
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
    with pytest.raises(TinygenError, match="at 8000 Hz"):
        microphone.check(8000)
    assert str(problem) in str(error.value) and not Stream.opened


def raising(problem: Exception) -> Callable[[str], Any]:
    def imported(name: str) -> Any:
        raise problem

    return imported


def test_a_stream_that_does_not_start_is_closed(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_stream: Stream) -> None:
        raise PortAudioError("busy")

    monkeypatch.setattr(Stream, "start", start)
    with pytest.raises(TinygenError, match="busy"):
        record(16_000)
    assert Stream.opened[0].state == "closed"


def test_a_missing_package_and_a_missing_library_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone.importlib, "import_module", raising(ImportError("No module named 'sounddevice'")))
    with pytest.raises(TinygenError, match=r"tinygen\[mic\]"):
        record()
    monkeypatch.setattr(microphone.importlib, "import_module", raising(OSError("PortAudio library not found")))
    with pytest.raises(TinygenError, match=r"PortAudio library not found(?s:.)*libportaudio2"):
        record()
