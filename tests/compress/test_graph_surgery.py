"""Graphs without filters equal graphs that ignore them, bit by bit, in int8 and in every other encoding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.spread import spread
from tests.support.torch_models import need, outputs_of

torch = need("torch")
torch.set_num_threads(1)

from torch import nn  # noqa: E402

import tinygen  # noqa: E402
from tests.support.prunable_networks import NETWORKS, grouped_masks, images, int8_graph, network, random_masks  # noqa: E402
from tinygen.compress.surgery import consistent_graph, masked, masked_graph, slim, slim_graph  # noqa: E402
from tinygen.errors import ModelError  # noqa: E402
from tinygen.ir.graph import Graph  # noqa: E402
from tinygen.nn import RECIPES, calibrate, convert  # noqa: E402


def masks_of(name: str, share: float = 0.4, seed: int = 0) -> dict[str, np.ndarray]:
    found = grouped_masks(network(name), images(), share, seed)
    return {layer: mask.numpy() for layer, mask in found.items()}


def quantized(name: str, recipe: str) -> nn.Module:
    net = convert(network(name), recipe)
    calibrate(net, [images(16)])
    return net.eval()


def weights(graph: Graph) -> int:
    return sum(tensor.size for tensor in graph.tensors.values() if tensor.is_constant)


def check(graph: Graph, masks: dict[str, np.ndarray]) -> Graph:
    small, full = slim_graph(graph, masks), masked_graph(graph, masks)
    full.validate()
    x = images(6, seed=9).numpy()
    np.testing.assert_array_equal(outputs_of(small, x), outputs_of(full, x))
    assert weights(small) < weights(graph)
    for name in (*graph.inputs, *graph.outputs):
        assert small.tensors[name].shape == graph.tensors[name].shape
    return small


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", range(3))
def test_int8(name: str, seed: int) -> None:
    graph, masks = int8_graph(name), masks_of(name, seed=seed)
    small = check(graph, masks)
    for operator, mask in consistent_graph(graph, masks).items():
        (op,) = [op for op in small.ops if op.name == operator]
        assert small.tensors[op.outputs[0]].shape[-1] == mask.sum()


@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_and_networks_lose_the_same(name: str) -> None:
    net = network(name)
    masks = {layer: mask.numpy() for layer, mask in random_masks(net).items()}
    masks["head"][:] = True
    small = slim_graph(int8_graph(name), masks)
    torch_masks = {layer: torch.from_numpy(mask) for layer, mask in masks.items()}
    narrow = tinygen.export(slim(net, images(), torch_masks), images(1), calibration=images(16))
    assert {op.name: small.tensors[op.outputs[0]].shape for op in small.ops} == {
        op.name: narrow.tensors[op.outputs[0]].shape for op in narrow.ops
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_masked_and_slim_networks_are_the_same_once_quantized(name: str) -> None:
    """Post-training quantization of both, calibrated alike: removed channels are zeros, which every range has."""
    net, masks = network(name), grouped_masks(network(name), images(), 0.4, 1)
    x = images(6, seed=9).numpy()
    wide, narrow = (
        tinygen.export(cut(net, images(), masks), images(1), calibration=images(16)) for cut in (masked, slim)
    )
    assert weights(narrow) < weights(wide)
    np.testing.assert_array_equal(outputs_of(wide, x), outputs_of(narrow, x))
    numpy_masks = {layer: mask.numpy() for layer, mask in masks.items()}
    np.testing.assert_array_equal(outputs_of(slim_graph(wide, numpy_masks), x), outputs_of(narrow, x))


# Bits side by side must fill words, and the branches of "concat" are narrower: its export is refused.
@pytest.mark.parametrize(("name", "recipe"), spread(NETWORKS, RECIPES, without=[("concat", "xnor")]))
def test_integer_networks(name: str, recipe: str) -> None:
    net, masks = quantized(name, recipe), grouped_masks(network(name), images(), 0.4)
    check(tinygen.export(net, images(1)), masks_of(name))
    # Cut before the export, the kept weights are quantized among themselves; masked and slim networks agree again.
    x = images(6, seed=9).numpy()
    wide, narrow = (tinygen.export(cut(net, images(), masks), images(1)) for cut in (masked, slim))
    np.testing.assert_array_equal(outputs_of(wide, x), outputs_of(narrow, x))
    assert weights(narrow) < weights(wide)


def test_float_graphs() -> None:
    graph = tinygen.export(network("concat"), images(1), float32=True)
    masks = masks_of("concat")
    x = images(6, seed=9).numpy()
    small, full = outputs_of(slim_graph(graph, masks), x), outputs_of(masked_graph(graph, masks), x)
    np.testing.assert_allclose(small, full, rtol=1e-6, atol=1e-6)


def test_operators_and_tensors_name_layers() -> None:
    graph = int8_graph("plain")
    keep = np.arange(12) % 2 == 0
    by_module = slim_graph(graph, {"second.0": keep})
    for name in ("second_0", "second_2"):
        other = slim_graph(graph, {name: keep})
        assert list(other.ops) == list(by_module.ops)


def test_bad_masks_are_errors() -> None:
    graph = int8_graph("plain")
    with pytest.raises(ModelError, match=r"pool: no convolution or dense layer of constant weights\nLayers: first"):
        slim_graph(graph, {"pool": np.ones(8, bool)})
    with pytest.raises(ModelError, match=r"first: a mask bool \[7\] for 8 filters\nGive a NumPy array, bool \[8\]"):
        masked_graph(graph, {"first": np.ones(7, bool)})
    with pytest.raises(ModelError, match=r"a mask float64 \[8\] for 8 filters"):
        consistent_graph(graph, {"first": np.ones(8)})
    with pytest.raises(ModelError, match="a second mask for second_0"):
        slim_graph(graph, {"second_0": np.ones(12, bool), "second.0": np.ones(12, bool)})


def test_constants_with_two_readers_are_cut_for_each() -> None:
    graph = int8_graph("residual")
    first, second = "blocks_2_body_0_0", "blocks_2_body_1"
    ops = {op.name: op for op in graph.ops}
    shared = replace(ops[second], inputs=(ops[second].inputs[0], *ops[first].inputs[1:]))
    graph = replace(graph, ops=tuple(shared if op.name == second else op for op in graph.ops))
    graph.validate()
    check(graph, {first: np.arange(12) > 2})
