"""Layouts against NumPy: the same views and permutations, on a real array."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.frontends.aten.layout import NHWC, Layout


def logical(layout: Layout, memory: np.ndarray) -> np.ndarray:
    """The array as PyTorch sees it."""
    return memory.reshape(layout.sizes).transpose(layout.logical).reshape(layout.shape)


@settings(max_examples=300)
@given(st.data())
def test_random_views(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    order = data.draw(st.permutations(range(len(shape))))
    layout = Layout.dense(shape, order)
    memory = np.arange(math.prod(shape))
    array = memory.reshape([shape[dim] for dim in order]).transpose(np.argsort(order))
    for _ in range(data.draw(st.integers(0, 4))):
        if data.draw(st.booleans()):
            turn = data.draw(st.permutations(range(array.ndim)))
            layout, array = layout.permuted(turn), array.transpose(turn)
            continue
        wanted = factors(data, array.size)
        found = layout.viewed(wanted)
        if found is not None:
            layout, array = found, array.reshape(wanted)
        else:
            # Only where the elements would have to move.
            assert layout.logical != tuple(range(len(layout.sizes)))
    assert layout.shape == array.shape
    np.testing.assert_array_equal(logical(layout, memory), array)
    np.testing.assert_array_equal(layout.to_memory(array), memory)
    order = layout.dim_order() or ()
    if order:
        np.testing.assert_array_equal(array.transpose(order).reshape(-1), memory)


def factors(data: st.DataObject, size: int) -> tuple[int, ...]:
    shape = []
    while size > 1:
        factor = data.draw(st.sampled_from([n for n in range(2, size + 1) if size % n == 0]))
        shape.append(factor)
        size //= factor
    return tuple(data.draw(st.permutations([*shape, *[1] * data.draw(st.integers(0, 2))])))


def test_flattened_image() -> None:
    """[1, C, H, W] stored as NHWC, flattened: nothing moves, the columns are what is permuted."""
    layout = Layout.dense((1, 3, 4, 5), NHWC).viewed((1, 60))
    assert layout == Layout((20, 3), ((), (1, 0)))
    assert layout.dim_order() is None
    back = layout.viewed((1, 3, 4, 5))
    assert back is not None
    assert back.is_stored_as(NHWC)


def test_permutation_is_undone() -> None:
    layout = Layout.dense((1, 3, 4, 5), NHWC)
    assert layout.permuted(NHWC) == Layout.dense((1, 4, 5, 3))
    assert layout.permuted(NHWC).is_stored_as(range(4))
    assert not layout.is_stored_as(range(4))


@pytest.mark.parametrize("permutation", [(1, 2, 0), (2, 0, 1), (0, 2, 1)])
def test_permuted_memory(permutation: tuple[int, ...]) -> None:
    elements = np.arange(24).reshape(2, 3, 4)
    layout = Layout.dense(elements.shape).transposed(permutation)
    assert layout.shape == elements.shape
    assert layout.to_memory(elements).tolist() == elements.transpose(permutation).ravel().tolist()
