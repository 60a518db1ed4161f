"""WAV files: what the standard library reads comes out right; what it does not is an error that says so."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from tinygen.audio.wav import read_wav, write_wav
from tinygen.errors import TinygenError

SAMPLES = np.array([0, 1, -1, 255, -256, 32767, -32768, 12345], np.int16)


def written(path: Path, data: bytes, *, width: int = 2, channels: int = 1, rate: int = 16000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def raw_wav(path: Path, tag: int, bits: int, data: bytes) -> Path:
    """A file with any format tag."""
    fmt = struct.pack("<HHIIHH", tag, 1, 16000, 16000 * bits // 8, bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def test_what_is_written_is_read_back_sample_for_sample(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", SAMPLES)
    assert np.array_equal(read_wav(tmp_path / "a.wav"), SAMPLES)


def test_eight_bits(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", bytes([0, 1, 127, 128, 129, 255]), width=1)
    assert read_wav(path).tolist() == [-32768, -32512, -256, 0, 256, 32512]


@pytest.mark.parametrize("width", [3, 4])
def test_more_bits_are_rounded(tmp_path: Path, width: int) -> None:
    unit = 1 << (8 * width - 16)
    values = [*(SAMPLES.astype(int) * unit), unit // 2 + 1, unit // 2 - 1, 32767 * unit + unit - 1]
    data = b"".join(int(v).to_bytes(width, "little", signed=True) for v in values)
    assert read_wav(written(tmp_path / "a.wav", data, width=width)).tolist() == [*SAMPLES.tolist(), 1, 0, 32767]


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = np.array([[100, 200], [-32768, -32768], [32767, 32767], [32767, -32768]], "<i2")
    assert read_wav(written(tmp_path / "a.wav", stereo.tobytes(), channels=2)).tolist() == [150, -32768, 32767, 0]


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    sine = np.rint(10000 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)).astype("<i2")
    samples = read_wav(written(tmp_path / "a.wav", sine.tobytes(), rate=44100))
    expected = 10000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert len(samples) == 16000 and np.abs(samples - expected)[200:-200].max() < 3


def test_files_that_are_cut_off(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.wav", SAMPLES.tobytes()).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.wav").write_bytes(whole[:length])
        with pytest.raises(TinygenError, match=r"cut\.wav") as problem:
            read_wav(tmp_path / "cut.wav")
        if length >= 44:
            assert f"holds {length - 44} of the 16 bytes" in str(problem.value)


def test_headers_that_are_damaged(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.wav", SAMPLES.tobytes()).read_bytes()
    refused = 0
    for place in range(44):
        for value in (0, 0x7F, 0xFF):
            (tmp_path / "a.wav").write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                assert read_wav(tmp_path / "a.wav").dtype == np.int16
            except TinygenError:
                refused += 1
    assert refused > 60


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2_000_000_000])
def test_rates_that_no_sound_has(tmp_path: Path, rate: int) -> None:
    with pytest.raises(TinygenError, match=f"{rate} Hz is no sample rate"):
        read_wav(written(tmp_path / "a.wav", SAMPLES.tobytes(), rate=rate))


@pytest.mark.parametrize(("tag", "name"), [(3, "float"), (6, "a-law"), (7, "mu-law"), (17, "adpcm")])
def test_other_codings_are_refused_with_a_way_out(tmp_path: Path, tag: int, name: str) -> None:
    with pytest.raises(TinygenError, match=rf"not a WAV file of integer samples.*{tag}(?s:.)*ffmpeg -i {name}.wav"):
        read_wav(raw_wav(tmp_path / f"{name}.wav", tag, 32 if tag == 3 else 8, bytes(64)))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="there is no such file"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(TinygenError, match="cannot be read: Is a directory"):
        read_wav(tmp_path)
    with pytest.raises(TinygenError, match="holds no sound"):
        read_wav(written(tmp_path / "empty.wav", b""))
    (tmp_path / "a.ogg").write_bytes(b"OggS" + bytes(100))
    with pytest.raises(TinygenError, match="not a WAV file"):
        read_wav(tmp_path / "a.ogg")
    with pytest.raises(TinygenError, match="40 bits are not supported"):
        read_wav(raw_wav(tmp_path / "wide.wav", 1, 40, bytes(40)))
    with pytest.raises(TinygenError, match=r"cannot be written \(No such file"):
        write_wav(tmp_path / "no" / "where.wav", SAMPLES)
