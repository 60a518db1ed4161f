"""Suite `sparse`: layers of which 0 to 95 % of the kernels are zero, in dense and in sparse kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tinygen.bench import layers, lowbit
from tinygen.bench.case import Case, case_of
from tinygen.bench.layers import Window
from tinygen.bench.lowbit import Coding
from tinygen.bench.sparse_dense import dense_cases
from tinygen.bench.suites import SuiteCases, SuiteOptions, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.encodings import Affine, Ternary
from tinygen.ir.tensor import Shape
from tinygen.lowering.break_even import zero_code
from tinygen.lowering.select import DENSE, SPARSE

SUITE = "sparse"
SPARSITIES = (0, 25, 50, 75, 90, 95)
"""In per cent of the kernels, that is, of single weights in 1x1 windows and dense layers."""
_ONE = (1.0,)
_TERNARY = Coding("ternary", Affine("int8", _ONE, (-128,)), Ternary(_ONE))


def sparse_cases(name: str, shape: str, make: Callable[[str], MemoryModel], label: str) -> list[Case]:
    """A case per sparsity of one layer.

    Args:
        name, label: of the layer and of its encoding, in the case's name.
        shape: for people.
        make: the layer with all weights, by the name of its model.
    """
    series = f"{name}_{label}"
    found = []
    for sparsity in SPARSITIES:
        title = f"{series}_s{sparsity}"
        model = without_kernels(make(title), sparsity / 100)
        case = case_of(SUITE, title, model, f"{shape} {label}, {sparsity} % zero")
        found.append(replace(case, figures={"series": series, "sparsity": sparsity}))
    return found


def without_kernels(model: MemoryModel, sparsity: float) -> MemoryModel:
    """The model of one layer with so large a share of its kernels [O, ..., I] zero, chosen at random."""
    graph = model.graph
    name = graph.ops[0].inputs[1]
    weights = graph.tensors[name]
    zero = zero_code(weights)
    assert weights.data is not None and zero is not None
    kernels = (weights.shape[0], *[1] * (len(weights.shape) - 2), weights.shape[-1])
    rank = np.random.default_rng(0).permutation(int(np.prod(kernels))).reshape(kernels)
    data = np.where(rank < round(sparsity * rank.size), zero, weights.data).astype(weights.dtype)
    tensors = {**graph.tensors, name: replace(weights, data=data)}
    return replace(model, content=replace(graph, tensors=tensors))


def of_four(name: str, shape: str, make: Callable[[str], MemoryModel]) -> list[Case]:
    """A case for 2:4 and one for 1:4: of each four neighbouring input channels as many weights stay."""
    found = []
    for kept in (2, 1):
        title = f"of4_{name}_{kept}"
        model = make(title)
        key = model.graph.ops[0].inputs[1]
        weights = model.graph.tensors[key]
        assert weights.data is not None and weights.shape[-1] % 4 == 0
        order = np.random.default_rng(kept).random((weights.size // 4, 4)).argsort(axis=-1)
        data = np.where((order < kept).reshape(weights.shape), weights.data, 0).astype(weights.dtype)
        tensors = {**model.graph.tensors, key: replace(weights, data=data)}
        model = replace(model, content=replace(model.graph, tensors=tensors))
        found.append(case_of(SUITE, title, model, f"{shape} int8, {kept}:4"))
    return found


def _convolutions() -> Sequence[Case]:
    found: list[Case] = []
    for name, image, filters, window in lowbit.SHAPES:
        text = f"{window.kernel[0]}x{window.kernel[1]} {image[2]}->{filters} @{image[0]}x{image[1]}"
        found += sparse_cases(name, text, _int8(image, filters, window), "int8")
        found += sparse_cases(name, text, _ternary(image, filters, window), "ternary")
        found += of_four(name, text, _int8(image, filters, window))
    return found


def _int8(image: Shape, filters: int, window: Window) -> Callable[[str], MemoryModel]:
    return lambda title: layers.conv_2d(title, image, filters, window)


def _ternary(image: Shape, filters: int, window: Window) -> Callable[[str], MemoryModel]:
    return lambda title: lowbit.integer_conv_2d(title, image, filters, window, _TERNARY)


@suite(SUITE, "layers with 0 to 95 % of their kernels zero, dense and sparse", kernels=(DENSE, SPARSE, "tinygen"))
def cases(options: SuiteOptions) -> SuiteCases:
    return SuiteCases([*_convolutions(), *dense_cases()])
