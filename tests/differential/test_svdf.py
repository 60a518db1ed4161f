"""SVDF against LiteRT's reference kernel and TensorFlow Lite Micro's, invocation after invocation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator

from tests.support.cases import Draw, draws
from tests.support.differential import assert_same, compare_code, count_models, random_codes
from tests.support.host_batch import run_on_host
from tests.support.litert import reference_outputs
from tests.support.shares import one_in
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tests.support.tflm import needs_tflm, tflm_outputs
from tests.support.variants import check_variants
from tinygen.builds.oracle import LiteRt
from tinygen.builds.oracle_names import Oracle
from tinygen.builds.sound_oracles import sound_oracles
from tinygen.errors import UnsupportedError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream, evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.bare_cores import bare_cores

DSP = ("c99", "dsp", "dual-issue")
SCALAR = {"esp32c3-core": ("c99", "scalar", "rv32"), "cortex-m0plus": ("c99", "scalar", "armv6m")}


def svdf(draw: Draw, kept: str) -> ModelSpec:
    """
    Args:
        kept: type of the state and of the weights of time: "float32" for all.
    """
    rng = draw.rng
    rank, units, memory, depth = draw.integer(1, 3), draw.integer(1, 12), draw.integer(2, 11), draw.integer(1, 40)
    filters, float_ = rank * units, kept == "float32"
    dtype = "float32" if float_ else "int8"

    def scale(low: float, high: float) -> float | None:
        return None if float_ else float(10 ** rng.uniform(low, high))

    def constant(shape: tuple[int, ...], kind: str, most: int, of: float | None) -> TensorSpec:
        values = rng.normal(size=shape)
        if float_:
            return TensorSpec(shape, kind, data=values.astype(np.float32))
        return TensorSpec(shape, kind, of, data=np.clip(np.round(values * most / 2), -most, most).astype(kind))

    x_scale, feature_scale, time_scale = scale(-2, 0), scale(-3, -2), scale(-3, -2)
    # Sums within the state, and far beyond it.
    state_scale = None
    if x_scale and feature_scale:
        state_scale = float(
            x_scale * feature_scale * 4000 / np.iinfo(kept).max * 10 ** rng.uniform(-0.7, 1) * depth**0.5
        )
    spread = None if state_scale is None or time_scale is None else state_scale * time_scale * np.iinfo(kept).max ** 2
    y_scale = None if spread is None else float(spread / 127 * 10 ** rng.uniform(-1.5, 0.5))
    activations = [ActivationFunctionType.NONE, ActivationFunctionType.RELU, ActivationFunctionType.RELU6]
    activation = draw.choice(activations) if float_ else ActivationFunctionType.RELU
    bias_scale = None if state_scale is None or time_scale is None else state_scale * time_scale
    bias = constant((units,), "float32" if float_ else "int32", 2 * np.iinfo("int16").max, bias_scale)
    state = TensorSpec((1, filters * memory), kept, state_scale, draw.integer(-40, 40) if kept == "int8" else 0)
    return ModelSpec(
        BuiltinOperator.SVDF,
        [
            TensorSpec((1, depth), dtype, x_scale, draw.zero_point(dtype)),
            constant((filters, depth), dtype, 127, feature_scale),
            constant((filters, memory), kept, 0 if float_ else int(np.iinfo(kept).max), time_scale),
            bias if draw.yes() else None,
            replace(state, variable=True),
        ],
        [TensorSpec((1, units), dtype, y_scale, draw.zero_point(dtype))],
        **options("SVDFOptions", rank=rank, fusedActivationFunction=activation),
        label=f"SVDF {kept}",
        version={"float32": 1, "int16": 3, "int8": 4}[kept],
    )


def drawn(kept: str, count: int) -> list[tuple[ModelSpec, Graph]]:
    specs = [svdf(draw, kept) for draw in draws(f"svdf {kept}", count)]
    return [(spec, simplify(read_tflite(build(spec), name=f"m{index}"))) for index, spec in enumerate(specs)]


def feeds(spec: ModelSpec, seed: int, count: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [[random_codes(spec.runtime_inputs[0], rng)] for _ in range(count)]


@pytest.mark.parametrize("kept", ["int16", "float32"])
@one_in(4)
def test_invocations_as_litert(every: int, kept: str) -> None:
    found, differing = drawn(kept, 60)[::every], 0
    for index, (spec, graph) in enumerate(found):
        inputs, stream = feeds(spec, index, 14), Stream(graph)
        for sample, want in zip(inputs, reference_outputs(build(spec), inputs), strict=True):
            got = stream.step(sample)
            assert_same(want, got, graph, spec.label)
            differing += len(np.unique(got[0])) > 1
    assert differing > 3 * len(found)
    count_models([graph for _, graph in found], [spec.label for spec, _ in found])


@needs_tflm
@pytest.mark.parametrize("kept", ["int8", "int16"])
@one_in(10)
def test_invocations_as_tensorflow_lite_micro(every: int, kept: str, tmp_path: Path) -> None:
    """LiteRT has no kernel for a state of 8 bits; TensorFlow Lite Micro crashes where there is no bias."""
    biased = [(spec, graph) for spec, graph in drawn(kept, 60) if spec.inputs[3] is not None]
    for index, (spec, graph) in enumerate(biased[:: max(every // 2, 1)]):
        inputs, stream = feeds(spec, index, 14), Stream(graph)
        for sample, want in zip(inputs, tflm_outputs(build(spec), inputs, tmp_path), strict=True):
            assert_same([want], stream.step(sample), graph, spec.label)


@pytest.mark.parametrize("kept", ["int16", "int8", "float32"])
@one_in(4)
def test_c(every: int, kept: str) -> None:
    found = drawn(kept, 60)[::every]
    inputs = [feeds(spec, index, 2) for index, (spec, _) in enumerate(found)]
    graphs = [graph for _, graph in found]
    expected = [[evaluate(graph, sample) for sample in feed] for graph, feed in zip(graphs, inputs, strict=True)]
    compare_code(graphs, inputs, expected, [spec.label for spec, _ in found], on_board=True)


def test_states_are_kept_in_c(tmp_path: Path) -> None:
    found = [*drawn("int16", 60)[::10], *drawn("int8", 60)[::20]]
    inputs = [feeds(spec, index, 14) for index, (spec, _) in enumerate(found)]
    graphs = [replace(graph, name=f"g{index}") for index, (_, graph) in enumerate(found)]
    programs = [lower(graph, isa=DSP) for graph in graphs]
    assert {step.kernel.name for program in programs for step in program.steps} == {"svdf_s8", "svdf_s8_dsp"}
    for graph, feed, rows in zip(graphs, inputs, run_on_host(programs, inputs, tmp_path, keep=True), strict=True):
        stream = Stream(graph)
        for sample, got in zip(feed, rows, strict=True):
            assert_same(stream.step(sample), got, graph, "C")


@pytest.mark.parametrize("core", SCALAR)
def test_cores_without_simd(core: str) -> None:
    found = [*drawn("int16", 60)[1::20], *drawn("int8", 60)[1::20]]
    check_variants(
        [replace(graph, name=f"g{index}") for index, (_, graph) in enumerate(found)],
        [feeds(spec, index, 2) for index, (spec, _) in enumerate(found)],
        isa=SCALAR[core],
        cores=((bare_cores()[core], SCALAR[core]),),
        host=False,
    )


def test_litert_is_not_asked_where_it_crashes(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(build(svdf(next(iter(draws("crash", 1))), "int8")))
    graph = read_tflite((tmp_path / "model.tflite").read_bytes())
    oracles, notes = sound_oracles(partial(LiteRt, tmp_path / "model.tflite"), graph, [Oracle.REF])
    assert not oracles and "a state of 8 bits (svdf_0)" in notes[0]


def test_what_is_not_supported_is_said() -> None:
    spec = svdf(next(iter(draws("refused", 1))), "int16")
    spec.options.fusedActivationFunction = ActivationFunctionType.NONE
    with pytest.raises(UnsupportedError, match="must have the activation RELU") as error:
        read_tflite(build(spec))
    assert "svdf_0" in error.value.where
    spec = svdf(next(iter(draws("refused", 1))), "float32")
    state = spec.inputs[4]
    assert state is not None
    with pytest.raises(UnsupportedError, match="is no variable tensor"):
        read_tflite(build(replace(spec, inputs=[*spec.inputs[:4], replace(state, variable=False)])))
