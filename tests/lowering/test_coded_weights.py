"""Which code weights get, from their values alone, and when a layer uses it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.differential.test_coded import VALUES, recoded
from tests.differential.test_tuned import Case, dense, window
from tinygen.lowering.kernels.support.weights.coded_weights import (
    BookCode,
    ByteCode,
    GridCode,
    find_byte_code,
    find_code,
    pack_blocks,
)
from tinygen.lowering.lower import lower

DSP = ("c99", "dsp")


@pytest.mark.parametrize("name", VALUES)
def test_the_code_of_values(name: str) -> None:
    """As named in the list; every weight comes back from its code, at `bits` per weight."""
    weights = np.resize(np.array(VALUES[name], np.int8), (4, 320))
    code = find_code(weights)
    assert code is not None and code.name == name.split()[0]
    codes = code.codes(weights)
    if isinstance(code, GridCode):
        assert np.array_equal(code.first + code.step * codes.astype(np.int64), weights)
        assert codes.max() < 1 << code.bits
    else:
        assert np.array_equal(np.array(code.book)[codes], weights)
    words = pack_blocks(code, codes).words
    # A book of eight packs ten weights to a word.
    assert words.nbytes == weights.size * (3.2 if code.name == "c3" else code.bits) / 8


@pytest.mark.parametrize(
    "values", [range(-128, 128), range(-64, 65), [*range(17), 200], [0, 40000]], ids=["all", "129", "18", "wide"]
)
def test_no_code(values: range | list[int]) -> None:
    assert find_code(np.array(values)) is None


@pytest.mark.parametrize(("step", "first"), [(2, -255), (5, -700), (257, -32768)])
def test_bytes_in_steps(step: int, first: int) -> None:
    """Every weight comes back, from a byte; blocks are filled up to groups."""
    weights = first + step * np.random.default_rng(0).permutation(256).reshape(4, 64)[:, :60]
    weights[0, :2] = first, first + 255 * step
    code = find_byte_code(weights)
    assert code == ByteCode(step, first)
    words = pack_blocks(code, code.codes(weights)).words
    assert words.shape == (4, 16)
    assert np.array_equal(first + step * words.view(np.uint8)[:, :60].astype(np.int64), weights)


@pytest.mark.parametrize(
    "values",
    [range(-128, 128), range(0, 254, 2), range(-1024, 1032, 8), [*range(0, 400, 2), 401], range(-32768, 32768, 258)],
    ids=["bytes", "7 bits", "257 values", "uneven", "too steep"],
)
def test_no_bytes_in_steps(values: range | list[int]) -> None:
    assert find_byte_code(np.array(values)) is None


def test_one_value() -> None:
    code = find_code(np.full((3, 4), -7, np.int8))
    assert code == GridCode(1, 1, -7)


def test_fewer_distinct_values_than_a_grid_has() -> None:
    assert find_code(np.array([-100, 0, 3, 100])) == BookCode(2, (-100, 0, 3, 100))
    assert find_code(np.array([-4, -3, 0, 3])) == BookCode(2, (-4, -3, 0, 3))
    assert find_code(np.array([-4, -2, 0, 2])) == GridCode(2, 2, -4)


def chosen(case: Case) -> tuple[str, str]:
    """The kernel, and its C function."""
    step = lower(case[0], isa=DSP).steps[0]
    return step.kernel.name, step.plan.stem


def test_chosen_where_flash_is_saved_at_no_cost() -> None:
    """Convolutions take the packed kernels, int8 weights do not, and dense layers only where loops are as fast."""
    conv, wide = window((16, 16), 16, 16, (3, 3)), dense(256, 64)
    assert chosen(conv) == ("conv_2d_dsp_rows", "conv_2d_s8_dsp_3x3")
    assert chosen(wide)[0] == "fully_connected_dsp_4"
    for name in VALUES:
        code = name.split()[0]
        widened = ("conv_2d_packed_dsp_rows", f"conv_2d_s8_dsp_{code}_3x3")
        together = ("conv_2d_packed_rows", "conv_2d_s8_packed_3x3")  # several products in one multiplication
        few = code in ("w1", "w2", "w3")
        assert chosen(recoded(conv, name)) == (together if few else widened), name
        # Pairs with -128 do not fit the kernel of bytes that 5 bits are slower than.
        fast = code in ("w1", "w2", "w3", "w4") or name == "w5 step 8"
        assert (chosen(recoded(wide, name))[0] == "fully_connected_packed_dsp") == fast
