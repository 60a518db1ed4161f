"""LSTM against LiteRT's reference kernel, invocation after invocation, and the functions of its gates in C."""

from __future__ import annotations

import subprocess
from dataclasses import replace
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
from tests.support.variants import check_variants
from tinygen.errors import UnsupportedError
from tinygen.frontends.tflite import read_tflite
from tinygen.frontends.tg.reader import load_tg
from tinygen.frontends.tg.writer import save_tg
from tinygen.ir import gemmlowp_16
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream, evaluate
from tinygen.ir.ops.lstm import Lstm
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.bare_cores import bare_cores

DSP = ("c99", "dsp", "dual-issue")
SCALAR = {"esp32c3-core": ("c99", "scalar", "rv32"), "cortex-m0plus": ("c99", "scalar", "armv6m")}


def lstm(draw: Draw, dtype: str) -> ModelSpec:
    """Sums from well within the gates' range to far beyond it."""
    rng = draw.rng
    steps, depth, units = draw.integer(1, 6), draw.integer(1, 40), draw.integer(1, 20)
    shape = (steps, 1) if (major := draw.yes()) else (1, steps)
    float_ = dtype == "float32"
    hidden_scale, hidden_zero = (None, 0) if float_ else (float(2.0 ** rng.uniform(-7.5, -6)), draw.integer(-20, 20))
    cell_scale = None if float_ else 2.0 ** draw.integer(-15, -9)
    x_scale = None if float_ else float(10 ** rng.uniform(-3, 0))

    def matrix(columns: int) -> TensorSpec:
        values = rng.normal(size=(units, columns))
        if float_:
            return TensorSpec(values.shape, dtype, data=(values * 10 ** rng.uniform(-1, 0.5)).astype(np.float32))
        codes = np.clip(np.round(values * 60), -127, 127).astype(np.int8)
        return TensorSpec(codes.shape, "int8", float(10 ** rng.uniform(-3.5, -1)), data=codes)

    def bias(weights: TensorSpec) -> TensorSpec:
        if float_:
            return TensorSpec((units,), dtype, data=rng.normal(size=units).astype(np.float32))
        scale = float(np.float32(weights.scale) * np.float32(x_scale))
        return TensorSpec((units,), "int32", scale, data=rng.integers(-3000, 3000, units).astype(np.int32))

    weights = [matrix(depth) for _ in range(4)]
    hidden = TensorSpec((1, units), dtype, hidden_scale, hidden_zero, variable=True)
    cell = TensorSpec((1, units), dtype if float_ else "int16", cell_scale, variable=True)
    empty = TensorSpec((0,), "float32")
    chosen = options(
        "UnidirectionalSequenceLSTMOptions",
        fusedActivationFunction=ActivationFunctionType.TANH,
        cellClip=draw.choice([0.0, 0.5, 10.0]),
        timeMajor=major,
    )
    return ModelSpec(
        BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM,
        [
            TensorSpec((*shape, depth), dtype, x_scale, draw.zero_point(dtype)),
            *weights,
            *(matrix(units) for _ in range(4)),
            *[None] * 3,
            *map(bias, weights),
            *[None] * 2,
            hidden,
            cell,
            *[None] * 4,
        ],
        [TensorSpec((*shape, units), dtype, hidden_scale, hidden_zero)],
        **chosen,
        label=f"LSTM {dtype}",
        between=() if float_ else [empty] * 4 + [TensorSpec((0,), "int8", hidden_scale, hidden_zero)],
    )


def drawn(dtype: str, count: int) -> list[tuple[ModelSpec, Graph]]:
    specs = [lstm(draw, dtype) for draw in draws(f"lstm {dtype}", count)]
    return [(spec, simplify(read_tflite(build(spec), name=f"m{index}"))) for index, spec in enumerate(specs)]


def feeds(spec: ModelSpec, seed: int, count: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [[random_codes(spec.runtime_inputs[0], rng)] for _ in range(count)]


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@one_in(4)
def test_invocations_as_litert(every: int, dtype: str) -> None:
    """States outlive invocations, in the semantics and in C."""
    found = drawn(dtype, 60)[::every]
    differing = 0
    for index, (spec, graph) in enumerate(found):
        inputs = feeds(spec, index, 4)
        stream = Stream(graph)
        for sample, want in zip(inputs, reference_outputs(build(spec), inputs), strict=True):
            got = stream.step(sample)
            assert_same(want, got, graph, spec.label)
            differing += len(np.unique(got[0])) > 1
    assert differing > len(found)
    count_models([graph for _, graph in found], [spec.label for spec, _ in found])


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@one_in(4)
def test_c(every: int, dtype: str) -> None:
    found = drawn(dtype, 60)[::every]
    inputs = [feeds(spec, index, 2) for index, (spec, _) in enumerate(found)]
    graphs = [graph for _, graph in found]
    expected = [[evaluate(graph, sample) for sample in feed] for graph, feed in zip(graphs, inputs, strict=True)]
    compare_code(graphs, inputs, expected, [spec.label for spec, _ in found], on_board=True)


def test_states_are_kept_in_c(tmp_path: Path) -> None:
    found = drawn("int8", 60)[::12]
    inputs = [feeds(spec, index, 4) for index, (spec, _) in enumerate(found)]
    programs = [lower(graph, isa=DSP) for _, graph in found]
    assert any(step.kernel.name == "lstm_s8_dsp" for program in programs for step in program.steps)
    for (_, graph), feed, rows in zip(found, inputs, run_on_host(programs, inputs, tmp_path, keep=True), strict=True):
        stream = Stream(graph)
        for sample, got in zip(feed, rows, strict=True):
            assert_same(stream.step(sample), got, graph, "C")


@pytest.mark.parametrize("core", SCALAR)
def test_cores_without_simd(core: str) -> None:
    found = drawn("int8", 60)[1::12]
    check_variants(
        [graph for _, graph in found],
        [feeds(spec, index, 2) for index, (spec, _) in enumerate(found)],
        isa=SCALAR[core],
        cores=((bare_cores()[core], SCALAR[core]),),
        host=False,
    )


def test_sums_that_are_too_large_for_the_simd_kernel() -> None:
    """256 times as large, they would not fit 32 bits."""
    spec = lstm(next(iter(draws("large", 1))), "int8")
    graph = read_tflite(build(spec))
    (op,) = (op for op in graph.ops if isinstance(op, Lstm))
    bias = graph.tensors[op.inputs[-1]]
    assert bias.data is not None
    for value, kernel in ((2**22, "lstm_s8_dsp"), (2**23, "lstm_s8")):
        changed = replace(bias, data=np.full(bias.shape, value, np.int32))
        larger = replace(graph, tensors={**graph.tensors, bias.name: changed})
        assert [step.kernel.name for step in lower(larger, isa=DSP).steps] == [kernel]


_FUNCTIONS = """
#include <stdio.h>
#include "tinygen_gates.h"
int main(void)
{
    for (int32_t x = -32768; x < 32768; x++) {
        int32_t values[8] = {tg_sigmoid_16(x), tg_tanh_16(x, 0), tg_tanh_16(x, 1), tg_tanh_16(x, 2),
            tg_tanh_16(x, 3), tg_tanh_16(x, 4), tg_tanh_16(x, 5), tg_tanh_16(x, 6)};
        fwrite(values, sizeof values, 1, stdout);
    }
    return 0;
}
"""


def test_functions_of_gates(tmp_path: Path) -> None:
    """Every code, with every number of integer bits."""
    (tmp_path / "main.c").write_text(_FUNCTIONS)
    headers = Path(__file__).parents[2] / "templates" / "model"
    command = ["cc", "-O1", "-std=c99", "-fsanitize=undefined", "-fno-sanitize-recover", f"-I{headers}", "main.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    found = np.frombuffer(subprocess.run(["./a.out"], cwd=tmp_path, check=True, capture_output=True).stdout, np.int32)
    codes = np.arange(-32768, 32768)
    wanted = [gemmlowp_16.sigmoid(codes), *(gemmlowp_16.tanh(codes, bits) for bits in range(7))]
    np.testing.assert_array_equal(found.reshape(-1, 8), np.stack(wanted, axis=1))
    # Fixed point is within a few units of the functions.
    real = codes / 4096
    assert np.abs(wanted[0] / 32768 - 1 / (1 + np.exp(-real))).max() < 6e-4
    assert np.abs(wanted[4] / 32768 - np.tanh(real)).max() < 1e-3


def refused(change: str) -> UnsupportedError:
    spec = lstm(next(iter(draws("refused", 1))), "int8")
    inputs, chosen = list(spec.inputs), dict(vars(spec.options))
    units = spec.outputs[0].shape[-1]
    vector = TensorSpec((units,), "int16", 2.0**-12, data=np.zeros(units, np.int16))
    match change:
        case "peephole":
            inputs[9:12] = [vector] * 3
        case "projection":
            inputs[16] = TensorSpec((units, units), "int8", 0.1, data=np.zeros((units, units), np.int8))
        case "layer normalization":
            inputs[20:24] = [vector] * 4
        case "coupled":
            inputs[1] = inputs[5] = inputs[12] = None
        case "tanh":
            spec = replace(
                spec,
                **options(
                    "UnidirectionalSequenceLSTMOptions",
                    fusedActivationFunction=ActivationFunctionType.RELU,
                    timeMajor=chosen["timeMajor"],
                ),
            )
        case "variable":
            inputs[18] = replace(inputs[18], variable=False)  # type: ignore[type-var]
        case "power of two":
            inputs[19] = replace(inputs[19], scale=0.0003)  # type: ignore[type-var]
    with pytest.raises(UnsupportedError) as error:
        read_tflite(build(replace(spec, inputs=inputs)))
    return error.value


@pytest.mark.parametrize(
    "what", ["peephole", "projection", "layer normalization", "coupled", "tanh", "variable", "power of two"]
)
def test_what_is_not_supported_is_said(what: str) -> None:
    error = refused(what)
    assert what in error.what and "unidirectional_sequence_lstm_0" in error.where


def test_batches_are_refused() -> None:
    spec = lstm(next(iter(draws("batch", 1))), "float32")
    spec.options.timeMajor = False
    x, y = spec.inputs[0], spec.outputs[0]
    assert x is not None
    inputs = [replace(x, shape=(2, 3, x.shape[2])), *spec.inputs[1:]]
    with pytest.raises(UnsupportedError, match="in a batch"):
        read_tflite(build(replace(spec, inputs=inputs, outputs=[replace(y, shape=(2, 3, y.shape[2]))])))


def test_files_keep_states(tmp_path: Path) -> None:
    for dtype in ("int8", "float32"):
        spec = lstm(next(iter(draws("saved", 1))), dtype)
        graph = read_tflite(build(spec))
        save_tg(graph, tmp_path / "model.tg")
        again, inputs = load_tg(tmp_path / "model.tg"), feeds(spec, 1, 3)
        before, after = Stream(graph), Stream(again)
        assert len(again.states) == 2
        for sample in inputs:
            assert_same(before.step(sample), after.step(sample), graph, "the file")
