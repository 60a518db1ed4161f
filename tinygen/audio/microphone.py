"""The computer's own microphone, by `sounddevice`."""

from __future__ import annotations

import importlib
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygen.errors import TinygenError

BLOCK_SECONDS = 0.05
KEPT_SECONDS = 30.0
"""Sound that waits for a board: an emulated one on a busy computer may be slower than the sound, for a while."""
_SILENT_SECONDS = 5.0


def check(sample_rate_hz: int = 16_000, device: str | int | None = None) -> None:
    """Checks that `record` can be called, for callers with other work to do first.

    Raises:
        TinygenError: no `sounddevice`, no PortAudio library, no microphone, not at this rate.
    """
    sounddevice = _sounddevice()
    try:
        sounddevice.check_input_settings(**_settings(sample_rate_hz, device))
    except (sounddevice.PortAudioError, ValueError) as problem:
        raise _unusable(problem, sample_rate_hz) from None


def record(sample_rate_hz: int = 16_000, device: str | int | None = None) -> Iterator[np.ndarray]:
    """int16 samples from the microphone, in pieces of 50 ms, until the caller stops asking for them.

    The microphone is opened by the call, and recording starts then.

    Args:
        sample_rate_hz: that the microphone is opened at; most sound systems convert to any rate.
        device: its name or number, as `python -m sounddevice` lists them; None: the computer's default.

    Raises:
        TinygenError: no `sounddevice`, no PortAudio library, no microphone, not at this rate; while it runs: it
            stopped, or samples were lost.
    """
    check(sample_rate_hz, device)
    sounddevice = _sounddevice()
    recording = _Recording()
    size = round(sample_rate_hz * BLOCK_SECONDS)
    try:
        settings = _settings(sample_rate_hz, device)
        stream = sounddevice.InputStream(**settings, blocksize=size, callback=recording.heard)
        try:
            stream.start()
        except BaseException:
            stream.close()
            raise
    except (sounddevice.PortAudioError, ValueError) as problem:
        raise _unusable(problem, sample_rate_hz) from None
    return recording.pieces(stream)


def _settings(sample_rate_hz: int, device: str | int | None) -> dict[str, Any]:
    return {"device": device, "channels": 1, "dtype": "int16", "samplerate": sample_rate_hz}


def _unusable(problem: Exception, sample_rate_hz: int) -> TinygenError:
    return TinygenError(
        f"no microphone gives one channel of 16 bits at {sample_rate_hz} Hz: {problem}",
        fix="`python -m sounddevice` lists what there is; choose the default input in the system's settings.",
    )


class _Recording:
    """Pieces between PortAudio's thread, which brings them, and the caller's, which takes them."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[np.ndarray] = queue.Queue(maxsize=round(KEPT_SECONDS / BLOCK_SECONDS))
        self._lost = ""

    def heard(self, samples: np.ndarray, _count: int, _time: Any, status: Any) -> None:
        """PortAudio's callback; the array is its own, and is written over afterwards."""
        if self._lost:
            return
        if status.input_overflow:
            self._lost = "the sound system lost samples"
            return
        try:
            self._waiting.put_nowait(samples[:, 0].copy())
        except queue.Full:
            self._lost = f"the board is {KEPT_SECONDS:g} s behind the microphone"

    def pieces(self, stream: Any) -> Iterator[np.ndarray]:
        try:
            while True:
                if self._lost and self._waiting.empty():
                    fix = "An emulated board may be slower than real time on a busy computer: take a WAV file, or wait."
                    raise TinygenError(f"{self._lost}: what follows is no more one piece of sound", fix=fix)
                try:
                    yield self._waiting.get(timeout=_SILENT_SECONDS)
                except queue.Empty:
                    if not self._lost:
                        raise TinygenError("the microphone stopped", fix="Is it still connected?") from None
        finally:
            stream.close()


def _sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ImportError:
        raise TinygenError(
            "the microphone needs the package sounddevice, which is not installed", fix="pip install 'tinygen[mic]'"
        ) from None
    except OSError as problem:  # the package is there, the library that it binds is not
        fix = "Install PortAudio; on Debian and Ubuntu: apt install libportaudio2."
        raise TinygenError(f"the microphone cannot be used: {problem}", fix=fix) from None
