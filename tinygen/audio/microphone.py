"""The computer's own microphone, by `sounddevice`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygen.errors import TinygenError

BLOCK_SECONDS = 0.05


def record(sample_rate_hz: int = 16_000, device: str | int | None = None) -> Iterator[np.ndarray]:
    """int16 samples from the microphone, in pieces of 50 ms, until the caller stops asking for them.

    The microphone is opened by the call, so that what is wrong with it is known before anything else is started.

    Args:
        sample_rate_hz: that the microphone is opened at; most sound systems convert to any rate.
        device: its name or number, as `python -m sounddevice` lists them; None: the computer's default.

    Raises:
        TinygenError: no `sounddevice`, no PortAudio library, no microphone, not at this rate; while it runs: it
            stopped, or its samples were not fetched in time.
    """
    sounddevice = _sounddevice()
    try:
        sounddevice.check_input_settings(device=device, channels=1, dtype="int16", samplerate=sample_rate_hz)
        stream = sounddevice.InputStream(device=device, channels=1, dtype="int16", samplerate=sample_rate_hz)
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as problem:
        raise _unusable(problem, sample_rate_hz) from None
    return _pieces(sounddevice, stream, round(sample_rate_hz * BLOCK_SECONDS))


def _pieces(sounddevice: Any, stream: Any, size: int) -> Iterator[np.ndarray]:
    try:
        while True:
            try:
                samples, overflowed = stream.read(size)
            except sounddevice.PortAudioError as problem:
                raise TinygenError(f"the microphone stopped: {problem}", fix="Is it still connected?") from None
            if overflowed:
                raise TinygenError(
                    "samples of the microphone were lost: they were not taken in time",
                    fix="An emulated board may be slower than real time on this computer: take a WAV file.",
                )
            yield samples[:, 0].copy()
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


def _unusable(problem: Exception, sample_rate_hz: int) -> TinygenError:
    return TinygenError(
        f"no microphone gives one channel of 16 bits at {sample_rate_hz} Hz: {problem}",
        fix="`python -m sounddevice` lists what there is; choose the default input in the system's settings.",
    )
