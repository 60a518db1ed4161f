"""Activations as unsigned codes for fields: what a row of bytes holds stands for the encoding's integers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.differential.test_packed_rows import LOGARITHMIC, SHARED
from tests.support.integer_layers import BINARY, TERNARY, affine, levels
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.support.activations.packed_codes import activation_codes

ENCODINGS = [
    *(affine(zero_point) for zero_point in (-128, 0, 7)),
    *(levels(bits, signed) for bits in range(2, 9) for signed in (False, True)),
    *(TERNARY, BINARY, LOGARITHMIC, SHARED),
]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_codes_fit_bytes_and_stand_for_integers(encoding: IntegerEncoding, padded: bool) -> None:
    x = Tensor("x", (1, 1, 1, 1), encoding)
    codes = activation_codes(x, padded=padded)
    if codes is None:
        assert encoding == levels(8, True) and padded  # 511 codes, those of padding among them
        return
    low, high = encoding.code_range
    stored = np.arange(low, high + 1)
    if codes.table:
        a = np.array(codes.table)[stored - codes.lowest]
    else:
        a = (2 if codes.doubled else 1) * stored + codes.moved
    assert a.min() >= 0 and a.max() <= codes.largest <= 255
    assert np.array_equal(codes.scale * a + codes.offset, encoding.integers(stored.astype(encoding.dtype)))
    if padded:
        assert 0 <= codes.padding <= codes.largest and codes.scale * codes.padding + codes.offset == 0
