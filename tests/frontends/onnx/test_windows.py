"""Windows of ONNX against torch's: how many there are, and where the last one begins."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from tinygen.frontends.onnx.windows import _ceiled, _same


@pytest.mark.parametrize("dilation", [1, 2])
def test_ceil_mode(dilation: int) -> None:
    """A last window may hang over the end, but begins within the input or the padding in front."""
    tried = 0
    for size, kernel, stride, pad in product(range(1, 12), (1, 2, 3, 4), (1, 2, 3, 5), (0, 1, 2)):
        reach = (kernel - 1) * dilation + 1
        if pad > kernel // 2 or size + 2 * pad < reach:
            continue
        pool = torch.nn.MaxPool1d(kernel, stride, pad, dilation, ceil_mode=True)
        wanted = pool(torch.zeros(1, 1, size)).shape[-1]
        before, after = _ceiled(size, kernel, stride, dilation, (pad, pad))
        assert (before, (size + before + after - reach) // stride + 1) == (pad, wanted), (size, kernel, stride, pad)
        tried += 1
    assert tried > 100


def test_same_padding_takes_the_odd_element_where_it_says() -> None:
    assert _same(5, 2, 1, 1, False) == (0, 1) and _same(5, 2, 1, 1, True) == (1, 0)
    assert _same(6, 3, 2, 1, False) == (0, 1) and _same(6, 3, 2, 1, True) == (1, 0)
    assert _same(7, 3, 1, 2, False) == _same(7, 3, 1, 2, True) == (2, 2)
