"""LayerNorm, GroupNorm, InstanceNorm, RMSNorm: torch in double precision = semantics = C on the host and in cores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.passes.test_to_streaming import assert_streams
from tests.support.bare_batch import run_on_bare_core
from tests.support.cases import Draw, draws, log_uniform
from tests.support.differential import compare_code
from tests.support.torch_models import need
from tests.support.windows import WindowNetwork
from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.ir.encodings import Affine, Encoding, Float32
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.normalization import Normalization, inverse_root
from tinygen.ir.tensor import Shape, Tensor
from tinygen.lowering.lower import lower
from tinygen.passes.to_streaming import to_streaming
from tinygen.targets.bare_cores import bare_cores

torch = need("torch")


@dataclass(frozen=True)
class Case:
    """A graph of one normalization, samples of its input, and what torch gives for them, as real numbers."""

    graph: Graph
    samples: list[np.ndarray]
    exact: list[np.ndarray]

    @property
    def op(self) -> Normalization:
        op = self.graph.ops[0]
        assert isinstance(op, Normalization)
        return op


def by_torch(op: Normalization, x: np.ndarray, gain: np.ndarray | None, offset: np.ndarray | None) -> np.ndarray:
    """torch's result for an NHWC tensor, in double precision."""
    given = torch.from_numpy(x.astype(np.float64))
    weight, bias = (None if each is None else torch.from_numpy(each.astype(np.float64)) for each in (gain, offset))
    functional = torch.nn.functional
    if op.groups > 1:
        result = functional.group_norm(given.permute(0, 3, 1, 2), op.groups, eps=op.epsilon).permute(0, 2, 3, 1)
    elif op.axes == (1, 2):
        result = functional.instance_norm(given.permute(0, 3, 1, 2), eps=op.epsilon).permute(0, 2, 3, 1)
    elif op.centred:
        result = functional.layer_norm(given, x.shape[op.axes[0] :], eps=op.epsilon)
    else:
        result = functional.rms_norm(given, x.shape[op.axes[0] :], eps=op.epsilon)
    result = result if weight is None else result * weight
    return np.asarray(result if bias is None else result + bias)


def case(draw: Draw, number: int, kind: str, dtype: str) -> Case:
    rng = draw.rng
    channels = draw.choice([1, 3, 4, 8, 24, 64])
    shape: Shape = (1, draw.integer(1, 7), draw.integer(1, 7), channels)
    if kind == "rms" or kind == "layer":
        axes = draw.choice([(3,), (2, 3), (1, 2, 3)])
    else:
        axes = (1, 2, 3) if kind == "group" else (1, 2)
    groups = draw.choice([count for count in (2, 3, 4, 8) if channels % count == 0] or [1]) if kind == "group" else 1
    parameters: Shape = shape[axes[0] :] if kind in ("rms", "layer") and draw.yes() else (channels,)
    if math.prod(shape[axis] for axis in axes) // groups == 1:
        return case(draw, number, kind, dtype)
    gain = rng.normal(1, 0.5, parameters).astype(np.float32) if draw.yes(0.8) else None
    offset = rng.normal(0, 1, parameters).astype(np.float32) if draw.yes(0.7) else None
    inputs = ["x", "gain" if gain is not None else "", "offset" if offset is not None else ""]
    while not inputs[-1]:
        inputs.pop()
    op = Normalization(
        name="norm",
        inputs=tuple(inputs),
        outputs=("y",),
        axes=axes,
        epsilon=draw.choice([1e-5, 1e-6, 1e-3]),
        groups=groups,
        centred=kind != "rms",
    )
    encoding: Encoding = Float32()
    if dtype != "float32":
        scale = float(np.float32(log_uniform(rng, 1e-4, 1) / (256 if dtype == "int16" else 1)))
        encoding = Affine(dtype, (scale,), (draw.zero_point(dtype),))
    samples = _samples(draw, shape, encoding)
    exact = [by_torch(op, _real(x, encoding), gain, offset) for x in samples]
    constants = {"gain": gain, "offset": offset}
    tensors = {
        "x": Tensor("x", shape, encoding),
        "y": Tensor("y", shape, _fitting(exact, dtype)),
        **{name: Tensor(name, data.shape, Float32(), data) for name, data in constants.items() if data is not None},
    }
    graph = Graph(f"n{number}", tensors, (op,), ("x",), ("y",))
    graph.validate()
    return Case(graph, samples, exact)


def _samples(draw: Draw, shape: Shape, encoding: Encoding) -> list[np.ndarray]:
    """Of a wide and of a narrow range, and one that is nearly the same everywhere."""
    rng, dtype = draw.rng, encoding.dtype
    if dtype == np.float32:
        return [(rng.normal(size=shape) * 10.0 ** rng.uniform(-2, 2) + rng.normal()).astype(np.float32) for _ in "12"]
    info = np.iinfo(dtype)
    middle, width = rng.integers(info.min // 2, info.max // 2), info.max / 30
    flat = np.full(shape, rng.integers(info.min, info.max + 1))
    flat.reshape(-1)[0] = info.max
    codes = [rng.integers(info.min, info.max + 1, shape), rng.normal(middle, width, shape), flat]
    return [np.clip(np.round(each), info.min, info.max).astype(dtype) for each in codes]


def _real(x: np.ndarray, encoding: Encoding) -> np.ndarray:
    return encoding.integers(x) * encoding.scale[0] if isinstance(encoding, Affine) else x


def _fitting(exact: list[np.ndarray], dtype: str) -> Encoding:
    """An encoding of most of these values: some saturate."""
    if dtype == "float32":
        return Float32()
    low, high = np.quantile(np.concatenate([each.reshape(-1) for each in exact[:2]]), (0.01, 0.99))
    if dtype == "int16":
        return Affine("int16", (float(np.float32(max(abs(low), abs(high), 1e-3) / 32767)),), (0,))
    scale = float(np.float32(max(high - low, 1e-3) / 255))
    return Affine("int8", (scale,), (int(np.clip(round(-128 - low / scale), -128, 127)),))


def cases(what: str, count: int) -> list[Case]:
    kinds, dtypes = ("layer", "group", "instance", "rms"), ("int8", "int8", "float32", "int16")
    return [
        case(draw, number, kinds[number % 4], dtypes[(number // 4) % 4])
        for number, draw in enumerate(draws(what, count))
    ]


def beyond(one: Case) -> float:
    """How many codes the semantics are further from torch than rounding brings them, at most."""
    output, worst = one.graph.tensors["y"], 0.0
    low, high = output.code_range
    for x, exact in zip(one.samples, one.exact, strict=True):
        codes = evaluate(one.graph, [x])[0]
        wanted = np.clip(exact / output.scale + output.zero_point, low, high)
        worst = max(worst, float(np.abs(codes - wanted).max()) - 0.5)
    return worst


def _compare(what: str, count: int, *, on_board: bool) -> None:
    found = cases(what, count)
    graphs, feeds = [one.graph for one in found], [[[x] for x in one.samples] for one in found]
    expected = [[evaluate(graph, row) for row in rows] for graph, rows in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, ["normalization"] * count, on_board=on_board)


def test_semantics_are_torchs() -> None:
    """int8: within a thousandth of a code of rounding the exact value. 16 bits have fewer to spare."""
    for one in cases("normalization by torch", 160):
        if one.graph.tensors["y"].is_float:
            for x, exact in zip(one.samples, one.exact, strict=True):
                np.testing.assert_allclose(evaluate(one.graph, [x])[0], exact, rtol=1e-6, atol=1e-6)
        else:
            bits = one.op.scaling(one.graph.node(one.op)).bits
            assert beyond(one) <= (0.001 if one.graph.tensors["y"].dtype == np.int8 else 2.0**-bits + 0.005)


def test_on_the_host() -> None:
    _compare("normalization on the host", 48, on_board=False)


def test_in_a_core() -> None:
    _compare("normalization in a core", 16, on_board=True)


@pytest.mark.long
def test_many() -> None:
    _compare("many normalizations", 400, on_board=True)


@pytest.mark.parametrize("name", ["esp32c3-core", "cortex-m0plus"])
def test_on_cores_without_simd(name: str, tmp_path: Path) -> None:
    found, core = cases("normalization without SIMD", 16), bare_cores()[name]
    found = [one for one in found if not one.graph.tensors["x"].is_float]
    programs = [lower(one.graph, isa=core.isa) for one in found]
    results = run_on_bare_core(programs, [[[x] for x in one.samples] for one in found], tmp_path, core)
    for one, rows in zip(found, results, strict=True):
        for x, (got,) in zip(one.samples, rows, strict=True):
            np.testing.assert_array_equal(got, evaluate(one.graph, [x])[0])


def test_large_groups_on_the_host() -> None:
    """64-bit sums of squares, and distances that are shifted right."""
    found = []
    for number, (shape, dtype) in enumerate([((1, 40, 40, 40), "int8"), ((1, 24, 20, 60), "int16")]):
        rng = np.random.default_rng(number)
        info = np.iinfo(dtype)
        x = rng.choice([info.min, info.max], shape).astype(dtype)
        one_hot = np.full(shape, info.min, dtype)
        one_hot[0, 3, 2, 1] = info.max
        tensors = {
            "x": Tensor("x", shape, Affine(dtype, (0.01,), (0,))),
            "y": Tensor("y", shape, Affine(dtype, (4 / info.max,), (0,))),
        }
        op = Normalization(name="n", inputs=("x",), outputs=("y",), axes=(1, 2, 3), epsilon=1e-5)
        graph = Graph(f"large{number}", tensors, (op,), ("x",), ("y",))
        graph.validate()
        samples = [x, one_hot]
        found.append(Case(graph, samples, [by_torch(op, each * 0.01, None, None) for each in samples]))
    assert all(beyond(one) <= 0.01 for one in found)
    feeds = [[[x] for x in one.samples] for one in found]
    expected = [[evaluate(one.graph, row) for row in rows] for one, rows in zip(found, feeds, strict=True)]
    compare_code([one.graph for one in found], feeds, expected, ["large normalization"] * 2, on_board=False)


def test_roots() -> None:
    """24 bits, for every size of number; that of 0 is that of 1."""
    rng = np.random.default_rng(1)
    x = np.concatenate([2.0 ** rng.uniform(0, 62, 100_000), 2.0 ** np.arange(62), 2.0 ** np.arange(1, 50) - 1])
    x = x.astype(np.int64)
    root, exponent = inverse_root(x)
    assert np.all((root > 0) & (root < 2**31))
    assert np.abs(root * 2.0 ** (-46 - exponent) * np.sqrt(x.astype(np.float64)) - 1).max() < 2.0**-24
    assert [int(each) for each in inverse_root(np.array(0))] == [int(each) for each in inverse_root(np.array(1))]


def test_files() -> None:
    for one in cases("normalization in files", 8):
        assert write_tg(read_tg(write_tg(one.graph))) == write_tg(one.graph)


def test_constant_groups_become_the_offset() -> None:
    """Nothing varies and epsilon is 0: no division by zero, in no type."""
    one = next(
        each for each in cases("normalization", 40) if each.op.centred and each.graph.tensors["x"].dtype == np.int8
    )
    op = replace(one.op, epsilon=0.0, inputs=("x",))
    for encoding in (one.graph.tensors["x"].encoding, Float32()):
        tensors = {name: replace(one.graph.tensors[name], encoding=encoding) for name in ("x", "y")}
        graph = Graph("flat", tensors, (op,), ("x",), ("y",))
        x = np.full(tensors["x"].shape, 7, encoding.dtype)
        wanted = encoding.zero_point[0] if isinstance(encoding, Affine) else 0
        assert np.all(evaluate(graph, [x])[0] == wanted)
        compare_code([graph], [[[x]]], [[evaluate(graph, [x])]], ["flat"], on_board=False)


BAD = {
    "axes": ({"axes": (3, 1)}, "axes"),
    "beyond": ({"axes": (4,)}, "axes"),
    "groups": ({"axes": (1, 2, 3), "groups": 5}, "5 groups"),
    "groups of rows": ({"axes": (1, 2), "groups": 2}, "2 groups"),
    "epsilon": ({"epsilon": -1.0}, "epsilon"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_attributes(name: str) -> None:
    changes, message = BAD[name]
    graph = cases("normalization", 1)[0].graph
    bad = replace(graph, ops=(replace(graph.ops[0], **{"axes": (3,), "groups": 1, **changes}),))
    with pytest.raises(UnsupportedError, match=message):
        bad.validate()


def test_bad_tensors() -> None:
    graph = next(one.graph for one in cases("normalization", 40) if len(one.graph.ops[0].inputs) > 2)
    gain = graph.tensors["gain"]
    run_time = replace(graph, tensors={**graph.tensors, "gain": replace(gain, data=None)}, inputs=("x", "gain"))
    with pytest.raises(UnsupportedError, match="constant"):
        run_time.validate()
    for tensor, message in (
        (replace(gain, shape=(5,), data=np.ones(5, np.float32)), "fit together|broadcast"),
        (replace(graph.tensors["y"], encoding=Affine("int8", (1e-9,), (0,))), "too far apart"),
        (replace(graph.tensors["x"], encoding=Affine("int8", (1e-20,), (0,))), "too large"),
    ):
        bad = replace(graph, tensors={**graph.tensors, tensor.name: tensor})
        with pytest.raises((UnsupportedError, ModelError), match=message):
            bad.validate()


def test_rows_of_a_stripe() -> None:
    """Where no group reaches across rows, and gain and offset do not."""
    cut = 0
    for one in cases("normalization", 60):
        graph, (x, *_) = one.graph, one.samples
        height = x.shape[1]
        part = one.op.stripe(graph.node(one.op), height // 2, height)
        assert (part is None) == (1 in one.op.axes)
        if part is not None:
            tensors = {
                name: tensor
                if tensor.is_constant
                else replace(tensor, shape=(1, height - height // 2, *tensor.shape[2:]))
                for name, tensor in graph.tensors.items()
            }
            stripe = replace(graph, tensors=tensors, ops=(part.op,))
            got, want = evaluate(stripe, [x[:, height // 2 :]])[0], evaluate(graph, [x])[0]
            np.testing.assert_array_equal(got, want[:, height // 2 :])
            cut += 1
    assert cut > 5


def test_streamed_frames() -> None:
    """Frame by frame, or on whole windows."""
    for axes in ((3,), (2, 3), (1, 2, 3), (1, 2)):
        net = WindowNetwork(np.random.default_rng(1), (1, 8, 2, 4), Affine("int8", (0.05,), (3,)))
        net.conv(4, (2, 1))
        gain = net.constant(np.array([1.0, 0.5, -1.0, 2.0], np.float32), Float32())
        net.add(Normalization, [net.x, gain], net.int8(), axes=axes, epsilon=1e-5)
        net.dense(3)
        graph = net.graph()
        streamed = to_streaming(graph, hop=1).first
        frames = next(streamed.tensors[op.inputs[0]].shape[1] for op in streamed.ops if op.KIND == "normalization")
        assert frames == (7 if 1 in axes else 1)
        assert_streams(graph, 1)
