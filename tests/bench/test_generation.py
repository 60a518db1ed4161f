"""How writing C grows with the model, and that large models do not fall over."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tinygen.bench.case import case_of, samples_of
from tinygen.bench.generation import stack_of_layers
from tinygen.bench.measure import Job, measure
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.emit.model import emit_model
from tinygen.errors import FitError
from tinygen.frontends.load import load_model
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build

GIGABYTE = 1 << 20
"""In kilobytes, as Linux counts."""


@pytest.mark.long
def test_rows() -> None:
    report = bench([], ["generation"], BenchOptions(only=("weights-300kB", "layers-*"), jobs=1))
    json.dumps(report.as_json())
    assert [(row["case"], row["kernels"], row["toolchain"]) for row in report.rows] == [
        (case, kernels, "") for case in ("weights-300kB", "layers-1000") for kernels in ("tinygen", "reference")
    ]
    for row in report.rows:
        assert row["error"] is None and row["instructions"] is None
        assert set(row["seconds"]) == {"check", "simplify", "lower", "emit", "write", "total"}
        assert row["seconds"]["total"] == pytest.approx(sum(row["seconds"].values()) / 2)
        assert row["c_bytes"] > 4 * row["weight_bytes"], "a code is four characters or so"
    first, large = report.rows[0], report.rows[2]
    assert 290_000 < first["weight_bytes"] < 310_000
    assert first["growth"]["total"] == first["growth"]["weight_bytes"] == 1
    assert large["layer_count"] == 1000 and large["growth"]["layer_count"] == pytest.approx(1000 / 24)
    assert large["growth"]["lower"] == pytest.approx(large["seconds"]["lower"] / first["seconds"]["lower"])


def test_a_foreign_library_takes_no_part() -> None:
    from tinygen.bench.measure import FOREIGN
    from tinygen.bench.run import _jobs

    (case,) = (c for c in find_suite("generation").cases(SuiteOptions()).cases if c.name == "weights-300kB")
    families = ("tinygen", *FOREIGN)
    assert [job.kernels for job in _jobs(case, ("zig", "gcc"), BenchOptions(kernels=families))] == ["tinygen"]


_ALL_SIZES = """
import json
from tinygen.bench.run import BenchOptions, bench
rows = bench([], ["generation"], BenchOptions(kernels=("tinygen",), jobs=1)).rows
print(json.dumps(rows))
print(open("/proc/self/status").read())
"""


@pytest.mark.long
def test_time_and_memory_follow_size() -> None:
    """In a process of its own. Its peak is VmHWM: ru_maxrss also keeps the peak of the process that started it.

    Host time is noise, so the bound is loose; what grows with the square of the size fails it by far.
    """
    done = subprocess.run([sys.executable, "-c", _ALL_SIZES], capture_output=True, text=True, check=True)
    first, _, status = done.stdout.partition("\n")
    rows = {row["case"]: row for row in json.loads(first)}
    assert all(row["error"] is None for row in rows.values())
    for name in ("weights-3MB", "weights-20MB"):
        growth = rows[name]["growth"]
        assert growth["total"] < 3 * growth["weight_bytes"], growth
    assert rows["weights-20MB"]["weight_bytes"] > 20e6
    assert rows["layers-1000"]["growth"]["total"] < 3 * rows["layers-1000"]["growth"]["layer_count"]
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    assert int(peak) < GIGABYTE


@pytest.mark.long
def test_a_thousand_layers_on_the_board() -> None:
    """Built, run, and equal to the semantics in every code."""
    model = stack_of_layers("thousand", 500, 16)
    one, other = (evaluate(model.graph, sample)[0] for sample in samples_of(model.graph))
    assert np.mean(one != other) > 0.3, "the inputs must matter to the end"
    case = case_of("test", "thousand", model)
    row = measure(Job(case, "tinygen", "zig", "f746zg"))
    assert row["error"] is None
    assert len(row["layers"]) == 1000
    assert row["instructions"] > 1e6


@pytest.mark.long
def test_what_is_too_large_for_the_flash(tmp_path: Path) -> None:
    """20 MB of weights for 1 MB of flash: a sentence about both, and nothing left behind."""
    model = stack_of_layers("big", 76, 512)
    with pytest.raises(
        FitError, match=r"weights alone need 21,\d{3},\d{3} bytes, 1,048,576 there, 20,\d{3},\d{3} too many"
    ):
        build(model, tmp_path / "o", BuildOptions(toolchain="zig"))
    assert not list(tmp_path.iterdir())


@pytest.mark.long
@pytest.mark.parametrize(("layers", "width"), [(4, 2240), (1000, 16)])
def test_reading_large_files(tmp_path: Path, layers: int, width: int) -> None:
    rng = np.random.default_rng(0)
    tensors = [TensorSpec((1, width), "int8", 0.05, 3) for _ in range(layers + 1)]
    specs = []
    for x, y in pairwise(tensors):
        codes = rng.integers(-127, 128, (width, width)).astype(np.int8)
        weights = TensorSpec(codes.shape, "int8", 0.03 / width**0.5, 0, 0, codes)
        chosen = options("FullyConnectedOptions")
        specs.append(ModelSpec(BuiltinOperator.FULLY_CONNECTED, [x, weights], [y], **chosen))
    path = tmp_path / "large.tflite"
    path.write_bytes(build_chain(specs))
    start = time.perf_counter()
    graph = load_model(path)
    program = lower(simplify(graph), isa=("c99", "dsp"))
    files = emit_model(program, path.name).files
    assert time.perf_counter() - start < 120
    assert len(graph.ops) == layers
    assert sum(map(len, files.values())) > 4 * layers * width * width
