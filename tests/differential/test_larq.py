"""Larq's operators: its documented arithmetic in NumPy, its own interpreter where there is one, semantics, and C."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator
from flatbuffers import flexbuffers

from tests.support.cases import Draw
from tests.support.differential import Board, assert_same, compare_code
from tests.support.larq import larq_outputs, needs_larq
from tests.support.shares import one_in
from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.options import BuildOptions
from tinygen.verbs.verify import verify

CLAMPS = {0: (-np.inf, np.inf), 1: (0, np.inf), 2: (-1, 1), 3: (0, 6)}
"""Of sums, by the activation's number in the schema."""


def words(channels: int) -> int:
    return -(-channels // 32)


def packed(signs: np.ndarray) -> np.ndarray:
    """32 signs in an int32, bit 1 for -1."""
    bits = np.zeros((*signs.shape[:-1], words(signs.shape[-1]) * 32), np.uint8)
    bits[..., : signs.shape[-1]] = signs < 0
    return np.packbits(bits, axis=-1, bitorder="little").view("<i4")


def custom(name: str, inputs: list[TensorSpec | None], output: TensorSpec, **chosen: int) -> ModelSpec:
    content = bytes(flexbuffers.Dumps(chosen)) if chosen else b""
    return ModelSpec(BuiltinOperator.CUSTOM, inputs, [output], custom=name, custom_options=content)


@dataclass
class Built:
    """A model layer by layer, with what it computes.

    Attributes:
        steps: its operators.
        last: the tensor written last, which stands for `channels` channels.
        value: what it holds for each sample: signs, numbers or codes, [samples, ...].
    """

    steps: list[ModelSpec]
    last: TensorSpec
    channels: int
    value: np.ndarray

    def add(self, name: str, inputs: list[TensorSpec | None], output: TensorSpec, **chosen: int) -> None:
        self.steps.append(custom(name, [self.last, *inputs], output, **chosen))
        self.last = output


def bits_spec(image: tuple[int, ...], channels: int) -> TensorSpec:
    return TensorSpec((1, *image, words(channels)), "int32")


def begin(draw: Draw, dtype: str, image: tuple[int, int], channels: int) -> tuple[Built, np.ndarray]:
    """LceQuantize of an input, and the samples."""
    zero = draw.zero_point("int8") if dtype == "int8" else 0
    x = TensorSpec((1, *image, channels), dtype, 0.5 if dtype == "int8" else None, zero, name="x")
    shape = (3, 1, *image, channels)
    if dtype == "int8":
        samples = draw.rng.integers(-128, 128, shape).astype(np.int8)
    else:
        samples = draw.rng.normal(size=shape).astype(np.float32)
        samples[draw.rng.random(shape) < 0.1] = 0
    built = Built([], x, channels, np.where(samples.astype(np.float64) - zero < 0, -1, 1)[:, 0])
    built.add("LceQuantize", [], bits_spec(image, channels))
    return built, samples


def window_sums(x: np.ndarray, weights: np.ndarray, groups: int, chosen: dict[str, int]) -> np.ndarray:
    """Sums of products [samples, rows, columns, O]; pads with 0 or 1."""
    sides = []
    for axis, side in ((1, "height"), (2, "width")):
        stride, reach = chosen[f"stride_{side}"], (weights.shape[axis] - 1) * chosen[f"dilation_{side}_factor"] + 1
        size = x.shape[axis]
        count = -(-size // stride) if chosen["padding"] == 0 else (size - reach) // stride + 1
        total = max((count - 1) * stride + reach - size, 0)
        sides.append((stride, count, total // 2, total - total // 2))
    (down, rows, *vertical), (across, columns, *horizontal) = sides
    x = np.pad(x, ((0, 0), tuple(vertical), tuple(horizontal), (0, 0)), constant_values=chosen["pad_values"])
    result = np.zeros((len(x), rows, columns, len(weights)))
    depth, filters = weights.shape[3], len(weights) // groups
    for o, (i, j) in ((o, place) for o in range(len(weights)) for place in np.ndindex(*weights.shape[1:3])):
        first = i * chosen["dilation_height_factor"], j * chosen["dilation_width_factor"]
        taps = x[:, first[0] :: down, first[1] :: across][:, :rows, :columns]
        group = o // filters * depth
        result[..., o] += (taps[..., group : group + depth] * weights[o, i, j]).sum(axis=-1)
    return result


def convolve(built: Built, draw: Draw, kind: str, filters: int) -> None:
    """LceBconv2d; `kind` is "bits", "int8" or "float32"."""
    image = built.value.shape[1:3]
    kernel = (draw.integer(1, min(3, image[0])), draw.integer(1, min(3, image[1])))
    groups = 2 if built.channels % 64 == 0 and draw.yes(0.3) else 1
    filters += filters % groups
    weights = draw.rng.choice([-1, 1], (filters, *kernel, built.channels // groups))
    same, ones = draw.yes(0.7), draw.yes()
    chosen = {
        "channels_in": built.channels,
        "fused_activation_function": 0 if kind == "bits" else draw.choice([0, 0, 1, 2, 3]),
        # The reference kernel pads with zeros only where channels are even.
        "pad_values": int(ones or built.channels % 2),
        "padding": 0 if same else 1,
        **{f"stride_{side}": draw.integer(1, 2) for side in ("height", "width")},
        **{f"dilation_{side}_factor": 1 for side in ("height", "width")},
    }
    if chosen["stride_height"] == chosen["stride_width"] == 1 and same and draw.yes(0.3):
        chosen |= {f"dilation_{side}_factor": 2 for side in ("height", "width")}
    sums, taps = window_sums(built.value, weights, groups, chosen), weights[0].size
    filter_spec = TensorSpec(packed(weights).shape, "int32", data=packed(weights))
    if kind == "bits":
        thresholds = draw.rng.integers(-2, taps + 2, filters).astype(np.int32)
        built.value = np.where((taps - sums) / 2 > thresholds, -1, 1)
        last = TensorSpec((filters,), "int32", data=thresholds)
        output = bits_spec(sums.shape[1:3], filters)
        # Larq's interpreter reads a multiplier where it pads with zeros, and crashes where there is none.
        unused = TensorSpec((filters,), "float32", data=np.ones(filters, np.float32)) if not ones else None
        built.add("LceBconv2d", [filter_spec, unused, unused, last], output, **chosen)
        built.channels = filters
        return
    multiplier = (draw.rng.normal(size=filters) * draw.choice([0.02, 1.0])).astype(np.float32)
    offset = draw.rng.normal(size=filters).astype(np.float32)
    if draw.yes(0.3):
        multiplier, offset = np.ones(filters, np.float32), np.zeros(filters, np.float32)
    scale, zero = 1.0, 0
    if kind == "int8":
        scale, zero = float(np.float32(draw.choice([0.5, 0.03, 0.7]))), draw.zero_point("int8")

    built.value = transformed(sums, taps, CLAMPS[chosen["fused_activation_function"]], multiplier, offset, scale, zero)
    if kind == "int8":
        away = np.trunc(built.value + np.copysign(np.float32(0.5), built.value))
        built.value = np.clip(away, -128, 127).astype(np.int8)
    output = TensorSpec((1, *sums.shape[1:]), kind, scale if kind == "int8" else None, zero, name="y")
    constants = [TensorSpec((filters,), "float32", data=values) for values in (multiplier, offset)]
    built.add("LceBconv2d", [filter_spec, *constants, None], output, **chosen)


def transformed(
    sums: np.ndarray,
    taps: int,
    clamp: tuple[float, float],
    multiplier: np.ndarray,
    offset: np.ndarray,
    scale: float,
    zero: int,
) -> np.ndarray:
    """Twice the differing signs, clamped, times a multiplier plus an offset, each rounded to single precision."""
    differing = (taps - np.clip(sums, max(clamp[0], -taps), min(clamp[1], taps))).astype(np.float32)
    wide = multiplier.astype(np.float64)
    factor = (-wide / scale).astype(np.float32)
    added = ((offset + taps * wide) / scale + zero).astype(np.float32)
    return differing * factor + added


def network(seed: int) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A model of random layers, samples, and what it gives for them."""
    draw = Draw(seed)
    channels = draw.choice([1, 3, 8, 31, 32, 33, 40, 64, 70, 128])
    built, samples = begin(draw, draw.choice(["float32", "int8"]), (draw.integer(4, 7), draw.integer(4, 7)), channels)
    if draw.yes():
        convolve(built, draw, "bits", draw.choice([3, 32, 35, 64]))
    if draw.yes():
        pool(built, draw)
    end = draw.choice(["float32", "int8", "bits"])
    convolve(built, draw, end, draw.choice([1, 6, 33]))
    if end == "bits":
        dtype = draw.choice(["float32", "int8"])
        scale, zero = (float(np.float32(draw.choice([0.5, 0.011, 1.7]))), draw.zero_point("int8"))
        built.add(
            "LceDequantize",
            [],
            TensorSpec((1, *built.value.shape[1:]), dtype, scale if dtype == "int8" else None, zero, name="y"),
        )
        if dtype == "int8":
            one = int(np.floor(np.float32(1) / np.float32(scale) + 0.5))
            built.value = np.clip(zero + built.value * one, -128, 127)
        built.value = built.value.astype(dtype)
    return build_chain(built.steps), samples, built.value[:, None]


def pool(built: Built, draw: Draw) -> None:
    """LceBMaxPool2d of 2x2 or so."""
    image = built.value.shape[1:3]
    kernel, stride, same = (
        (draw.integer(1, 3), draw.integer(1, 3)),
        (draw.integer(1, 2), draw.integer(1, 2)),
        draw.yes(),
    )
    starts = []
    for size, k, s in zip(image, kernel, stride, strict=True):
        count = -(-size // s) if same else (size - k) // s + 1
        before = max((count - 1) * s + k - size, 0) // 2 if same else 0
        starts.append([(max(i * s - before, 0), min(i * s - before + k, size)) for i in range(count)])
    if not all(starts):
        return
    rows = [[built.value[:, a:b, c:d].max(axis=(1, 2)) for c, d in starts[1]] for a, b in starts[0]]
    built.value = np.stack([np.stack(row, axis=1) for row in rows], axis=1)
    chosen = {"filter_height": kernel[0], "filter_width": kernel[1], "padding": 0 if same else 1}
    chosen |= {"stride_height": stride[0], "stride_width": stride[1]}
    built.add("LceBMaxPool2d", [], bits_spec(built.value.shape[1:3], built.channels), **chosen)


def networks(count: int) -> list[tuple[bytes, np.ndarray, np.ndarray]]:
    return [network(seed) for seed in range(count)]


@one_in(4)
def test_networks(every: int) -> None:
    found = networks(120)[::every]
    graphs, feeds, expected = [], [], []
    for number, (model, samples, outputs) in enumerate(found):
        graph = read_tflite(model, name=f"m{number}")
        for sample, want in zip(samples, outputs, strict=True):
            assert_same([want], evaluate(graph, [sample]), graph, f"network {number}: semantics")
        graphs.append(simplify(graph))
        feeds.append([[sample] for sample in samples])
        expected.append([[want] for want in outputs])
    compare_code(graphs, feeds, expected, ["Larq"] * len(graphs), on_board=Board.SHARE)


@needs_larq
def test_as_larqs_interpreter_computes_them(tmp_path: Path) -> None:
    found = networks(120)
    outputs = larq_outputs([model for model, *_ in found], [samples for _, samples, _ in found], tmp_path)
    for number, (got, (_, _, want)) in enumerate(zip(outputs, found, strict=True)):
        assert np.array_equal(got.reshape(want.shape), want), number


def one_layer(**changed: Any) -> bytes:
    """Quantize, a convolution of 40 channels, dequantize; with changes to the second."""
    channels, filters = changed.pop("shape", (40, 8))
    x, y = TensorSpec((1, 4, 4, channels), "float32", name="x"), TensorSpec((1, 4, 4, filters), "float32", name="y")
    bits, sums = bits_spec((4, 4), channels), bits_spec((4, 4), filters)
    rng = np.random.default_rng(0)
    weights = packed(rng.choice([-1, 1], changed.pop("weights", (filters, 3, 3, channels))))
    thresholds = changed.pop("thresholds", np.zeros(filters, np.int32))
    content = changed.pop("content", None)
    chosen = {"channels_in": channels, "fused_activation_function": 0, "pad_values": 1, "padding": 0} | {
        f"{what}_{side}{ending}": 1
        for what, ending in (("stride", ""), ("dilation", "_factor"))
        for side in ("height", "width")
    }
    kernel = TensorSpec(weights.shape, "int32", data=weights)
    last = TensorSpec(thresholds.shape, "int32", data=thresholds)
    inputs = [bits, kernel, None, None, last][: changed.pop("count", 5)]
    conv = custom("LceBconv2d", inputs, sums, **{k: v for k, v in (chosen | changed).items() if v is not None})
    conv.custom_options = conv.custom_options if content is None else content
    return build_chain([custom("LceQuantize", [x], bits), conv, custom("LceDequantize", [sums], y)])


def test_tuned_kernels_compute_them() -> None:
    program = lower(simplify(read_tflite(one_layer(shape=(64, 64)))), isa=("c99", "dsp"))
    names = [step.kernel.name for step in program.steps]
    assert names[:2] == ["quantize_signs", "pad"] and names[2].startswith("xnor_conv_2d")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"channels_in": 41}, "its input has 40 channels, not 41"),
        ({"content": b"\1\2"}, "its options are damaged"),
        ({"pad_values": None}, "its options have no number 'pad_values'"),
        ({"count": 4}, "has 4 inputs and 1 outputs, not 5 and 1"),
        ({"weights": (8, 3, 3, 90)}, r"its filter is int32 \[8, 3, 3, 3\], for 40 channels in words of 32"),
        ({"thresholds": np.zeros(7, np.int32)}, r"its thresholds are int32 \[7\], not int32 \[8\]"),
        ({"pad_values": 2}, "padding with 2 is not supported"),
        ({"weights": (9, 3, 3, 40)}, "stands for|its thresholds are"),
    ],
)
def test_what_is_wrong_with_a_convolution_is_said(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(TinygenError, match=message) as caught:
        read_tflite(one_layer(**changed))
    assert "custom_1" in str(caught.value) and caught.value.fix


def test_bits_stay_between_larqs_operators() -> None:
    x, bits = TensorSpec((1, 4, 4, 40), "float32", name="x"), TensorSpec((1, 4, 4, 2), "int32", name="bits")
    first, y = custom("LceQuantize", [x], bits), TensorSpec((1, 4, 4, 2), "int32", name="y")
    with pytest.raises(UnsupportedError, match="'bits': is an output of packed bits") as caught:
        read_tflite(build_chain([first]))
    assert "LceDequantize" in caught.value.fix
    with pytest.raises(UnsupportedError, match="reads words of bits as integers") as caught:
        read_tflite(build_chain([first, ModelSpec(BuiltinOperator.ABS, [bits], [y])]))
    assert "LceDequantize" in caught.value.fix
    real = TensorSpec((1, 4, 4, 40), "float32", name="real")
    with pytest.raises(UnsupportedError, match="'bits' does not come from an operator that packs bits"):
        read_tflite(build_chain([custom("LceDequantize", [bits], real)]))
    with pytest.raises(ModelError, match=r"'real' has shape \[1, 4, 4, 41\], the input stands for \[1, 4, 4, 40\]"):
        read_tflite(build_chain([first, custom("LceDequantize", [bits], TensorSpec((1, 4, 4, 41), name="real"))]))
    with pytest.raises(ModelError, match=r"'bits' is not int32 \[1, 4, 4, 2\]"):
        wrong = TensorSpec((1, 4, 4, 3), "int32", name="bits")
        read_tflite(build_chain([custom("LceQuantize", [x], wrong)]))
    numbers = TensorSpec((1, 4, 4, 40), "int16", 0.5, name="x")
    with pytest.raises(UnsupportedError, match=r"'x' is int16 scale 0\.5 zero 0, not float32 or int8"):
        read_tflite(build_chain([custom("LceQuantize", [numbers], bits)]))


@pytest.mark.parametrize(
    ("multiplier", "message"),
    [(np.inf, "multipliers or offsets are not finite"), (1e12, "does not fit 64 bits"), (1e38, "not finite")],
)
def test_multipliers_that_no_rescale_has(multiplier: float, message: str) -> None:
    x, bits, y = TensorSpec((1, 2, 2, 8), "float32"), bits_spec((2, 2), 8), TensorSpec((1, 2, 2, 1), "int8", 0.01)
    scales = [TensorSpec((1,), "float32", data=np.full(1, value, np.float32)) for value in (multiplier, 0)]
    filters = TensorSpec((1, 1, 1, 1), "int32", data=np.zeros((1, 1, 1, 1), np.int32))
    chosen = dict.fromkeys(("fused_activation_function", "pad_values", "padding"), 0) | {
        "channels_in": 8,
        "stride_height": 1,
        "stride_width": 1,
        "dilation_height_factor": 1,
        "dilation_width_factor": 1,
    }
    conv = custom("LceBconv2d", [bits, filters, *scales, None], y, **chosen)
    with pytest.raises(UnsupportedError, match=message) as caught:
        read_tflite(build_chain([custom("LceQuantize", [x], bits), conv]))
    assert caught.value.fix and "custom_1" in str(caught.value)


def test_verify_says_that_litert_lacks_them(tmp_path: Path) -> None:
    model, samples, _ = network(0)
    (tmp_path / "larq.tflite").write_bytes(model)
    np.save(tmp_path / "x.npy", samples[:, 0])
    report = verify(tmp_path / "larq.tflite", tmp_path / "x.npy", BuildOptions(board="f746zg"))
    assert report.identical and [one.first for one in report.comparisons] == ["semantics", "semantics"]
    assert "LiteRT lacks the operator LceQuantize" in " ".join(report.warnings)
