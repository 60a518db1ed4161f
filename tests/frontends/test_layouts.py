"""Arrays as rows of what a model takes: what fits is taken as it lies, what would fit otherwise is said how."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.errors import TinygenError
from tinygen.frontends.layouts import Layout, Rows

IMAGE = Rows("input 'x'", (1, 4, 5, 3))
MODULE = Rows("input 'x'", (1, 3, 4, 5), Layout.NCHW)
IMAGES = np.arange(2 * 60).reshape(2, 4, 5, 3)
FIRST = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("array", "layout"),
    [
        (IMAGES, None),
        (IMAGES, Layout.NHWC),
        (IMAGES[:, None], None),
        (FIRST, Layout.NCHW),
        (FIRST[:, None], Layout.NCHW),
        (IMAGES.reshape(2, 60), Layout.NHWC),
        (FIRST.reshape(2, 60), Layout.NCHW),
        (np.asfortranarray(IMAGES), None),
    ],
)
def test_images_are_taken(array: np.ndarray, layout: Layout | None) -> None:
    found = IMAGE.take(array, layout, "x.npy")
    np.testing.assert_array_equal(found, IMAGES[:, None])


@pytest.mark.parametrize(("array", "layout"), [(IMAGES[0], None), (IMAGES[:1], None), (FIRST[0], Layout.NCHW)])
def test_one_image_is_a_row(array: np.ndarray, layout: Layout | None) -> None:
    np.testing.assert_array_equal(IMAGE.take(array, layout, "x.npy"), IMAGES[None, :1])


@pytest.mark.parametrize("layout", [None, Layout.NCHW])
def test_a_module_takes_channels_first(layout: Layout | None) -> None:
    np.testing.assert_array_equal(MODULE.take(FIRST, layout, "x.npy"), FIRST[:, None])
    np.testing.assert_array_equal(MODULE.take(IMAGES, Layout.NHWC, "x.npy"), FIRST[:, None])


@pytest.mark.parametrize(
    ("shape", "array", "rows"),
    [
        ((1, 49, 10, 1), (7, 49, 10), 7),
        ((1, 49, 10, 1), (49, 10), 1),
        ((1, 28, 28, 1), (7, 1, 28, 28), 7),
        ((1, 1, 1, 6), (7, 6), 7),
        ((1, 6), (7, 6), 7),
        ((1, 6), (6,), 1),
        ((1, 6), (7, 1, 6), 7),
        ((4, 6), (4, 6), 1),
        ((4, 6), (3, 4, 6), 3),
        ((4,), (4,), 1),
        ((1,), (7,), 7),
        ((), (7,), 7),
        ((), (), 1),
    ],
)
def test_dimensions_of_one_may_be_missing(shape: tuple[int, ...], array: tuple[int, ...], rows: int) -> None:
    data = np.arange(np.prod(array, dtype=int)).reshape(array)
    found = Rows("input 'x'", shape).take(data, None, "x.npy")
    assert found.shape == (rows, *shape) and found.ravel().tolist() == data.ravel().tolist()


@pytest.mark.parametrize(
    ("wanted", "array", "layout", "what", "fix"),
    [
        (IMAGE, FIRST, None, "rows of shape [3, 4, 5] do not fit input 'x' [1, 4, 5, 3]", "give --layout nchw"),
        (IMAGE, FIRST[0], None, "rows of shape [3, 4, 5]", "give --layout nchw"),
        (IMAGE, FIRST[:1], None, "rows of shape [3, 4, 5]", "give --layout nchw"),
        (IMAGE, FIRST, Layout.NHWC, "rows of shape [3, 4, 5]", "give --layout nchw"),
        (IMAGE, IMAGES, Layout.NCHW, "rows of shape [4, 5, 3]", "give --layout nhwc"),
        (MODULE, IMAGES, None, "rows of shape [4, 5, 3]", "give --layout nhwc"),
        (
            IMAGE,
            IMAGES.reshape(2, 60),
            None,
            "flat rows of shape [60]",
            "by --layout nhwc for that of [1, 4, 5, 3], --layout nchw for [1, 3, 4, 5].",
        ),
        (IMAGE, IMAGES.reshape(2, 20, 3), None, "rows of shape [20, 3]", ""),
        (IMAGE, IMAGES.transpose(0, 2, 1, 3), None, "rows of shape [5, 4, 3]", "numpy.transpose(x, (0, 2, 1, 3))"),
        (IMAGE, np.zeros((2, 59)), None, "rows of shape [59]", ""),
        (IMAGE, IMAGES[:0], None, "holds no samples", ""),
        (
            Rows("input 'x'", (1, 49, 40)),
            np.zeros((9, 40, 49)),
            None,
            "rows of shape [40, 49]",
            "numpy.transpose(x, (0, 2, 1))",
        ),
        (Rows("input 'x'", (1, 49, 40)), np.zeros((9, 1960)), None, "flat rows", "by --layout nhwc for that of [1, 49"),
        (Rows("input 'x'", (1, 2)), np.zeros(()), None, "rows of shape []", ""),
    ],
)
def test_what_does_not_fit(wanted: Rows, array: np.ndarray, layout: Layout | None, what: str, fix: str) -> None:
    with pytest.raises(TinygenError) as error:
        wanted.take(array, layout, "x.npy")
    assert what in error.value.what and error.value.where == "x.npy"
    assert fix in error.value.fix and bool(fix) == bool(error.value.fix)
