"""uint8 models against LiteRT's reference kernels: those of int8, moved by 128, weights with zero points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.differential import (
    test_binary,
    test_comparisons,
    test_conv_2d,
    test_fully_connected,
    test_movement,
    test_pool_2d,
    test_reduce,
    test_tuned,
    test_unary,
)
from tests.frontends import test_static
from tests.support.cases import Case, Draw, differential, scale_of
from tests.support.differential import Board, compare_models
from tests.support.shares import one_in
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, build_chain, options
from tests.support.variants import Feeds, check_variants
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.mac import real_multipliers
from tinygen.ir.ops.quantize import Quantize
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.bare_cores import bare_cores

OP = BuiltinOperator
WEIGHTS = {OP.CONV_2D: 1, OP.DEPTHWISE_CONV_2D: 1, OP.FULLY_CONNECTED: 1, OP.TRANSPOSE_CONV: 1}
LACKS = ("ABS", "BATCH_MATMUL", "REDUCE_PROD", "QUANTIZE", "int4", "each way")
"""Cases that LiteRT has no uint8 kernel for, or that are none of int8."""


def unsigned(spec: ModelSpec, draw: Draw) -> ModelSpec:
    """The model with uint8 in place of int8."""
    weights = WEIGHTS.get(spec.opcode)
    moved: dict[int, TensorSpec | None] = {id(None): None}
    for index, tensor in enumerate((*spec.inputs, *spec.outputs)):
        if tensor is not None:
            moved.setdefault(id(tensor), _weights(tensor, draw) if index == weights else _unsigned(tensor))
    inputs, outputs = ([moved[id(tensor)] for tensor in side] for side in (spec.inputs, spec.outputs))
    bias = 3 if spec.opcode == OP.TRANSPOSE_CONV else 2
    if weights is not None and len(inputs) > bias and inputs[bias] is not None:
        x = inputs[2 if spec.opcode == OP.TRANSPOSE_CONV else 0]
        product = float(np.float32(x.scale) * np.float32(inputs[weights].scale))
        inputs[bias] = replace(inputs[bias], scale=product)
    label = spec.label.replace("int8", "uint8")
    return replace(spec, inputs=inputs, outputs=[y for y in outputs if y is not None], label=label, version=0)


def _unsigned(tensor: TensorSpec) -> TensorSpec:
    if tensor.dtype != "int8":
        return tensor
    data = None if tensor.data is None else (tensor.data.astype(np.int16) + 128).astype(np.uint8)
    return replace(tensor, dtype="uint8", zero_point=int(np.asarray(tensor.zero_point).flat[0]) + 128, data=data)


def _weights(tensor: TensorSpec, draw: Draw) -> TensorSpec:
    """Of one scale. Their zero point may be the middle, or anywhere."""
    found = replace(_unsigned(tensor), scale=float(np.asarray(tensor.scale, np.float32).flat[0]))
    return replace(found, zero_point=draw.choice([128, 127, 129, draw.integer(0, 255), 0, 255]))


def _cases(*modules: object) -> dict[str, tuple[Case, int]]:
    found: dict[str, tuple[Case, int]] = {}
    for module in modules:
        cases: Mapping[str, tuple[Case, int]] = module.CASES  # type: ignore[attr-defined]
        for name, (case, count) in cases.items():
            if "int8" in name and not any(word in name for word in LACKS):
                found[name.replace("int8", "uint8")] = partial(_drawn, case), count // 2
    return found


def _drawn(case: Case, draw: Draw) -> ModelSpec:
    return unsigned(case(draw), draw)


def concatenation(draw: Draw) -> ModelSpec:
    """Parts whose scales and zero points differ."""
    rank = draw.integer(1, 4)
    axis, shape = draw.integer(0, rank - 1), [draw.integer(1, 5) for _ in range(rank)]
    scale, zero = scale_of(draw.rng, "uint8"), draw.zero_point("uint8")
    assert scale is not None
    parts = []
    for _ in range(draw.integer(1, 4)):
        shape[axis] = draw.integer(1, 5)
        same = draw.yes(0.3)
        own = scale if same else float(np.float32(scale * draw.rng.uniform(0.3, 3)))
        parts.append(TensorSpec(tuple(shape), "uint8", own, zero if same else draw.zero_point("uint8")))
    shape[axis] = sum(part.shape[axis] for part in parts)
    chosen = options("ConcatenationOptions", axis=axis)
    whole = TensorSpec(tuple(shape), "uint8", scale, zero)
    return ModelSpec(OP.CONCATENATION, parts, [whole], **chosen, label="CONCATENATION uint8 scaled")


CASES: dict[str, tuple[Case, int]] = {
    **_cases(
        test_binary,
        test_comparisons,
        test_conv_2d,
        test_fully_connected,
        test_movement,
        test_pool_2d,
        test_reduce,
        test_unary,
    ),
    "CONCATENATION scaled": (concatenation, 60),
}
test_models, test_many, test_on_the_core = differential(CASES)


ZEROS = (-1, 1, 127, -128, 40)
"""Zero points of weights: these are then of 9 bits."""
ESP32C3, M0PLUS = (bare_cores()[name] for name in ("esp32c3-core", "cortex-m0plus"))


def with_zero(graph: Graph, zero: int) -> Graph:
    """The layer with a zero point of its weights."""
    weights = graph.tensors[graph.ops[0].inputs[1]]
    moved = replace(weights, encoding=replace(weights.affine, zero_point=(zero,)))
    return replace(graph, tensors={**graph.tensors, weights.name: moved})


def wide_layers(every: int) -> list[tuple[Graph, Feeds]]:
    """Layers whose weights have one scale, and reach below and above a byte."""
    layers = [*test_tuned.CONVOLUTIONS, *test_tuned.ONE_PIXEL, *test_tuned.DEPTHWISE, *test_tuned.DENSE]
    single = [layer for layer in layers if not layer[0].tensors[layer[0].ops[0].inputs[1]].affine.per_channel]
    return [
        (replace(with_zero(graph, ZEROS[number % len(ZEROS)]), name=f"m{number}"), feeds)
        for number, (graph, feeds) in enumerate(single[::every])
    ]


@one_in(5)
def test_every_kernel_takes_weights_of_9_bits(every: int) -> None:
    graphs, feeds = zip(*wide_layers(every), strict=True)
    assert check_variants(graphs, feeds, most=4, in_turn=True) >= len(graphs)


@one_in(5)
def test_every_kernel_without_simd_takes_weights_of_9_bits(every: int) -> None:
    graphs, feeds = zip(*wide_layers(every), strict=True)
    how: dict[str, Any] = {"most": 4, "in_turn": True}
    cores = [(core, core.isa) for core in (ESP32C3, M0PLUS)]
    assert check_variants(graphs, feeds, isa=("c99", "scalar"), cores=cores, **how) >= len(graphs)
    only = [(M0PLUS, M0PLUS.isa)]
    assert check_variants(graphs, feeds, isa=M0PLUS.isa, part="offset", cores=only, **how) >= len(graphs)


def test_large_layers_keep_a_byte_per_weight() -> None:
    layers = [test_tuned.window((6, 6), 32, 32, (3, 3)), test_tuned.dense(200, 32)]
    for isa in (("c99", "dsp"), ESP32C3.isa, M0PLUS.isa):
        for graph, _ in layers:
            program = lower(simplify(with_zero(graph, -20)), isa=isa)
            weights = program.steps[0].plan.constants[0].data
            assert weights.nbytes <= 1.05 * graph.tensors[graph.ops[0].inputs[1]].size, program.steps[0].kernel.name


def test_codes_are_turned_in_place() -> None:
    """What is computed with is int8 between the model's ends, where turning takes no memory."""
    pool = ModelSpec(
        OP.MAX_POOL_2D,
        [TensorSpec((1, 8, 8, 4), "uint8", 0.5, 3, name="x")],
        [TensorSpec((1, 4, 4, 4), "uint8", 0.5, 3, name="y")],
        **options("Pool2DOptions", filterHeight=2, filterWidth=2, strideH=2, strideW=2),
    )
    graph = read_tflite(build(pool))
    program = lower(simplify(graph), isa=("c99", "dsp"))
    assert [step.kernel.name for step in program.steps] == ["flip_dsp", "max_pool_2d_dsp", "flip_dsp"]
    assert program.memory.arena_bytes <= 8 * 8 * 4 + 4 * 4 * 4
    assert [graph.tensors[name].dtype.name for name in (*graph.inputs, *graph.outputs)] == ["uint8", "uint8"]


def test_what_is_only_moved_stays_unsigned() -> None:
    x, middle, y = (TensorSpec((1, 4), "uint8", 0.5, 3, name=name) for name in ("x", "middle", "y"))
    shape = TensorSpec((2,), "int32", data=np.array([1, 4], np.int32))
    chain = [ModelSpec(OP.RESHAPE, [x, shape], [middle]), ModelSpec(OP.QUANTIZE, [middle], [y])]
    graph = read_tflite(build_chain(chain))
    assert {graph.tensors[name].dtype.name for op in graph.ops for name in (*op.inputs, *op.outputs)} == {"uint8"}


def test_weights_lose_their_zero_point_where_bytes_hold_them() -> None:
    codes = np.array([[3, 250]], np.uint8)
    x, y = TensorSpec((1, 2), "uint8", 0.5, 3), TensorSpec((1, 1), "uint8", 0.5, 3)
    for zero, wanted in ((128, [[-125, 122]]), (130, [[-127, 120]]), (122, [[-125, 122]])):
        weights = TensorSpec((1, 2), "uint8", 0.5, zero, data=codes)
        graph = read_tflite(build(ModelSpec(OP.FULLY_CONNECTED, [x, weights], [y], **options("FullyConnectedOptions"))))
        (dense,) = (op for op in graph.ops if not isinstance(op, Quantize))
        found = graph.tensors[dense.inputs[1]]
        assert found.data is not None and found.data.tolist() == wanted
        assert found.affine.zero_point == (0 if zero >= 128 else zero - 128,)


def test_scales_are_multiplied_in_single_precision() -> None:
    """As LiteRT multiplies those of input and weights; the quotient is in double precision again."""
    x, w, y = (float(np.float32(value)) for value in (0.1, 0.003, 0.07))
    image, weights = TensorSpec((1, 1, 1, 1), "uint8", x, 3), np.array([[[[200]]]], np.uint8)
    inputs = [image, TensorSpec((1, 1, 1, 1), "uint8", w, 3, data=weights), TensorSpec((1,), "int32", data=np.ones(1))]
    chosen = options("Conv2DOptions", strideH=1, strideW=1)
    graph = read_tflite(build(ModelSpec(OP.CONV_2D, inputs, [TensorSpec((1, 1, 1, 1), "uint8", y, 3)], **chosen)))
    (node,) = (node for node in graph.nodes() if isinstance(node.op, Conv2D))
    product = float(np.float32(x) * np.float32(w))
    assert quantize_multiplier(x * w / y) != quantize_multiplier(product / y)
    assert quantize_multiplier(real_multipliers(node)[0]) == quantize_multiplier(product / y)


def test_constants_are_folded_and_shapes_settled() -> None:
    """Weights that operators make of constants, and a shape that only RESHAPE's operands give."""
    rng = np.random.default_rng(4)
    stored = TensorSpec((12, 5), "uint8", 0.02, 120, data=rng.integers(0, 256, (12, 5)).astype(np.uint8))
    order = TensorSpec((2,), "int32", data=np.array([1, 0], np.int32))
    weights, most = TensorSpec((5, 12), "uint8", 0.02, 120), TensorSpec((5, 12), "uint8", 0.02, 120)
    least = TensorSpec((1,), "uint8", 0.02, 120, data=np.array([30], np.uint8))
    x, y = TensorSpec((1, 2, 6), "uint8", 0.5, 3, name="x"), TensorSpec((1, 5), "uint8", 1.0, 128, name="y")
    flat = TensorSpec((1, 12), "uint8", 0.5, 3, name="flat")
    model = build_chain(
        [
            ModelSpec(OP.TRANSPOSE, [stored, order], [weights], **options("TransposeOptions")),
            ModelSpec(OP.MAXIMUM, [weights, least], [most], **options("MaximumMinimumOptions")),
            *test_static.keras_reshape(x, flat),
            ModelSpec(OP.FULLY_CONNECTED, [flat, most], [y], **options("FullyConnectedOptions")),
        ]
    )
    feeds = [[rng.integers(0, 256, (1, 2, 6)).astype(np.uint8)] for _ in range(3)]
    for content in (model, test_static.opened(model, "flat")):
        graph = read_tflite(content)
        assert [op.KIND for op in graph.ops] == ["quantize", "reshape", "fully_connected", "quantize"]
        compare_models([content], [feeds], ["FULLY_CONNECTED uint8 folded"], board=Board.NONE)
