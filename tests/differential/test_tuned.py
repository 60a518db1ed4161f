"""Every variant of the tuned int8 kernels, on the shapes that are hard for them, against the operators' meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator, Padding

from tests.support.board_batch import M4, M4_SOFT, M7
from tests.support.differential import random_codes
from tests.support.networks import SCALE, Network
from tests.support.shares import one_in
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, options
from tests.support.variants import DSP, Feeds, check_variants
from tests.targets.tools import requires_tool
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.lowering.fuse import fuse
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

Case = tuple[Graph, Feeds]
_ACTIVATIONS = (
    ActivationFunctionType.NONE,
    ActivationFunctionType.RELU,
    ActivationFunctionType.RELU6,
    ActivationFunctionType.RELU_N1_TO_1,
)


def window(
    size: tuple[int, int],
    channels: int,
    filters: int,
    kernel: tuple[int, int],
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    same: bool = True,
    batch: int = 1,
    y_scale: float = 1.0,
    spread: float = 1.0,
    zero: int | None = None,
    bias: int = 3000,
    least: int = -128,
    seed: int = 0,
) -> Case:
    """A convolution, or with 0 filters a depthwise one; what is not given follows from the shapes.

    Args:
        y_scale: times the scale that uses the codes well.
        spread: largest over smallest scale of the weights, about; 1 for one scale per layer.
        zero: point of the output.
        bias: the largest.
        least: of the weights' codes.
    """
    rng = np.random.default_rng([*size, channels, filters, *kernel, *stride, batch, seed])
    depthwise, filters = filters == 0, filters or channels
    shape = (1, *kernel, channels) if depthwise else (filters, *kernel, channels // groups)
    taps = kernel[0] * kernel[1] * (1 if depthwise else channels)
    w_scale = 0.01 * spread ** rng.uniform(-1, 0, filters) if spread > 1 else np.array([0.01])
    x = TensorSpec((batch, *size, channels), "int8", SCALE, int(rng.integers(-128, 128)))
    out = [
        -(-n // s) if same else (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    codes = rng.integers(least, 128, shape).astype(np.int8)
    y = TensorSpec(
        (batch, *out, filters),
        "int8",
        float(SCALE * 0.01 * 70 * np.sqrt(taps) * y_scale),
        int(rng.integers(-128, 128)) if zero is None else zero,
    )
    inputs = [
        x,
        TensorSpec(shape, "int8", w_scale, 0, 3 if depthwise else 0, codes),
        TensorSpec((filters,), "int32", w_scale * SCALE, 0, 0, rng.integers(-bias, bias, filters)),
    ]
    common = {
        "padding": Padding.SAME if same else Padding.VALID,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
        "fusedActivationFunction": _ACTIVATIONS[int(rng.integers(4))],
    }
    if depthwise:
        chosen = options("DepthwiseConv2DOptions", depthMultiplier=1, **common)
        spec = ModelSpec(BuiltinOperator.DEPTHWISE_CONV_2D, inputs, [y], **chosen)
    else:
        spec = ModelSpec(BuiltinOperator.CONV_2D, inputs, [y], **options("Conv2DOptions", **common))
    return read_tflite(build(spec)), [[random_codes(x, rng)] for _ in range(9 if out == [1, 2] else 2)]


def dense(depth: int, outputs: int, rows: int = 1, *, extreme: bool = False, y_scale: float = 1.0) -> Case:
    """A fully connected layer; `extreme` has neighbours of -128 and -1 among its weights."""
    rng = np.random.default_rng([depth, outputs, rows])
    codes = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
    if extreme:
        codes[:, 1::2] = -128
    x = TensorSpec((rows, depth), "int8", SCALE, int(rng.integers(-128, 128)))
    y = TensorSpec((rows, outputs), "int8", float(SCALE * 0.7 * np.sqrt(depth) * y_scale), -128)
    inputs = [x, TensorSpec(codes.shape, "int8", 0.01, 0, 0, codes)]
    spec = ModelSpec(BuiltinOperator.FULLY_CONNECTED, inputs, [y], **options("FullyConnectedOptions"))
    return read_tflite(build(spec)), [[random_codes(x, rng)] for _ in range(2)]


def network(net: Network) -> Case:
    graph = net.graph()
    rng = np.random.default_rng(len(net.layers))
    shapes = [graph.tensors[name].shape for name in graph.inputs]
    return graph, [[rng.integers(-128, 128, shape).astype(np.int8) for shape in shapes] for _ in range(2)]


def check(cases: list[Case], **how: object) -> int:
    graphs = [replace(graph, name=f"m{i}") for i, (graph, _) in enumerate(cases)]
    return check_variants(graphs, [feeds for _, feeds in cases], **how)  # type: ignore[arg-type]


CONVOLUTIONS = [
    window((3, 5), 4, 5, (3, 3)),
    window((4, 5), 8, 4, (3, 3), stride=(2, 2), same=False),
    window((6, 4), 3, 6, (3, 3), stride=(2, 2)),
    window((1, 1), 4, 3, (3, 3)),
    window((2, 3), 4, 7, (5, 7)),
    window((1, 1), 5, 1, (1, 1)),
    window((3, 3), 8, 6, (1, 1)),
    window((5, 5), 4, 8, (1, 1), stride=(2, 2), batch=2),
    window((4, 2), 4, 4, (3, 1), dilation=(2, 1), batch=2),
    window((2, 3), 4, 2, (2, 2), dilation=(1, 2)),
    window((1, 9), 4, 4, (1, 4), same=False),
    window((9, 2), 2, 3, (5, 2), stride=(3, 1), same=False),
    window((4, 4), 12, 4, (2, 3), stride=(3, 3)),
]

ONE_PIXEL = [
    window((5, 1), 40, 33, (5, 1), stride=(3, 1), same=False, least=-127),
    window((1, 1), 32, 64, (1, 1), least=-127),
    window((2, 3), 5, 7, (2, 3), same=False, least=-127),
    window((1, 4), 3, 5, (1, 4), same=False, spread=1e3, least=-127),
    window((3, 1), 6, 5, (3, 1), same=False, y_scale=64.0, least=-127),
    window((1, 1), 12, 6, (1, 1), y_scale=0.01, least=-127),
    window((3, 1), 7, 2, (3, 1), same=False, least=-127),
]

DEPTHWISE = [
    window((4, 6), 5, 0, (3, 2), dilation=(1, 3)),
    *[window((5, 5), 4, 0, (rows, 3), batch=2) for rows in (1, 2, 3, 4, 5, 6)],
    *[window((6, 7), 8, 0, (rows, 2), stride=(2, 2), same=False) for rows in (1, 2, 4, 5)],
    window((3, 3), 4, 0, (3, 3), same=False),
    window((1, 1), 4, 0, (3, 3)),
    window((2, 2), 4, 0, (6, 5)),
    window((1, 40), 4, 0, (1, 25)),
    window((40, 1), 4, 0, (25, 1), stride=(2, 1)),
    window((6, 5), 4, 0, (3, 3), stride=(1, 2)),
    window((6, 5), 4, 0, (3, 3), stride=(2, 1)),
    window((5, 8), 4, 0, (2, 1), stride=(1, 3)),
    window((5, 5), 6, 0, (3, 3)),
    window((13, 13), 4, 0, (12, 12), same=False),
]

DENSE = [
    dense(16, 4),
    dense(17, 5, 2),
    dense(3, 1, 3),
    dense(30, 7, extreme=True),
    dense(12, 23, 2),
    dense(33, 1),
    dense(22, 2, 2),
    dense(12, 3),
    dense(32, 20),  # two turns of the loop over eight outputs, and four more
    # Multipliers of tiny scales times codes far from 0: more than 64 bits, were it not for a smaller shift.
    dense(24, 4, y_scale=64.0),
    dense(24, 4, y_scale=0.01),
]

SCALES = [
    window((1, 2), 4, 5, (3, 3), zero=zero, **kind)  # type: ignore[arg-type]
    for kind in ({"y_scale": 3000.0}, {"y_scale": 1e-4}, {"spread": 1e3}, {"spread": 1e9}, {"y_scale": 0.3})
    for zero in (-128, 6, 127)
] + [window((1, 2), 4, filters, (3, 3), bias=2**31 - 1, y_scale=2.0**18) for filters in (0, 5)]


def residual(batch: int = 1) -> Network:
    """Blocks with and without a convolution on the shortcut, and one whose only convolution reads what is added."""
    net = Network(5 + batch)
    x = net.input(7, 5, 4)
    y = net.conv(x, 8, 3, 2)
    y = net.conv(y, 8, 3, relu=False)
    y = net.add(y, net.conv(x, 8, 1, 2, relu=False))
    z = net.add(y, net.conv(net.conv(y, 8, 3), 8, 3, relu=False))
    z = net.add(net.conv(z, 8, 3, relu=False), z)
    z = net.add(z, net.conv(z, 8, 1, relu=False))
    net.conv(z, 5, 1)
    return net


def separable() -> Network:
    """Depthwise and pointwise layers, wider and narrower, whose memory is shared wherever it may be."""
    net = Network(9)
    x = net.conv(net.input(9, 7, 1), 8, 3, 2)
    for filters, stride in ((8, 1), (4, 1), (12, 2), (12, 1)):
        x = net.conv(net.depthwise(x, 3, stride), filters)
    y = net.conv(net.depthwise(net.conv(x, 24, 1), 3), 12, 1, relu=False)
    net.conv(net.add(x, y), 3, 1)
    return net


SETS = {"conv": CONVOLUTIONS, "one pixel": ONE_PIXEL, "depthwise": DEPTHWISE, "dense": DENSE, "scales": SCALES}


@one_in(3)
@pytest.mark.parametrize("name", SETS)
def test_every_variant(name: str, every: int) -> None:
    cases = SETS[name][::every]
    assert check(cases, in_turn=every > 1) >= len(cases)


def test_a_window_that_is_the_whole_input_is_dense() -> None:
    """Not where a border is added, or the window leaves pixels out."""

    def chosen(case: Case) -> str:
        (step,) = lower(simplify(case[0]), isa=DSP).layers
        return step.kernel.name

    *many, few = [chosen(case) for case in ONE_PIXEL]
    assert many == ["conv_2d_whole_dsp"] * len(many) and few == "conv_2d_whole_few_dsp"
    others = [
        window((1, 1), 4, 3, (3, 3)),
        window((2, 2), 4, 3, (1, 1), stride=(2, 2), same=False),
    ]
    assert not {"conv_2d_whole_dsp", "conv_2d_whole_few_dsp"} & {chosen(case) for case in others}


@pytest.mark.parametrize("make", [residual, pytest.param(separable, marks=pytest.mark.long)])
def test_networks(make: Callable[[], Network]) -> None:
    net = make()
    kinds = [type(op) for op in fuse(net.graph(), "tinygen", DSP).ops]
    assert kinds.count(Conv2DAdd) == (4 if make is residual else 1)
    check([network(net)], most=3, in_turn=True)


def random_window(rng: np.random.Generator, seed: int) -> Case:
    """Any window over up to 7 x 7 pixels; one in three is depthwise."""
    pairs = {
        name: tuple(int(n) for n in rng.integers(1, most, 2))
        for name, most in (("size", 8), ("kernel", 6), ("stride", 4), ("dilation", 3))
    }
    reach = [(k - 1) * d + 1 for k, d in zip(pairs["kernel"], pairs["dilation"], strict=True)]
    same = bool(rng.random() < 0.6) or any(r > n for r, n in zip(reach, pairs["size"], strict=True))
    dilation = pairs["dilation"] if rng.random() < 0.3 else (1, 1)
    return window(
        pairs["size"],
        int(rng.choice([1, 3, 4, 8, 12])),
        0 if rng.random() < 0.33 else int(rng.integers(1, 10)),
        pairs["kernel"],
        stride=pairs["stride"],
        dilation=dilation,
        same=same,
        batch=int(rng.choice([1, 1, 2])),
        spread=float(rng.choice([1.0, 100.0])),
        seed=seed,
    )  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_random_windows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    check([random_window(rng, seed) for _ in range(24)], most=4)


CORES = {
    "m7": (M7, (*DSP, "dual-issue")),
    "m4": (M4, DSP),
    "m4-soft": (M4_SOFT, DSP),
    "m4-soft-dual": (M4_SOFT, (*DSP, "dual-issue")),
}
GCC = requires_tool("arm-none-eabi-gcc")
LEVELS = [*[("zig", f"-O{level}") for level in "02s"], *[("gcc", f"-O{level}") for level in "0g123s"]]
"""What zig knows: it makes the same of -O0 and -Og, and the same of -O1, -O2 and -O3."""

BUILDS = [
    pytest.param(compiler, level, core, marks=GCC if compiler == "gcc" else (), id=f"{compiler}-{level}-{core}")
    for core, builds in {
        "m7": LEVELS,
        "m4": [("zig", "-O0"), ("zig", "-O2"), ("gcc", "-Og"), ("gcc", "-Os")],
        "m4-soft": [("zig", "-O0"), ("gcc", "-O2")],
        "m4-soft-dual": [("zig", "-O2"), ("gcc", "-O3")],
    }.items()
    for compiler, level in builds
]
"""Every compiler at every level; not on every core."""


@pytest.mark.parametrize("level", ["-O2", "-Os"])
def test_levels_agree(level: str) -> None:
    """Optimised for speed and for size one network gives the same codes, those of the semantics."""
    check([network(residual()), DENSE[1]], cores=[CORES["m7"]], level=level, host=False, most=1)


def test_eight_outputs_at_once() -> None:
    """Two turns of the loop over eight, then a block of four."""
    check([dense(32, 20)], cores=[CORES["m7"], CORES["m4"]], host=False, part="dsp_4")


def test_without_fpu() -> None:
    check([network(residual()), DENSE[1]], cores=[CORES["m4-soft"]], host=False, most=1)


@pytest.mark.long
@pytest.mark.parametrize(("compiler", "level", "core"), BUILDS)
def test_every_compiler(compiler: str, level: str, core: str) -> None:
    """What is in registers, and what the compiler may not move, is right however it optimises.

    Half of the layers at every second level, the others at those between.
    """
    cases = [*CONVOLUTIONS, *DEPTHWISE, *DENSE, network(residual()), network(separable())]
    half = list(CORES).index(core) + ("-O0", "-Og", "-O1", "-O2", "-O3", "-Os").index(level)
    check(cases[half % 2 :: 2], cores=[CORES[core]], level=level, compiler=compiler, host=False, most=2)
