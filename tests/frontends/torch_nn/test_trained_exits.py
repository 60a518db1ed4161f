"""A trained network with exits, over 5,000 digits: indices and outputs, on two boards and with both compilers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, pairwise

import numpy as np
import pytest

from tests.support.torch_models import need
from tests.targets.tools import requires_tool
from tinygen.bench.bare_models import BareModels
from tinygen.frontends.torch_nn import read_quantized
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import find_toolchain

need("mlxtend")

import torch  # noqa: E402
from torch import nn  # noqa: E402

from examples.studies.dynamic_networks import training  # noqa: E402
from tests.support.deciding import conv  # noqa: E402
from tinygen.apps.digits.lowbit import CLASSES, Digits, load_digits  # noqa: E402
from tinygen.nn import Affine8, InputQuant, QuantLinear, Symmetric8, early_exits  # noqa: E402

pytestmark = pytest.mark.long
BOARDS = [
    ("f746zg", "zig"),
    pytest.param("f746zg", "gcc", marks=requires_tool("arm-none-eabi-gcc")),
    ("esp32c3", "zig"),
    pytest.param("esp32c3", "gcc", marks=requires_tool("riscv64-unknown-elf-gcc")),
]


def _stage(inputs: int, outputs: int) -> list[nn.Module]:
    return [conv(inputs, outputs, stride=2, bias=False), nn.BatchNorm2d(outputs), Affine8(relu=True)]


def _head(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), QuantLinear(channels, CLASSES, weight_quantizer=Symmetric8())
    )


def network() -> nn.Module:
    """Three stages of one convolution each, of 14x14 pixels, a head behind each."""
    widths = (1, 6, 12, 16)
    stages = [nn.Sequential(*_stage(*pair)) for pair in pairwise(widths)]
    stages[0] = nn.Sequential(InputQuant(), *stages[0])
    return early_exits(stages, [_head(width) for width in widths[1:]])


def numbered(graph: Graph, numbers: Iterator[int]) -> Graph:
    """The graph with one more output: a number that each of its innermost branches has for itself."""
    ops, tensors = list(graph.ops), dict(graph.tensors)
    at = next((place for place, op in enumerate(ops) if isinstance(op, Branch)), None)
    tensors["taken"] = Tensor("taken", (1,), Plain("int8"))
    if at is None:
        tensors["taken"] = replace(tensors["taken"], data=np.full(1, next(numbers), np.int8))
    else:
        op = ops[at]
        assert isinstance(op, Branch)
        branches = tuple(numbered(inner, numbers) for inner in op.branches)
        ops[at] = replace(op, outputs=(*op.outputs, "taken"), branches=branches)
    return replace(graph, tensors=tensors, ops=tuple(ops), outputs=(*graph.outputs, "taken"))


@dataclass(frozen=True)
class Trained:
    """The model, codes of all digits, and what the semantics gives: logits and which exit each leaves by."""

    graph: Graph
    codes: np.ndarray
    wanted: list[list[np.ndarray]]


@pytest.fixture(scope="module")
def trained() -> Trained:
    train, test = load_digits()
    everything = Digits(np.concatenate([train.images, test.images]), np.concatenate([train.labels, test.labels]))
    digits = training.training_digits(everything)
    found = training.seeded(network, 0)
    training.train(found, digits, 0, training.objectives_of(found), epochs=4)
    training.settle(found, digits)
    codes = training.input_codes(found, training.halved(everything))
    graph = numbered(read_quantized(found.eval(), torch.zeros(1, 1, 14, 14), "exits"), count())
    graph.validate()
    return Trained(graph, codes, [evaluate(graph, [row[None]]) for row in codes])


def test_every_exit_is_taken(trained: Trained) -> None:
    counts = np.bincount([int(taken[0]) for _, taken in trained.wanted])
    assert len(trained.codes) == 5000 and len(counts) == 3 and counts.min() > 500


@pytest.mark.parametrize(("name", "compiler"), BOARDS)
def test_all_digits(trained: Trained, name: str, compiler: str) -> None:
    board = load_board(name)
    models = BareModels([lower(simplify(trained.graph), isa=board.isa)], board, find_toolchain(compiler, board))
    for row, wanted in zip(trained.codes, trained.wanted, strict=True):
        for ours, theirs in zip(models.run(0, [row[None]]).outputs, wanted, strict=True):
            np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)
