"""Our string.h functions against Python's own bytes, at every alignment and length."""

from __future__ import annotations

import ctypes
import random

import pytest

from tinygen.paths import resource
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_shared_library, find_toolchain

NAMES = ("memcpy", "memmove", "memset", "memcmp", "strlen")
SIZE = 96


@pytest.fixture(scope="module", params=["__ARM_FEATURE_UNALIGNED=1", "TG_WORDS_ARE_ALIGNED=1"])
def libc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """For a core that loads words at any address, and for one that does not."""
    root = resource("firmware").parent
    defines = (request.param, *(f"{name}=tg_{name}" for name in NAMES))
    code = HostCode(root, ("firmware/libc/string.c",), ("firmware/libc/include",), defines)
    output = tmp_path_factory.mktemp("libc") / "libc.so"
    library = ctypes.CDLL(str(build_shared_library(code, output, find_toolchain(None, load_board("host")))))
    for name in NAMES[:3]:
        getattr(library, f"tg_{name}").restype = ctypes.c_void_p
    return library


def address_of(buffer: ctypes.Array[ctypes.c_char], offset: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(ctypes.addressof(buffer) + offset)


def cases() -> list[tuple[int, int, int]]:
    """Offsets and lengths: all small ones, and some at random."""
    rng = random.Random(1)
    small = [(d, s, n) for d in range(5) for s in range(5) for n in range(40)]
    return small + [(rng.randrange(32), rng.randrange(32), rng.randrange(64)) for _ in range(500)]


def test_memmove(libc: ctypes.CDLL) -> None:
    content = bytes(range(SIZE))
    for to, start, count in cases():
        buffer = ctypes.create_string_buffer(content, SIZE)
        assert libc.tg_memmove(address_of(buffer, to), address_of(buffer, start), ctypes.c_size_t(count))
        moved = content[start : start + count]
        assert buffer.raw == content[:to] + moved + content[to + count :]


def test_memcpy(libc: ctypes.CDLL) -> None:
    content = bytes(range(SIZE))
    source = ctypes.create_string_buffer(content, SIZE)
    for to, start, count in cases():
        buffer = ctypes.create_string_buffer(SIZE)
        libc.tg_memcpy(address_of(buffer, to), address_of(source, start), ctypes.c_size_t(count))
        assert buffer.raw == bytes(to) + content[start : start + count] + bytes(SIZE - to - count)


def test_memset(libc: ctypes.CDLL) -> None:
    for to, value, count in cases():
        buffer = ctypes.create_string_buffer(SIZE)
        libc.tg_memset(address_of(buffer, to), 0x1F0 + value, ctypes.c_size_t(count))
        assert buffer.raw == bytes(to) + bytes([(0x1F0 + value) % 256]) * count + bytes(SIZE - to - count)


def test_memcmp_compares_unsigned_bytes(libc: ctypes.CDLL) -> None:
    def compare(a: bytes, b: bytes) -> int:
        return int(libc.tg_memcmp(a, b, ctypes.c_size_t(min(len(a), len(b)))))

    assert compare(b"abc", b"abc") == 0 and compare(b"", b"") == 0
    assert compare(b"ab\xff", b"ab\x01") > 0 and compare(b"a\x00c", b"a\x80a") < 0


def test_strlen(libc: ctypes.CDLL) -> None:
    assert [libc.tg_strlen(b"x" * n) for n in range(20)] == list(range(20))
