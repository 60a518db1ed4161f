"""Numbers as the benchmark prints them, against exact arithmetic."""

from __future__ import annotations

import ctypes
import math
import random
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from tinygen.emit.benchmark import linear
from tinygen.paths import resource
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_shared_library, find_toolchain

SOURCES = tuple(f"firmware/app/{name}.c" for name in ("values", "text", "check", "crc32"))


class Scale(ctypes.Structure):
    """values_scale_t."""

    _fields_ = (
        ("gain", ctypes.c_int32),
        ("zero", ctypes.c_int32),
        ("mantissa", ctypes.c_uint32),
        ("exponent", ctypes.c_int32),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    root = tmp_path_factory.mktemp("values")
    (root / "sent.c").write_text(
        '#include "uart.h"\n\n#include <string.h>\n\nchar sent[64];\nsize_t count;\n\n'
        "void uart_write(const void *data, size_t bytes)\n{\n    memcpy(&sent[count], data, bytes);\n"
        "    count += bytes;\n}\n"
    )
    firmware = resource("firmware").parent
    for name in SOURCES:
        (root / Path(name).name).write_text((firmware / name).read_text())
    sources = ("sent.c", *(Path(name).name for name in SOURCES))
    code = HostCode(root, sources, (str(firmware / "firmware/app"),), ())
    return ctypes.CDLL(str(build_shared_library(code, root / "values.so", find_toolchain(None, load_board("host")))))


@pytest.fixture
def said(library: ctypes.CDLL) -> Callable[[str, object], str]:
    def call(function: str, *arguments: object) -> str:
        count = ctypes.c_size_t.in_dll(library, "count")
        count.value = 0
        getattr(library, function)(*arguments)
        return bytes((ctypes.c_char * 64).in_dll(library, "sent"))[: count.value].decode("ascii")

    return call


def rounded(value: Fraction) -> str:
    """Three decimals, ties away from zero."""
    thousandths = math.floor(abs(value) * 1000 + Fraction(1, 2))
    sign = "-" if value < 0 and thousandths else ""
    return f"{sign}{thousandths // 1000}.{thousandths % 1000:03d}"


def test_codes(said: Callable[..., str]) -> None:
    rng = random.Random(2)
    scales = [1 / 256, 1 / 255, 1.0, 0.5847, 3e-5, 1e-12, 2.0**-149, 1234.5, 2.0**20]
    for _ in range(3000):
        bits = rng.choice((8, 8, 16, 32))
        low = -(1 << bits - 1)
        code, zero = rng.randrange(low, -low), rng.randrange(-128, 128) if bits < 32 else 0
        scale = struct.unpack("f", struct.pack("f", rng.choice(scales) * rng.choice((1.0, rng.random()))))[0]
        gain = rng.choice((1, 2)) if bits == 8 else 1
        text = said("values_write_code", ctypes.c_int32(code), ctypes.byref(Scale(**linear(gain, zero, scale))))
        exact = (gain * code - zero) * Fraction(scale)
        assert text == rounded(exact), (code, zero, gain, scale)


def test_floats(said: Callable[..., str]) -> None:
    rng = random.Random(3)
    values = [0.0, -0.0, 1.0, -1.0, 0.0005, -0.0004, 0.9995, 999.9996, 1e-40, -1e-30, 16777216.5, 3.5e18]
    values += [rng.gauss(0, 1) * 10 ** rng.randrange(-6, 15) for _ in range(3000)]
    for value in values:
        single = struct.unpack("f", struct.pack("f", value))[0]
        assert said("values_write_float", ctypes.c_float(single)) == rounded(Fraction(single)), value


def test_what_is_no_number(said: Callable[..., str]) -> None:
    assert said("values_write_float", ctypes.c_float(math.nan)) == "nan"
    assert said("values_write_float", ctypes.c_float(math.inf)) == "18446744073709551615.000"
    assert said("values_write_float", ctypes.c_float(-1e30)) == "-18446744073709551615.000"
