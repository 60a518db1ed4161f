"""Layers of single bits: the tuned kernels, each plan of each, against the operators' meaning."""

from __future__ import annotations

import numpy as np

from tests.support import integer_layers as layers
from tests.support.integer_layers import BINARY, INT32, Layer, affine, levels
from tests.support.variants import check_variants
from tinygen.ir.encodings import Affine, Encoding

OUTPUTS: tuple[Encoding, ...] = (
    BINARY, INT32, BINARY, affine(-7), BINARY, levels(2), BINARY, levels(4, True), Affine("int16", (1.0,), (0,)),
)  # fmt: skip


def _convolutions(count: int, seed: int) -> list[Layer]:
    """Windows of 1x1 to 7x7, all strides, dilations, paddings and outputs; channels and filters mostly odd."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        kernel = tuple(int(k) for k in rng.integers(1, 8, 2))
        image = (int(rng.integers(7, 11)), int(rng.integers(7, 11)))
        dilation = tuple(int(rng.choice([1, 1, 2])) if (k - 1) * 2 < min(image) else 1 for k in kernel)
        channels = int(rng.choice([1, 3, 8, 17, 24, 32, 33, 40, 50, 64, 79, 96]))
        filters = int(rng.choice([1, 2, 7, 10, 31, 32, 33, 47, 64, 70]))
        found.append(
            layers.conv(
                f"m{index}", (*image, channels), filters, kernel, x=BINARY, w=BINARY, y=OUTPUTS[index % len(OUTPUTS)],
                stride=tuple(int(s) for s in rng.integers(1, 4, 2)), dilation=dilation,
                same=bool(rng.random() < 0.6), shared=bool(rng.random() < 0.2), seed=index,
            )
        )  # fmt: skip
    return found


def _check(found: list[Layer], compiler: str = "zig", host: bool = True) -> None:
    graphs, feeds = [layer.graph for layer in found], [layer.feeds for layer in found]
    for graph in graphs:
        graph.validate()
    check_variants(graphs, feeds, compiler=compiler, host=host)


def test_convolutions() -> None:
    _check(_convolutions(27, 1))
