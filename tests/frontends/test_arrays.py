""".npy and .npz files: what is written is read; what is damaged or lies is refused in one line, and costs no memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.support.zip_bombs import overlapping
from tinygen.errors import ModelError, TinygenError
from tinygen.frontends.arrays import read_arrays
from tinygen.frontends.tg import read_tg

MEGABYTE = 1 << 20
ARRAYS = {
    "x": np.arange(24, dtype=np.int8).reshape(2, 3, 4),
    "y": np.array([1.5, -2.0], ">f4"),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "none": np.zeros((0, 4), np.float32),
    "scalar": np.array(7),
}


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(*, compressed: bool = False, **arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """The block allocates no more at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_written_is_read(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npz(compressed=compressed, **ARRAYS))
    found = read_arrays(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable
    for array in ARRAYS.values():
        path.write_bytes(npy(array))
        np.testing.assert_array_equal(read_arrays(path)["x"], array)


def _header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    length = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + length + text.encode("latin1") + data


def _with_entry(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _claiming(size: int, content: bytes) -> bytes:
    """The directory says that the first entry inflates to so many bytes."""
    at = content.index(b"PK\x01\x02") + 24
    return content[:at] + size.to_bytes(4, "little") + content[at + 4 :]


def _bzip2() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", npy(np.zeros(100)))
    return stream.getvalue()


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (7, 8_750_000_000_000)}"
LIES: dict[str, tuple[Callable[[], bytes], str]] = {
    # Where NumPy's own reader raises TokenError.
    "header cut in a string": (lambda: _header("{'descr': '<f4', 'fortran_order': False, 'shape': (2"), "damaged"),
    "446 TiB": (lambda: _header(HUGE, b"12345678"), "8 bytes of data"),
    "446 TiB, version 2": (lambda: _header(HUGE, version=b"\x02\x00"), "0 bytes of data"),
    "negative": (lambda: _header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", b"1234"), "shape is [-1]"),
    "nothing times much": (
        lambda: _header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {2**62})}}"),
        "its shape is",
    ),
    "70 dimensions": (
        lambda: _header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 70}}}", b"1234"),
        "its shape is",
    ),
    "no bytes per item": (
        lambda: _header(f"{{'descr': '|S0', 'fortran_order': False, 'shape': ({2**60},)}}"),
        "not plain numbers",
    ),
    "objects": (lambda: npy(np.array([{}], object)), "not plain numbers"),
    "deep": (lambda: _header("(" * 9000), "damaged"),
    "data is missing": (lambda: npy(ARRAYS["x"])[:-1], "23 bytes of data"),
    "data after the end": (lambda: npy(ARRAYS["x"]) + b"0", "25 bytes of data"),
    "text": (lambda: b"1 2 3\n", "damaged"),
    "nothing": (lambda: b"", "damaged"),
    "no array": (lambda: _with_entry("x.txt", b"1 2 3"), "'x.txt' is no .npy file"),
    "a bad array": (lambda: _with_entry("x.npy", npy(ARRAYS["x"])[:-1]), "of 'x.npy': it has 23 bytes"),
    "half an archive": (lambda: npz(**ARRAYS)[:-30], "not a zip file"),
    "bzip2": (_bzip2, "another method"),
    "claims less than it holds": (
        lambda: _claiming(200, npz(compressed=True, x=np.zeros(8 * MEGABYTE, np.int8))),
        "CRC",
    ),
    "claims far more": (lambda: _claiming(300 * MEGABYTE, npz(x=ARRAYS["x"])), "claim 314,572,800 bytes"),
    "overlapping": (
        lambda: overlapping([f"x{i}.npy" for i in range(200)], npy(np.zeros(MEGABYTE // 4, np.int8))),
        "overlaps",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_cost_an_error_and_no_memory(tmp_path: Path, name: str) -> None:
    make, words = LIES[name]
    path = tmp_path / "x.npz"
    path.write_bytes(make())
    with at_most(4 * MEGABYTE), pytest.raises(TinygenError) as error:
        read_arrays(path)
    text = error.value.what
    assert words in text
    assert "\n" not in text and len(text) < 250 and str(path) == error.value.where


def test_zeros_of_a_usual_size_may_be_compressed(tmp_path: Path) -> None:
    """Deflate makes a thousandth of them."""
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(4 * MEGABYTE, np.int8))
    assert not read_arrays(tmp_path / "x.npz")["x"].any()


def test_models_of_overlapping_entries_are_refused_before_they_are_read() -> None:
    bomb = overlapping(["graph.json", *(f"arrays/{i}.npy" for i in range(400))], bytes(MEGABYTE // 4))
    with at_most(4 * MEGABYTE), pytest.raises(ModelError, match="overlaps"):
        read_tg(bomb)


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, most of them in headers and directory; or a piece cut out, doubled or cut off."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data)))
        length = int(rng.integers(1, 60))
        match rng.integers(5):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                data[at] ^= 1 << int(rng.integers(8))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case _:
                digits = [i for i, byte in enumerate(data) if 48 <= byte < 58] or [at]
                data[digits[rng.integers(len(digits))]] = int(rng.integers(48, 58))
        if len(data) < 2:
            break
    return bytes(data)


@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    """Never another error, whatever was changed."""
    sources = {"npy": npy(ARRAYS["x"]), "npz": npz(**ARRAYS), "compressed": npz(compressed=True, **ARRAYS)}
    rng, path, outcomes = np.random.default_rng(7), tmp_path / "x.npz", Counter[str]()
    for _ in range(400):
        path.write_bytes(_damaged(sources[kind], rng))
        try:
            read_arrays(path)
            outcomes["read"] += 1
        except TinygenError as error:
            assert "\n" not in error.what
            outcomes["refused"] += 1
    assert outcomes["refused"] > 100, outcomes


def test_two_entries_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "twice.npz"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for value in (1, 2):
            archive.writestr("x.npy", npy(np.full(3, value)))
    with pytest.raises(TinygenError, match="two entries have one name"):
        read_arrays(path)
