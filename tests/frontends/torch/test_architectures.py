"""Networks of torchvision and timm: exported, the same as PyTorch, and the C the same as the integer semantics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen
from tests.support.architectures import ALL, architecture
from tests.support.host_batch import run_on_host
from tests.support.torch_models import codes_of, need, outputs_of
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

torch = need("torch")
MOST_PARAMETERS = 2_500_000
"""Of a network whose C is compiled."""
ON_BOARD = [("timm", "lcnet_035"), ("torchvision", "shufflenet_v2_x0_5"), ("timm", "mobilenetv3_small_050")]

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


def _images(count: int, shape: tuple[int, ...]) -> Any:
    return torch.randn((count, *shape[1:]), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("source", "name"), ALL, ids=[name for _, name in ALL])
def test_export(source: str, name: str, tmp_path: Path) -> None:
    """In float as PyTorch; in integers every answer's code the same in C, if it is small enough to be compiled."""
    network, shape = architecture(source, name)
    x = _images(4, shape)
    with torch.no_grad():
        wanted = network(x[:1]).numpy()
    real = tinygen.export(network, x[:1], float32=True)
    np.testing.assert_allclose(outputs_of(real, x[:1].numpy()), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    if sum(parameter.numel() for parameter in network.parameters()) > MOST_PARAMETERS:
        return
    graph = tinygen.export(network, x[:1], x, name="net")
    feeds = [[sample] for sample in codes_of(graph, x[:2].numpy())]
    program = lower(simplify(graph), isa=("c99", "dsp"))
    (rows,) = run_on_host([program], [feeds], tmp_path)
    for sample, row in zip(feeds, rows, strict=True):
        np.testing.assert_array_equal(row[0], evaluate(graph, sample)[0])


@pytest.mark.parametrize(("source", "name"), ON_BOARD, ids=[name for _, name in ON_BOARD])
def test_on_a_board(source: str, name: str) -> None:
    network, shape = architecture(source, name)
    x = _images(4, shape)
    graph = tinygen.export(network, x[:1], x, name="net")
    assert tinygen.verify(graph, x[:2].numpy(), board="f746zg", layout="nchw", clip=True).identical
