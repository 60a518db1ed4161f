"""Networks that decide, as streams: branches read whole windows that are kept outside of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.passes.test_to_streaming import assert_streams
from tests.support.cases import draws
from tests.support.deciding_windows import deciding_window
from tests.support.integer_layers import random_codes
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network, Switch
from tinygen.ir.paths import PathStream, path_of
from tinygen.ir.thresholds import network_with_thresholds, thresholds_of, with_thresholds
from tinygen.passes.to_streaming import to_streaming
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import VerifyOptions, verify


def frames_for(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    """[1, count, ...], calm and loud in turn, so that gates move."""
    source = graph.tensors[graph.inputs[0]]
    rng = np.random.default_rng(seed)
    codes = random_codes(source.encoding, (1, count, *source.shape[2:]), rng).astype(np.int32)
    loud = np.linspace(-1, 1, count).reshape(1, -1, 1, 1)
    return np.clip(codes * 0.3 + 90 * loud, -128, 127).astype(np.int8)


def test_random_networks() -> None:
    """Code for code what the window gives, and by the same branches; a threshold that is set stays."""
    taken = set()
    for number, draw in enumerate(draws("deciding streams", 12)):
        shape = (1, draw.integer(8, 14), draw.integer(1, 2), draw.integer(1, 4))
        graph, hop = deciding_window(number, shape, draw.integer(1, 3)), draw.integer(1, 5)
        assert_streams(graph, hop, number, steps=4)
        moved = {thresholds_of(graph)[-1].name: draw.integer(-128, 127)}
        stream = PathStream(to_streaming(with_thresholds(graph, moved), hop=hop).first)
        frames, window = frames_for(graph, 40 * hop, number), shape[1]
        for end in range(hop, 40 * hop + 1, hop):
            found = stream.step([frames[:, end - hop : end]])
            if end >= window:
                whole = [frames[:, end - window : end]]
                assert np.array_equal(found[0], evaluate(with_thresholds(graph, moved), whole)[0])
                assert stream.path == path_of(with_thresholds(graph, moved), whole)
                taken.add(stream.path)
    assert len(taken) > 3


def test_branches_keep_nothing() -> None:
    """What is kept are frames in front of the operator, and thresholds."""
    graph = deciding_window(4, (1, 12, 1, 3), 2)
    streaming = to_streaming(graph, hop=2).first
    assert len(thresholds_of(streaming)) == len(graph.states) > 0 and not graph.is_stream
    kept = [state.tensor for state in streaming.states if not state.threshold]
    assert kept and all(name.endswith("_before") for name in kept)


@pytest.mark.parametrize("board", ["host", *(pytest.param(b, marks=pytest.mark.long) for b in ("f746zg", "esp32c3"))])
def test_in_c_with_switches(board: str, tmp_path: Path) -> None:
    """Streams of two switches, each with thresholds of its own."""
    shape = (1, 10, 1, 3)
    switches = tuple(Switch(name, deciding_window(seed, shape, 2)) for name, seed in (("a", 1), ("b", 4)))
    network = to_streaming(Network("net", switches), hop=2)
    frames = frames_for(network.first, 120)[0]
    np.savez(tmp_path / "x.npz", x=frames.reshape(60, 2, 1, 3))
    taken = set()
    for given in ({"EXIT_1": 20, "B_EXIT_1": -100}, {}):
        for switch in network_with_thresholds(network, given):
            stream = PathStream(switch.graph)
            for row in frames.reshape(60, 1, 2, 1, 3):
                stream.step([row])
                taken.add((len(given), switch.name, stream.path))
        if given or board != "host":
            how = VerifyOptions(thresholds=given)
            assert verify(MemoryModel(network, "net"), tmp_path / "x.npz", BuildOptions(board=board), how).identical
    assert len(taken) > 5
