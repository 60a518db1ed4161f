"""The functions that generated kernels share (templates/model/tinygen_*.h), each against what its comment says.

Whole layers meet the hard cases of these functions (ties, borders, last elements) now and then; here each is met.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.ir import fixed_point
from tinygen.ir.encodings import PowerOfTwo
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.nesting import derived_codes
from tinygen.lowering.kernels.support.weights.coded_weights import BookCode, GridCode
from tinygen.paths import resource
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_shared_library, find_toolchain

RNG_SEED = 11
Call = Callable[..., np.ndarray]

# One call for many values: out[i] = function(a[i], b[i], c[i]).
_OF_NUMBERS: dict[int, tuple[str, ...]] = {
    1: ("saturate_s8", "low_sum", "high_sum"),
    2: (
        "rounding_shift",
        "high_mul",
        "shift_left_saturating",
        "sxtb16",
        "sxtb16_odd",
        "add_pairs",
        "ssub16",
        "max_four",
    ),
    3: (
        "requantize",
        "requantize_upwards",
        "round_twice",
        "high_mla",
        "smlad",
        "smlabb",
        "smlatt",
        "full_carry",
        "away",
    ),
}
_ALIASES = {
    "sxtb16": "(int32_t)tg_sxtb16((uint32_t)a[i])",
    "sxtb16_odd": "(int32_t)tg_sxtb16_odd((uint32_t)a[i])",
    "add_pairs": "(int32_t)tg_add_pairs((uint32_t)a[i], (uint32_t)b[i])",
    "ssub16": "(int32_t)tg_ssub16((uint32_t)a[i], (uint32_t)b[i])",
    "max_four": "(int32_t)tg_max_four((uint32_t)a[i], (uint32_t)b[i])",
    "smlad": "tg_smlad((uint32_t)a[i], (uint32_t)b[i], c[i])",
    "smlabb": "tg_smlabb((uint32_t)a[i], (uint32_t)b[i], c[i])",
    "smlatt": "tg_smlatt((uint32_t)a[i], (uint32_t)b[i], c[i])",
    "low_sum": "tg_low_sum((uint32_t)a[i])",
    "high_sum": "tg_high_sum((uint32_t)a[i])",
    "away": "tg_away(a[i], b[i]) >> c[i]",
    "full_carry": "(int32_t)full_carry((uint32_t)a[i], (uint32_t)b[i], (uint32_t)c[i])",
}
_HEADERS = ("math", "simd", "extrema", "bits", "codes", "coded", "groups", "upwards", "stream", "double")
_OTHERS = """
static uint32_t full_carry(uint32_t sum, uint32_t x, uint32_t y)
{
    return tg_full_add(&sum, x, y);
}

void widen(int16_t *to, const int8_t *from, int32_t count) { tg_widen(to, from, count); }
void spread(uint32_t *to, const int8_t *from, int32_t count) { tg_extend(to, from, count, 1); }
void spread_unsigned(uint32_t *to, const int8_t *from, int32_t count) { tg_extend_unsigned(to, from, count, 1); }
void spread_levels(uint32_t *to, const int8_t *from, int32_t count) { tg_extend_levels(to, from, count, 1, 15); }
void spread_choices(uint32_t *to, const int8_t *from, int32_t count) { tg_extend_choices(to, from, count); }
void pair_rows(uint32_t *to, const int8_t *from, int32_t count) { (void)count; tg_pair_rows(to, from, from + 4); }
int32_t differing(const uint32_t *x, const uint32_t *w, int32_t count) { return tg_differing(x, w, count); }
void counts(uint32_t *planes) { tg_counts(planes); }
int32_t steps(int32_t x, const int32_t *thresholds, int32_t count) { return tg_steps(x, thresholds, count); }
int32_t search(int32_t x, const int32_t *thresholds, int32_t bits) { return tg_search(x, thresholds, bits); }
int32_t search_signed(int32_t x, const int32_t *steps, int32_t bits) { return tg_search_signed(x, steps, bits); }
int32_t power_of_two(int32_t code) { return tg_power_of_two(code); }
int32_t bit(const uint32_t *words, int32_t index) { return tg_bit(words, index); }
int32_t rescale(int32_t x, int32_t multiplier, int32_t high, int32_t low, int32_t shift)
{
    return tg_rescale(x, multiplier, tg_join(high, low), shift, -7, 100);
}
int32_t rescale_high(int32_t x, int32_t multiplier, int32_t high, int32_t low, int32_t shift)
{
    return tg_rescale_high(x, multiplier, tg_join(high, low), shift, -7, 100);
}
int32_t requantize_64(int64_t x, int32_t multiplier, int32_t shift) { return tg_requantize_64(x, multiplier, shift); }
int32_t requantize_checked(int64_t x, int32_t multiplier, int32_t shift, double scale)
{
    return tg_requantize_checked(x, multiplier, shift, scale);
}
uint32_t add_8(uint32_t *planes, uint32_t x, const uint32_t *w)
{
    uint32_t eights;
    TG_ADD_8(eights, planes, x, 0, w);
    return eights;
}
void pair_table(uint32_t *table, const int16_t *book, int32_t bits) { tg_pair_table(table, book, bits); }
uint32_t nested_pair(uint32_t pair, int32_t bits) { return tg_nested_pair(pair, bits); }
"""
_BY_BITS = """
void grid_{bits}(uint32_t *to, const uint32_t *from, int32_t words)
{{
    tg_extend_grid(to, from, words, {bits}, 0, 2U, -100);
}}
"""
_BOOK = """
void book_{bits}(uint32_t *to, const uint32_t *from, int32_t words, const uint32_t *table)
{{
    tg_extend_book(to, from, words, {bits}, table);
}}
"""


def _source() -> str:
    lines = [f'#include "tinygen_{name}.h"' for name in _HEADERS] + [_OTHERS]
    for count, names in _OF_NUMBERS.items():
        for name in names:
            plain = f"tg_{name}({', '.join(f'{letter}[i]' for letter in 'abc'[:count])})"
            call = _ALIASES.get(name, plain)
            lines.append(
                f"void each_{name}(int32_t *out, const int32_t *a, const int32_t *b, const int32_t *c, int32_t n)\n"
                f"{{\n    (void)b;\n    (void)c;\n    for (int32_t i = 0; i < n; i++) {{\n        out[i] = {call};\n"
                "    }\n}\n"
            )
    lines += [_BY_BITS.format(bits=bits) for bits in range(1, 8)] + [_BOOK.format(bits=bits) for bits in (2, 3, 4)]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    root = tmp_path_factory.mktemp("headers")
    (root / "functions.c").write_text(_source())
    folder = str(resource("templates") / "model")
    code = HostCode(root, ("functions.c",), (folder,), ())
    built = build_shared_library(code, root / "functions.so", find_toolchain(None, load_board("host")))
    return ctypes.CDLL(str(Path(built)))


@pytest.fixture
def each(library: ctypes.CDLL) -> Call:
    def call(name: str, *values: Any) -> np.ndarray:
        arrays = [np.asarray(value).astype(np.int64).astype(np.int32) for value in np.broadcast_arrays(*values)]
        arrays += [np.zeros_like(arrays[0])] * (3 - len(arrays))
        arrays = [np.ascontiguousarray(array) for array in arrays]
        out = np.empty_like(arrays[0])
        getattr(library, f"each_{name}")(*(a.ctypes.data_as(ctypes.c_void_p) for a in (out, *arrays)), out.size)
        return out.astype(np.int64)

    return call


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(RNG_SEED)


def _halves(words: np.ndarray) -> np.ndarray:
    """[..., 2] signed halves, the lower first."""
    return words.astype(np.int64).astype(np.uint32).view(np.int16).reshape(*words.shape, 2).astype(np.int64)


def _multipliers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, multiplier, shift): any, and many whose products are exact ties."""
    shift = -rng.integers(0, 12, 6000)
    multiplier = np.where(rng.random(6000) < 0.5, 1 << 30, rng.integers(1 << 30, 1 << 31, 6000))
    odd = 2 * rng.integers(-300, 300, 6000) + 1
    return np.where(rng.random(6000) < 0.6, odd << -shift, rng.integers(-(2**29), 2**29, 6000)), multiplier, shift


def test_scaling(each: Call, rng: np.random.Generator) -> None:
    x, multiplier, shift = _multipliers(rng)
    wanted = fixed_point.multiply_by_quantized_multiplier(x, multiplier, shift)
    assert np.array_equal(each("requantize", x, multiplier, shift), wanted)
    small = x >> 14
    left = fixed_point.multiply_by_quantized_multiplier(small, multiplier, shift % 8)
    assert np.array_equal(each("requantize", small, multiplier, shift % 8), left)
    upward = fixed_point.multiply_by_quantized_multiplier(x, multiplier, shift, True)
    assert np.array_equal(each("requantize_upwards", x, multiplier, shift), upward)
    assert np.any(wanted != upward)
    high = fixed_point.saturating_rounding_doubling_high_mul(x, multiplier)
    assert np.array_equal(each("high_mul", x, multiplier), high)
    assert np.array_equal(each("high_mla", small, x, multiplier), small + (x * multiplier >> 32))


def test_two_roundings_without_branches(each: Call, rng: np.random.Generator) -> None:
    x, multiplier, shift = _multipliers(rng)
    right, zero = 1 - shift, 37
    offset = (1 << right - 1) + (zero << right)
    found = each("round_twice", x, multiplier, offset) >> right
    assert np.array_equal(found, fixed_point.multiply_by_quantized_multiplier(x, multiplier, -right) + zero)


def test_rounding_shifts(each: Call, rng: np.random.Generator, library: ctypes.CDLL) -> None:
    exponent = rng.integers(0, 20, 4000)
    x = np.where(rng.random(4000) < 0.7, rng.integers(-2000, 2000, 4000) << np.maximum(exponent - 1, 0), 0)
    x = np.where(x == 0, rng.integers(-(2**31), 2**31, 4000), x)
    assert np.array_equal(each("rounding_shift", x, exponent), fixed_point.rounding_divide_by_pot(x, exponent))
    small, right = x >> 12, exponent + 1
    assert np.array_equal(each("away", small, 1 << right - 1, right), fixed_point.rounding_divide_by_pot(small, right))
    held = np.clip(x << (exponent % 5), -(2**31), 2**31 - 1)
    assert np.array_equal(each("shift_left_saturating", x, exponent % 5), held)
    assert np.array_equal(each("saturate_s8", x >> 12), np.clip(x >> 12, -128, 127))
    library.requantize_64.argtypes = [ctypes.c_int64, ctypes.c_int32, ctypes.c_int32]
    for value in (2**33 + 5, -(2**33) - 5, 3 << 16, -(3 << 16), 12345, -1):
        for multiplier in (1 << 30, (1 << 31) - 1, 0x7FFEFFFF, 0x7FFF0000, 1518500250):
            wanted = fixed_point.multiply_by_quantized_multiplier_64(np.array(value), multiplier, -7)
            assert library.requantize_64(value, multiplier, -7) == int(wanted), (value, multiplier)


def test_multiplications_that_double_precision_decides(library: ctypes.CDLL) -> None:
    library.requantize_checked.argtypes = [ctypes.c_int64, ctypes.c_int32, ctypes.c_int32, ctypes.c_double]
    for real in (0.5, 0.125, 0.1, 0.3333333333, 0.49999999999):
        multiplier, shift = fixed_point.quantize_multiplier(real)
        values = np.array([*range(-33, 34), 10**6 + 1, -(10**6) - 1, 2**30 - 1, 1 - 2**30], np.int64)
        wanted = fixed_point.multiply_by_real(values, real)
        found = [library.requantize_checked(int(x), multiplier, shift, real) for x in values]
        assert found == wanted.tolist(), real


def test_pairs(each: Call, rng: np.random.Generator) -> None:
    a, b = rng.integers(-(2**31), 2**31, (2, 500))
    total = rng.integers(-(2**20), 2**20, 500)
    octets = a.astype(np.int32).view(np.int8).reshape(-1, 4).astype(np.int64)
    assert np.array_equal(_halves(each("sxtb16", a)), octets[:, [0, 2]])
    assert np.array_equal(_halves(each("sxtb16_odd", a)), octets[:, [1, 3]])
    p, q = _halves(a), _halves(b)
    narrow = [v >> 3 << 1 for v in (p, q)]  # their products' sums fit 32 bits
    words = [(v[:, 0] & 0xFFFF) | v[:, 1] << 16 for v in narrow]
    products = narrow[0] * narrow[1]
    assert np.array_equal(each("smlad", *words, total), total + products.sum(1))
    assert np.array_equal(each("smlabb", *words, total), total + products[:, 0])
    assert np.array_equal(each("smlatt", *words, total), total + products[:, 1])
    for name, sums in (("add_pairs", p + q), ("ssub16", p - q)):
        assert np.array_equal(_halves(each(name, a, b)), sums.astype(np.int16)), name
    larger = np.maximum(octets, b.astype(np.int32).view(np.int8).reshape(-1, 4))
    assert np.array_equal(each("max_four", a, b), larger.astype(np.int8).view(np.int32).ravel())
    low, high = rng.integers(-(2**15), 2**15, (2, 500))
    word = low + 65536 * high
    assert np.array_equal(each("low_sum", word), low) and np.array_equal(each("high_sum", word), high)


def _words(library: ctypes.CDLL, name: str, codes: np.ndarray, words: int, count: int | None = None) -> np.ndarray:
    """Halves of what a function writes, [words, 2]."""
    to = np.full(words + 8, 0x5A5A5A5A, np.uint32)
    source = np.ascontiguousarray(np.concatenate([codes, np.full(16, 77, codes.dtype)]))
    getattr(library, name)(_pointer(to), _pointer(source), len(codes) if count is None else count)
    assert np.all(to[words:] == 0x5A5A5A5A), "it writes behind its end"
    return _halves(to[:words])


@pytest.mark.parametrize("count", [1, 3, 4, 5, 6, 7, 8, 12])
def test_codes_in_order(count: int, library: ctypes.CDLL, rng: np.random.Generator) -> None:
    codes = rng.integers(-128, 128, count).astype(np.int8)
    to = np.full(16, 99, np.int16)
    library.widen(_pointer(to), _pointer(codes), count)
    assert to[:count].tolist() == codes.tolist() and np.all(to[count:] == 99)
    fours = np.zeros(-(-count // 4) * 4, np.int64)
    fours[:count] = codes
    chosen = [[four[list(pair)] for pair in combinations(range(4), 2)] for four in fours.reshape(-1, 4)]
    assert np.array_equal(_words(library, "spread_choices", codes, 6 * len(chosen)), np.concatenate(chosen))


@pytest.mark.parametrize("count", [4, 8, 12, 20])
def test_codes_in_pairs(count: int, library: ctypes.CDLL, rng: np.random.Generator) -> None:
    """Bytes 0 and 2 before 1 and 3."""
    codes = rng.integers(-128, 128, count).astype(np.int8)
    order = np.arange(count).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1, 2)
    unsigned = codes.view(np.uint8).astype(np.int64)
    for name, integers in (
        ("spread", codes.astype(np.int64)),
        ("spread_unsigned", unsigned),
        ("spread_levels", 2 * (unsigned % 16) - 15),
    ):
        given = (codes.view(np.uint8) % 16).view(np.int8) if name == "spread_levels" else codes
        assert np.array_equal(_words(library, name, given, count // 2), integers[order]), name
    rows = codes[:8] if count >= 8 else np.tile(codes, 2)
    expected = np.stack([rows[:4], rows[4:]], 1).astype(np.int64)
    assert np.array_equal(_words(library, "pair_rows", rows, 4), expected)


def test_bits(each: Call, library: ctypes.CDLL, rng: np.random.Generator) -> None:
    for count in range(1, 9):
        x, w = rng.integers(0, 2**32, (2, count), dtype=np.uint32)
        ones = sum(int(word).bit_count() for word in x ^ w)
        assert library.differing(_pointer(x), _pointer(w), count) == ones, count
    columns = np.array([[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 0, 1, 0, 1]])
    words = [int("".join(map(str, row)), 2) for row in columns]
    assert int(each("full_carry", *words)[0]) == int("".join(map(str, (columns.sum(0) > 1).astype(int))), 2)
    planes = rng.integers(0, 2**32, 16, dtype=np.uint32)
    weights = np.array([sum((int(plane) >> column & 1) << k for k, plane in enumerate(planes)) for column in range(32)])
    library.counts(_pointer(planes))
    assert [int(planes[j & 15]) >> (j & 16) & 0xFFFF for j in range(32)] == weights.tolist()
    packed = rng.integers(0, 2**32, 3, dtype=np.uint32)
    expected = [int(packed[i >> 5]) >> (i & 31) & 1 for i in range(96)]
    assert [library.bit(_pointer(packed), i) for i in range(96)] == expected


def test_eight_channels_in_planes(library: ctypes.CDLL, rng: np.random.Generator) -> None:
    """Counts of 32 columns grow by the differing bits of eight channels, given as parities."""
    library.add_8.restype = ctypes.c_uint32
    for _ in range(20):
        x, w = rng.integers(0, 2, 8), rng.integers(0, 2, (8, 32))
        planes = rng.integers(0, 2**32, 3, dtype=np.uint32)
        before = sum(((planes[k] >> np.arange(32, dtype=np.uint32) & 1) << k).astype(int) for k in range(3))
        parities = int(sum(int(bit) << j for j, bit in enumerate(np.cumsum(x) % 2)))
        words = np.array([sum(int(b) << c for c, b in enumerate(row)) for row in np.cumsum(w, 0) % 2], np.uint32)
        eights = library.add_8(_pointer(planes), parities, _pointer(words))
        after = sum(((planes[k] >> np.arange(32, dtype=np.uint32) & 1) << k).astype(int) for k in range(3))
        after += np.array([(eights >> c & 1) << 3 for c in range(32)])
        assert np.array_equal(after, before + (x[:, None] ^ w).sum(0))


def test_codes_of_accumulators(library: ctypes.CDLL, rng: np.random.Generator) -> None:
    for count in (1, 2, 3, 7, 15, 31, 63, 127, 255):
        row = np.sort(rng.integers(-20, 20, count)).astype(np.int32)
        values = range(-25, 26)
        expected = Threshold((tuple(row.tolist()),)).apply(np.array(values)[:, None]).ravel()
        assert [library.steps(x, _pointer(row), count) for x in values] == expected.tolist()
        if count > 1 and count & (count + 1) == 0:
            assert [library.search(x, _pointer(row), count.bit_length()) for x in values] == expected.tolist()
            moved = [(x - int(row[0]), _pointer(row - row[0]), count.bit_length()) for x in values]
            assert [library.search_signed(*one) for one in moved] == expected.tolist()
    for x in (-(2**31), -5000, -1, 0, 1, 700, 5000, 2**31 - 1):
        for offset in (-(2**40) - 3, -1, 0, 2**33 + 7):
            wanted = Rescale((-77777,), (offset,), (19,), -7, 100).apply(np.array([x]))[0]
            assert library.rescale(x, -77777, offset >> 32, (offset & 0xFFFFFFFF) - (1 << 32), 19) == wanted
            wanted = Rescale((-77777,), (offset,), (35,), -7, 100).apply(np.array([x]))[0]
            assert library.rescale_high(x, -77777, offset >> 32, (offset & 0xFFFFFFFF) - (1 << 32), 3) == wanted
    assert [library.rescale(x, 1, 0, 0, 0) for x in range(-9, 103)] == np.clip(range(-9, 103), -7, 100).tolist()
    codes = np.arange(-31, 32)
    encoding = PowerOfTwo((1.0,), exponents=31)
    assert [library.power_of_two(int(c)) for c in codes] == encoding.integers(codes).tolist()


@pytest.mark.parametrize("bits", range(1, 8))
def test_weights_of_a_grid(bits: int, library: ctypes.CDLL, rng: np.random.Generator) -> None:
    code = GridCode(bits, 2, -100)
    codes = rng.integers(0, 2**bits, (1, 3 * code.group)).astype(np.uint8)
    packed = code.pack(codes)[0]
    integers = (2 * codes.astype(np.int64) - 100).reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1, 2)
    assert np.array_equal(_words(library, f"grid_{bits}", packed, len(integers), len(packed)), integers)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_of_a_book(bits: int, library: ctypes.CDLL, rng: np.random.Generator) -> None:
    book = np.sort(rng.choice(np.arange(-999, 999), 2**bits, replace=False)).astype(np.int16)
    table = np.zeros(4**bits, np.uint32)
    library.pair_table(_pointer(table), _pointer(book), bits)
    code = BookCode(bits, tuple(book.tolist()))
    codes = rng.integers(0, 2**bits, (1, 4 * code.group)).astype(np.uint8)
    packed, pairs = code.pack(codes)[0], 2 * code.group
    to = np.zeros(pairs + 32, np.uint32)
    getattr(library, f"book_{bits}")(_pointer(to), _pointer(packed), len(packed), _pointer(table))
    order = codes.reshape(-1, 4)[:, [0, 2, 1, 3]].reshape(-1, 2)
    assert np.array_equal(_halves(to[:pairs]), book[order].astype(np.int64))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_weights_nested_in_those_of_8_bits(bits: int, library: ctypes.CDLL) -> None:
    library.nested_pair.restype = ctypes.c_uint32
    codes = np.arange(256)
    derived = 2 * derived_codes(codes, 8, bits) - (2**bits - 1)
    pairs = zip(codes.tolist(), codes[::-1].tolist(), strict=True)
    words = np.array([library.nested_pair(low | high << 16, bits) for low, high in pairs])
    assert np.array_equal(_halves(words), np.stack([derived, derived[::-1]], 1))
    assert math.gcd(*derived.tolist()) == 1
