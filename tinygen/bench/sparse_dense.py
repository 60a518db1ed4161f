"""Dense layers with ever fewer live weights, in the patterns that pruning leaves: cases of suite `sparse`.

Each case is to be measured with kernels that read every weight (`dense`), with those for sparse weights (`sparse`), and
with what the lowering takes by itself (`tinygen`, `compact`).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinygen.bench import layers
from tinygen.bench.case import Case, case_of
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.encodings import Affine

SUITE = "sparse"
SHAPES = ((256, 128), (784, 100))
"""(inputs, outputs)."""
SPARSITIES = (0, 25, 50, 75, 90, 95)
"""Per cent of the weights that are zero."""


@dataclass(frozen=True)
class Pattern:
    """Which weights live and die together.

    Attributes:
        label: in the case's name.
        mask: live weights from (shape [O, I], density, generator).
        sparsities: per cent, that the pattern has.
    """

    label: str
    mask: Callable[[tuple[int, int], float, np.random.Generator], np.ndarray]
    sparsities: Sequence[int] = SPARSITIES[1:]


def _blocks(height: int, width: int) -> Callable[[tuple[int, int], float, np.random.Generator], np.ndarray]:
    def mask(shape: tuple[int, int], density: float, rng: np.random.Generator) -> np.ndarray:
        rows, columns = -(-shape[0] // height), -(-shape[1] // width)
        live = _exactly((rows, columns), density, rng)
        return np.repeat(np.repeat(live, height, axis=0), width, axis=1)[: shape[0], : shape[1]]

    return mask


def _exactly(shape: tuple[int, int], density: float, rng: np.random.Generator) -> np.ndarray:
    """A share of all places, rounded; drawn without return."""
    live = np.zeros(math.prod(shape), bool)
    live[rng.permutation(live.size)[: round(density * live.size)]] = True
    return live.reshape(shape)


def _of_four(shape: tuple[int, int], density: float, rng: np.random.Generator) -> np.ndarray:
    """The same number in each group of four inputs."""
    order = rng.random((shape[0], -(-shape[1] // 4), 4)).argsort(axis=-1)
    return (order < round(4 * density)).reshape(shape[0], -1)[:, : shape[1]]


SINGLE = "single"
PATTERNS = (
    Pattern(SINGLE, _exactly, SPARSITIES),
    Pattern("1x2", _blocks(1, 2)),
    Pattern("1x4", _blocks(1, 4)),
    Pattern("2x2", _blocks(2, 2)),
    Pattern("4x4", _blocks(4, 4)),
    Pattern("8x8", _blocks(8, 8)),
    Pattern("of4", _of_four, (50, 75)),
)


def dense_cases() -> list[Case]:
    """Every pattern at every sparsity, in every shape; named `dense_256_128_1x4_90`."""
    return [
        _case(shape, pattern, sparsity) for shape in SHAPES for pattern in PATTERNS for sparsity in pattern.sparsities
    ]


def _case(shape: tuple[int, int], pattern: Pattern, sparsity: int) -> Case:
    depth, outputs = shape
    name = f"dense_{depth}_{outputs}_{pattern.label}_{sparsity}"
    model = sparse_fully_connected(name, depth, outputs, pattern, 1 - sparsity / 100)
    case = case_of(SUITE, name, model, f"{depth}->{outputs}, {sparsity} % zeros, {pattern.label}")
    figures = {"series": f"dense_{depth}_{outputs}_{pattern.label}", "sparsity": sparsity, "pattern": pattern.label}
    return replace(case, figures=figures)


def sparse_fully_connected(name: str, depth: int, outputs: int, pattern: Pattern, density: float) -> MemoryModel:
    """An int8 dense layer with random live weights, none of which is zero by chance.

    Bias and output scale shrink with the sums, so that outputs spread over their codes at every density.
    """
    model = layers.fully_connected(name, depth, outputs)
    tensors = dict(model.graph.tensors)
    weights, bias, y = (tensors[key] for key in ("weights", "bias", "y"))
    assert weights.data is not None and bias.data is not None and isinstance(y.encoding, Affine)
    live = pattern.mask((outputs, depth), density, np.random.default_rng(zlib.crc32(name.encode())))
    data = np.where(live, np.where(weights.data == 0, 1, weights.data), 0).astype(np.int8)
    shrunk = math.sqrt(density)
    scale = float(np.float32(y.encoding.scale[0] * shrunk))
    tensors["weights"] = replace(weights, data=data)
    tensors["bias"] = replace(bias, data=np.round(bias.data * shrunk).astype(np.int32))
    tensors["y"] = replace(y, encoding=replace(y.encoding, scale=(scale,)))
    graph = replace(model.graph, tensors=tensors)
    graph.validate()
    return MemoryModel(graph, f"{name} (random weights)")


def break_even(points: Sequence[tuple[float, float, float]]) -> float | None:
    """The sparsity at which two curves of costs meet, between the points linear.

    Args:
        points: (sparsity, cost of the dense kernel, cost of the sparse kernel), in rising sparsity.

    Returns:
        The least sparsity from which on the sparse kernel costs no more; None where it costs more at the end.
    """
    dearer = [i for i, (_, dense, sparse) in enumerate(points) if sparse > dense]
    if not dearer:
        return points[0][0] if points else None
    if dearer[-1] == len(points) - 1:
        return None
    (s0, dense0, sparse0), (s1, dense1, sparse1) = points[dearer[-1] : dearer[-1] + 2]
    before, after = sparse0 - dense0, sparse1 - dense1
    return s0 + (s1 - s0) * before / (before - after)
