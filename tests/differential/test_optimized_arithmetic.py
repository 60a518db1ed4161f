"""`Arithmetic.OPTIMIZED`: convolutions and dense layers against LiteRT's optimised built-in kernels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.support.board_batch import M7
from tests.support.host_batch import run_on_host
from tests.support.litert import outputs_of
from tests.support.shares import shares
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, build_chain, options
from tests.support.variants import DSP, check_variants
from tinygen.errors import TinygenError
from tinygen.frontends.tflite import read_tflite
from tinygen.frontends.tg import read_tg, write_tg
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Rounding
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.network import Network
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.mac_layer import MacLayer
from tinygen.lowering.kernels.support.epilogues import requantize
from tinygen.lowering.lower import lower
from tinygen.passes.litert_arithmetic import optimized_arithmetic
from tinygen.passes.pipeline import simplify

_MODELS = 36
_SAMPLES = 16
_ACTIVATIONS = (ActivationFunctionType.NONE, ActivationFunctionType.RELU, ActivationFunctionType.RELU6)


def _scales(rng: np.random.Generator, channels: int) -> list[float]:
    """Of weights; powers of two make ties likely. One for all channels, or one for each."""
    base = 2.0 ** rng.integers(-9, -4) if rng.random() < 0.7 else rng.uniform(1e-3, 0.3)
    count = channels if rng.random() < 0.7 else 1
    factors = 2.0 ** rng.integers(-2, 3, count) if rng.random() < 0.6 else rng.uniform(0.3, 2, count)
    return np.float32(base * factors).tolist()  # type: ignore[no-any-return]


def _operands(rng: np.random.Generator, weights: np.ndarray, axis: int) -> list[TensorSpec]:
    channels = weights.shape[axis]
    scales = _scales(rng, channels)
    zeros = [0] * len(scales)
    bias = rng.integers(-500, 500, channels).astype(np.int32)
    return [
        TensorSpec(weights.shape, "int8", scales, zeros, axis, weights),
        TensorSpec((channels,), "int32", scales, zeros, 0, bias),
    ]


def _depthwise(rng: np.random.Generator) -> ModelSpec:
    """1 to 40 channels, windows of any size and 3x3, all strides, dilations and multipliers."""
    multiplier = int(rng.choice([1, 1, 1, 2, 3]))
    channels = int(rng.integers(1, 40 // multiplier + 1))
    kernel = (3, 3) if rng.random() < 0.4 else (int(rng.integers(1, 6)), int(rng.integers(1, 4)))
    stride = int(rng.choice([1, 1, 2]))
    dilation = int(rng.choice([1, 1, 2])) if stride == 1 else 1
    span = [(k - 1) * dilation + 1 for k in kernel]
    height, width = (int(k + rng.integers(0, 5)) for k in span)
    same = bool(rng.random() < 0.5)
    rows, columns = (
        -(-n // stride) if same else (n - k) // stride + 1 for n, k in zip((height, width), span, strict=True)
    )
    outputs = channels * multiplier
    weights = rng.integers(-20, 21, (1, *kernel, outputs)).astype(np.int8)
    x = TensorSpec((1, height, width, channels), "int8", 1.0, int(rng.integers(-128, 128)))
    y = TensorSpec((1, rows, columns, outputs), "int8", float(2.0 ** rng.integers(-2, 4)), int(rng.integers(-20, 21)))
    chosen = options(
        "DepthwiseConv2DOptions",
        padding=Padding.SAME if same else Padding.VALID,
        strideH=stride,
        strideW=stride,
        dilationHFactor=dilation,
        dilationWFactor=dilation,
        depthMultiplier=multiplier,
        fusedActivationFunction=int(rng.choice(_ACTIVATIONS)),
    )
    return ModelSpec(BuiltinOperator.DEPTHWISE_CONV_2D, [x, *_operands(rng, weights, 3)], [y], **chosen)


def _convolution(rng: np.random.Generator) -> ModelSpec:
    """Up to 24 channels in one group or two, up to 40 filters."""
    groups = int(rng.choice([1, 1, 1, 2]))
    depth, filters = int(rng.integers(1, 13)), int(rng.integers(1, 21)) * groups
    kernel = (1, 1) if rng.random() < 0.4 else (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    stride = int(rng.choice([1, 1, 2]))
    height, width = (int(k + rng.integers(0, 4)) for k in kernel)
    rows, columns = ((n - k) // stride + 1 for n, k in zip((height, width), kernel, strict=True))
    weights = rng.integers(-8, 9, (filters, *kernel, depth)).astype(np.int8)
    x = TensorSpec((1, height, width, depth * groups), "int8", 1.0, int(rng.integers(-128, 128)))
    y = TensorSpec((1, rows, columns, filters), "int8", float(2.0 ** rng.integers(-1, 4)), int(rng.integers(-20, 21)))
    chosen = options(
        "Conv2DOptions",
        padding=Padding.VALID,
        strideH=stride,
        strideW=stride,
        fusedActivationFunction=int(rng.choice(_ACTIVATIONS, p=(0.8, 0.1, 0.1))),
    )
    return ModelSpec(BuiltinOperator.CONV_2D, [x, *_operands(rng, weights, 0)], [y], **chosen)


def _dense(rng: np.random.Generator) -> ModelSpec:
    """1 to 40 outputs of 1 to 70 inputs, one row or several."""
    rows, depth, outputs = int(rng.choice([1, 1, 2, 5])), int(rng.integers(1, 71)), int(rng.integers(1, 41))
    weights = rng.integers(-20, 21, (outputs, depth)).astype(np.int8)
    x = TensorSpec((rows, depth), "int8", 1.0, int(rng.integers(-128, 128)))
    y = TensorSpec((rows, outputs), "int8", float(2.0 ** rng.integers(-1, 5)), int(rng.integers(-20, 21)))
    chosen = options("FullyConnectedOptions", fusedActivationFunction=int(rng.choice(_ACTIVATIONS)))
    return ModelSpec(BuiltinOperator.FULLY_CONNECTED, [x, *_operands(rng, weights, 0)], [y], **chosen)


def _optimized(model: bytes, name: str) -> Graph:
    return optimized_arithmetic(Network.of(read_tflite(model, name))).first


@shares
@pytest.mark.parametrize("make", [_depthwise, _convolution, _dense])
def test_against_the_optimised_kernels(
    make: Callable[[np.random.Generator], ModelSpec], every: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    specs = [make(rng) for _ in range(_MODELS)][::every]
    models = [build(spec) for spec in specs]
    feeds = [[[_codes(rng, spec)] for _ in range(_SAMPLES)] for spec in specs]
    graphs = [_optimized(model, f"m{i}") for i, model in enumerate(models)]
    ties = 0
    for model, graph, rows in zip(models, graphs, feeds, strict=True):
        wanted = outputs_of(model, rows, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        plain = read_tflite(model, "plain")
        for sample, want in zip(rows, wanted, strict=True):
            np.testing.assert_array_equal(evaluate(graph, sample)[0], want[0])
            ties += int((evaluate(plain, sample)[0] != want[0]).sum())
    assert ties > 5  # else nothing was tried
    simple = [simplify(graph) for graph in graphs]
    _check_reference_kernels(simple, feeds, tmp_path)
    check_variants(simple, feeds, cores=[(M7, (*DSP, "dual-issue"))], most=2)


def test_two_roundings_where_no_staircase_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depthwise layers, of which some channels round halves upwards and the others away from zero; one of each kind."""
    monkeypatch.setattr(requantize, "_fused", lambda layer: None)
    monkeypatch.setattr(requantize, "_known", OrderedDict())
    rng = np.random.default_rng(23)
    specs = [make(rng) for make in (*[_depthwise] * 4, _convolution, _dense)]
    graphs = [simplify(_optimized(build(spec), f"t{i}")) for i, spec in enumerate(specs)]
    endings = [requantize.epilogue(next(iter(graph.nodes())), axis=3) for graph in graphs[:4]]
    assert any(ending and ending.context["form"] == "mixed" and ending.context["away"] is None for ending in endings)
    feeds = [[[_codes(rng, spec)] for _ in range(_SAMPLES)] for spec in specs]
    check_variants(graphs, feeds, cores=[(M7, (*DSP, "dual-issue"))], most=1)


def _codes(rng: np.random.Generator, spec: ModelSpec) -> np.ndarray:
    x = spec.inputs[0]
    assert x is not None
    return rng.integers(-128, 128, tuple(x.shape)).astype(np.int8)


def _check_reference_kernels(
    graphs: Sequence[Graph], feeds: Sequence[Sequence[Sequence[np.ndarray]]], folder: Path
) -> None:
    programs = [lower(graph, family="reference", isa=("c99",)) for graph in graphs]
    for graph, rows, results in zip(graphs, feeds, run_on_host(programs, feeds, folder), strict=True):
        for sample, got in zip(rows, results, strict=True):
            np.testing.assert_array_equal(got[0], evaluate(graph, sample)[0])


def _example(make: Callable[[np.random.Generator], ModelSpec], seed: int = 3) -> Graph:
    return _optimized(build(make(np.random.default_rng(seed))), "m")


def test_files_hold_it() -> None:
    for make in (_depthwise, _convolution, _dense):
        seed = next(seed for seed in range(20) if _is_upward(_example(make, seed)))
        graph = _example(make, seed)
        assert read_tg(write_tg(graph)).ops == graph.ops
        plain = read_tflite(build(make(np.random.default_rng(seed))), "m")
        assert graph.ops != plain.ops
        assert read_tg(write_tg(plain)).ops == plain.ops


def test_refusals() -> None:
    depthwise, dense = _example(_depthwise), _example(_dense)
    for graph, changes in (
        (depthwise, {"upward_channels": 41}),
        (depthwise, {"upward_channels": -1}),
        (dense, {"rounding": Rounding.TWICE}),
        (_example(_convolution), {"rounding": Rounding.REAL}),
    ):
        with pytest.raises(TinygenError, match="rounded"):
            replace(graph, ops=(replace(graph.ops[0], epilogue=replace(Tflite(), **changes)),)).validate()


def test_the_library_s_kernels_do_not_take_such_layers() -> None:
    for make, kind in ((_depthwise, DepthwiseConv2D), (_convolution, Conv2D), (_dense, FullyConnected)):
        graph = next(g for g in (_example(make, seed) for seed in range(20)) if _is_upward(g))
        assert isinstance(graph.ops[0], kind)
        step = lower(graph, family="cmsis-nn", isa=("c99", "dsp")).steps[0]
        assert not step.kernel.name.startswith("cmsis_nn")


def _is_upward(graph: Graph) -> bool:
    op = graph.ops[0]
    assert isinstance(op, MacLayer)
    return not op.rounds_as_litert_does


def test_channels_that_go_take_their_rounding_along() -> None:
    """Of twelve channels the first eight round upwards; four go that a dense layer does not read, two of them of the
    eight."""
    rng = np.random.default_rng(8)
    source, x = (TensorSpec((1, 3, 3, 12), "int8", 1.0, zero) for zero in (3, -5))
    codes = rng.integers(-20, 21, (12, 1, 1, 12)).astype(np.int8)
    no_bias = TensorSpec((12,), "int32", 2.0**-5, 0, 0, np.zeros(12, np.int32))
    before = ModelSpec(
        BuiltinOperator.CONV_2D,
        [source, TensorSpec(codes.shape, "int8", 2.0**-5, 0, 0, codes), no_bias],
        [x],
        **options("Conv2DOptions", padding=Padding.VALID, strideH=1, strideW=1),
    )
    filters = rng.integers(-20, 21, (1, 3, 3, 12)).astype(np.int8)
    scales = [2.0**-5] * 12
    weights = TensorSpec(filters.shape, "int8", scales, [0] * 12, 3, filters)
    middle = TensorSpec((1, 1, 1, 12), "int8", 1.0, 0)
    first = ModelSpec(
        BuiltinOperator.DEPTHWISE_CONV_2D,
        [x, weights, no_bias],
        [middle],
        **options("DepthwiseConv2DOptions", padding=Padding.VALID, strideH=1, strideW=1, depthMultiplier=1),
    )
    codes = rng.integers(-20, 21, (5, 12)).astype(np.int8)
    codes[:, [1, 6, 8, 11]] = 0
    dense = TensorSpec(codes.shape, "int8", 2.0**-5, 0, 0, codes)
    second = ModelSpec(
        BuiltinOperator.FULLY_CONNECTED,
        [middle, dense, None],
        [TensorSpec((1, 5), "int8", 1.0, 0)],
        **options("FullyConnectedOptions"),
    )
    model = build_chain([before, first, second])
    graph = _optimized(model, "m")
    simple = simplify(graph)
    found = [op.epilogue for op in simple.ops if isinstance(op, DepthwiseConv2D)]
    assert found == [Tflite(upward_channels=6)]
    samples = [[rng.integers(-128, 128, (1, 3, 3, 12)).astype(np.int8)] for _ in range(200)]
    wanted = outputs_of(model, samples, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    for sample, want in zip(samples, wanted, strict=True):
        np.testing.assert_array_equal(evaluate(simple, sample)[0], want[0])
