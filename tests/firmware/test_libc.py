"""Our string.h functions against Python's own bytes, at every alignment and length."""

from __future__ import annotations

import ctypes
import random
import subprocess
from pathlib import Path

import pytest

from tests.targets.tools import requires_tool
from tinygen.paths import resource
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_shared_library, find_toolchain

NAMES = ("memcpy", "memmove", "memset", "memcmp", "strlen")
RENAMED = tuple(f"{name}=tg_{name}" for name in NAMES)
UNALIGNED = "__ARM_FEATURE_UNALIGNED=1"
SIZE = 96
# Every alignment of both sides, and lengths with and without words; the sanitizer ends it at a word that lies wrong.
_ALL_ALIGNMENTS = """
#include <stdint.h>
#include <string.h>
static uint32_t to[24], from[24];
int main(void)
{
    for (unsigned i = 0; i < 8 * 8 * 40; i++) {
        char *d = (char *)to + i % 8;
        const char *s = (const char *)from + i / 8 % 8;
        (void)memcpy(d, s, i / 64);
        (void)memmove(d + 4 + i % 3, d, i / 64);
        (void)memset(d, 1, i / 64);
    }
    return 0;
}
"""


@pytest.fixture(scope="module", params=[(UNALIGNED,), ()], ids=["any_address", "aligned"])
def libc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """For a core that loads words at any address, and for one that does not."""
    root = resource("firmware").parent
    defines = (*request.param, *RENAMED)
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


@requires_tool("gcc")
@pytest.mark.parametrize(("defines", "status"), [((), True), ((UNALIGNED, "aligned(x)="), False)])
def test_words_lie_aligned_where_a_core_wants_them(defines: tuple[str, ...], status: bool, tmp_path: Path) -> None:
    """And the sanitizer sees it where they do not: words declared for any address, without saying so."""
    main, program = tmp_path / "main.c", tmp_path / "main"
    main.write_text(_ALL_ALIGNMENTS)
    libc = resource("firmware") / "libc" / "string.c"
    flags = ["-O0", "-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]
    named = [f"-D{define}" for define in (*defines, *RENAMED)]
    subprocess.run(["gcc", *flags, *named, f"-I{libc.parent / 'include'}", main, libc, "-o", program], check=True)
    assert (subprocess.run([program], check=False).returncode == 0) is status
