"""Suite `generation`: how long tinygen takes to write C, and how that grows with the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tinygen.bench.case import Case, case_of
from tinygen.bench.figures import markdown_table, ratio_text
from tinygen.bench.suites import Section, SuiteCases, SuiteOptions, suite
from tinygen.emit.model import emit_model
from tinygen.files import temporary_folder
from tinygen.frontends.load import load_model
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.board import Board
from tinygen.verbs.build import isa_of

SUITE = "generation"
_Result = TypeVar("_Result")
_SHORT_SECONDS, _MOST_RUNS = 0.5, 5


@suite(
    SUITE,
    "seconds to write C for 300 kB, 3 MB and 20 MB of weights and for 1,000 layers; nothing is compiled",
    complete=lambda rows: add_growth(rows),
    report=lambda rows: [Section("Writing C (seconds of this computer)", tables=[generation_markdown(rows)])],
)
def cases(options: SuiteOptions) -> SuiteCases:
    sizes = {
        "weights-300kB": (12, 150),
        "weights-3MB": (28, 320),
        "weights-20MB": (76, 512),
        "layers-1000": (500, 16),
    }
    return SuiteCases([_case(name, *size) for name, size in sizes.items()])


def _case(name: str, blocks: int, channels: int) -> Case:
    shape = f"{2 * blocks} layers, {channels} channels"
    return replace(case_of(SUITE, name, stack_of_layers(name, blocks, channels), shape), runs=False)


@dataclass
class _Stopwatch:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    def time(self, stage: str, work: Callable[[], _Result]) -> _Result:
        start = time.perf_counter()
        result = work()
        self.seconds[stage] = time.perf_counter() - start
        return result


def measure_generation(case: Case, kernels: str, board: Board) -> dict[str, Any]:
    """Seconds per stage of writing the C of a case, the fastest of several runs; sizes of input and output.

    The first time Python reads templates and modules; that is not counted.
    """
    _generate(stack_of_layers("warm", 1, 4), kernels, board)
    runs = [_generate(case.model, kernels, board)]
    while sum(run["seconds"]["total"] for run in runs) < _SHORT_SECONDS and len(runs) < _MOST_RUNS:
        runs.append(_generate(case.model, kernels, board))
    return min(runs, key=lambda run: float(run["seconds"]["total"]))


def _generate(model: Path | MemoryModel, kernels: str, board: Board) -> dict[str, Any]:
    watch = _Stopwatch()
    graph = load_model(model)
    watch.time("check", graph.validate)
    simple = watch.time("simplify", lambda: simplify(graph))
    program = watch.time("lower", lambda: lower(simple, family=kernels, isa=isa_of(board)))
    emitted = watch.time("emit", lambda: emit_model(program, "bench"))
    with temporary_folder() as folder:
        watch.time("write", lambda: _write(emitted.files, folder))
    total = sum(watch.seconds.values())
    return {
        "seconds": watch.seconds | {"total": total},
        "weight_bytes": sum(tensor.nbytes for tensor in graph.tensors.values() if tensor.is_constant),
        "layer_count": len(graph.ops),
        "c_bytes": sum(len(text) for text in emitted.files.values()),
        "arena_bytes": program.memory.arena_bytes,
    }


def _write(files: Mapping[str, str], folder: Path) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def add_growth(rows: list[dict[str, Any]]) -> None:
    """Adds `growth` to rows with seconds: every stage, the weights and the layers as multiples of the first's."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "seconds" in row:
            base = first.setdefault(row["kernels"], row)
            row["growth"] = {
                **{stage: seconds / max(base["seconds"][stage], 1e-6) for stage, seconds in row["seconds"].items()},
                "weight_bytes": row["weight_bytes"] / base["weight_bytes"],
                "layer_count": row["layer_count"] / base["layer_count"],
            }


def generation_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Seconds per stage, and the total as a multiple of the first case's beside what it should follow."""
    stages = list(rows[0]["seconds"])
    heads = ["case", "kernels", "layers", "weights, B", "C, B", *(f"{stage}, s" for stage in stages)]
    lines = [
        [row["case"], row["kernels"]]
        + [f"{row[key]:,}" for key in ("layer_count", "weight_bytes", "c_bytes")]
        + [f"{row['seconds'][stage]:.3f}" for stage in stages]
        + [ratio_text(row["growth"][key]) for key in ("total", "weight_bytes", "layer_count")]
        for row in rows
    ]
    return markdown_table([*heads, "x seconds", "x weights", "x layers"], lines, 2)


def stack_of_layers(name: str, blocks: int, channels: int, image: int = 8) -> MemoryModel:
    """`blocks` times a depthwise 3x3 and a 1x1 convolution over `channels` channels of an `image` x `image` picture."""
    rng = np.random.default_rng(0)
    shape = (1, image, image, channels)
    tensors = {"x0": Tensor("x0", shape, Affine("int8", (0.05,), (-3,)))}
    ops: list[Op] = []
    for _ in range(blocks):
        for kind, weights in (("dw", (1, 3, 3, channels)), ("pw", (channels, 1, 1, channels))):
            index = len(ops)
            ops.append(_layer(kind, index))
            for tensor in _constants(rng, index, weights, axis=3 if kind == "dw" else 0):
                tensors[tensor.name] = tensor
            tensors[f"x{index + 1}"] = Tensor(f"x{index + 1}", shape, Affine("int8", (0.05,), (-3,)))
    graph = Graph(c_name(name), tensors, tuple(ops), ("x0",), (f"x{len(ops)}",))
    graph.validate()
    return MemoryModel(graph, name)


def _layer(kind: str, index: int) -> Op:
    make: type[DepthwiseConv2D] | type[Conv2D] = DepthwiseConv2D if kind == "dw" else Conv2D
    return make(
        name=f"{kind}_{index}",
        inputs=(f"x{index}", f"w{index}", f"b{index}"),
        outputs=(f"x{index + 1}",),
        padding=Padding.SAME,
        stride=(1, 1),
        epilogue=Tflite(Activation.RELU),
    )


def _constants(rng: np.random.Generator, index: int, shape: Shape, axis: int) -> tuple[Tensor, Tensor]:
    """Weights large enough that what differs between two inputs is not lost on the way through many layers."""
    channels = shape[axis]
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    gain = 2.5 / (73 * (codes.size / channels) ** 0.5)
    scales = tuple(float(np.float32(s)) for s in rng.uniform(0.8 * gain, 1.2 * gain, channels))
    zeros = (0,) * channels
    bias = rng.integers(-3000, 3000, channels).astype(np.int32)
    bias_scales = tuple(float(np.float32(0.05 * s)) for s in scales)
    return (
        Tensor(f"w{index}", shape, Affine("int8", scales, zeros, axis), codes),
        Tensor(f"b{index}", (channels,), Affine("int32", bias_scales, zeros, 0), bias),
    )
