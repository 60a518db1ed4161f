"""WAV files as the front ends want them: one channel, 16 bits, 16 kHz."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np

from tinygen.audio.resample import resample, to_int16
from tinygen.errors import TinygenError
from tinygen.files import write_file

SAMPLE_RATE_HZ = 16_000
RATES = range(1_000, 768_001)
"""Hz; what a header says beyond them is damage, and would take no end of memory to convert."""
_CONVERT = "Convert it first: ffmpeg -i {name} -ac 1 -ar 16000 -c:a pcm_s16le converted.wav"


def read_wav(path: Path, sample_rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    """The file's sound as int16 samples: channels averaged, 8, 24 and 32 bits scaled to 16, resampled where needed.

    A file that is 16 bit, mono and at that rate already comes back sample for sample.

    Raises:
        TinygenError: the file is missing, is no WAV file, is cut off, damaged, empty, or holds something else than
            integers.
    """
    try:
        with path.open("rb") as raw, wave.open(raw, "rb") as file:
            shape = file.getparams()
            data = file.readframes(shape.nframes)
    except FileNotFoundError:
        raise TinygenError("there is no such file", where=str(path)) from None
    except OSError as problem:
        raise TinygenError(f"cannot be read: {problem.strerror}", where=str(path)) from None
    except (EOFError, RuntimeError):  # the latter where a chunk is said to end beyond the file
        raise TinygenError("is no WAV file, or is cut off in its header", where=str(path)) from None
    except wave.Error as problem:
        fix = _CONVERT.format(name=path.name)
        raise TinygenError(f"not a WAV file of integer samples ({problem})", where=str(path), fix=fix) from None
    expected = shape.nframes * shape.nchannels * shape.sampwidth
    if len(data) != expected:
        what = f"the WAV file is cut off: it holds {len(data)} of the {expected} bytes that its header announces"
        raise TinygenError(what, where=str(path), fix="Record or copy it again.")
    if shape.nframes == 0:
        raise TinygenError("the WAV file holds no sound", where=str(path))
    if shape.framerate not in RATES:
        what = f"{shape.framerate} Hz is no sample rate of sound ({RATES[0]} to {RATES[-1]} Hz)"
        raise TinygenError(what, where=str(path), fix="Record or copy it again.")
    return resample(_mono(_samples(data, shape.sampwidth, path), shape.nchannels), shape.framerate, sample_rate_hz)


def write_wav(path: Path, samples: np.ndarray, sample_rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """int16 samples as a WAV file of one channel.

    Raises:
        TinygenError: the file cannot be written.
    """
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    write_file(path, content.getvalue())


def _samples(data: bytes, width: int, path: Path) -> np.ndarray:
    """Samples scaled to 16 bits: int16 where nothing is rounded, else float64."""
    if width == 1:  # offset binary; the wider ones are two's complement
        return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8
    if width == 2:
        return np.frombuffer(data, "<i2")
    if width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0] / 65536
    if width == 4:
        return np.frombuffer(data, "<i4") / 65536
    fix = _CONVERT.format(name=path.name)
    raise TinygenError(f"samples of {8 * width} bits are not supported", where=str(path), fix=fix)


def _mono(samples: np.ndarray, channels: int) -> np.ndarray:
    return to_int16(samples.reshape(-1, channels).mean(axis=1))
