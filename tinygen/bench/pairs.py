"""Suite `pairs`: every kind of weights with every kind of activations, in four layers, beside int8."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.bench import layers, lowbit
from tinygen.bench.case import Case, Skipped, case_of
from tinygen.bench.figures import markdown_table
from tinygen.bench.layers import Window
from tinygen.bench.suites import Section, SuiteCases, SuiteOptions, suite
from tinygen.errors import UnsupportedError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.encodings import Affine, Binary, Codebook, IntegerEncoding, Levels, PowerOfTwo, Ternary
from tinygen.ir.epilogue import Epilogue, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.sliding import Convolution
from tinygen.ir.tensor import Shape, Tensor
from tinygen.lowering.plan import registered_kernels
from tinygen.lowering.select import Family

SUITE = "pairs"
LIMIT = 1.2
"""Times int8's cycles that no pair is to take."""
_ONE = (1.0,)
_Row = dict[str, Any]


def _levels(bits: int, signed: bool) -> Levels:
    return Levels(_ONE, bits=bits, signed=signed)


def _logarithmic(magnitudes: int, octaves: float, two_sided: bool) -> Codebook:
    """As `tinygen.nn.LogQuant` rounds them."""
    positive = np.round(32767 * 2.0 ** (-octaves * np.arange(magnitudes - 1, -1, -1))).astype(int).tolist()
    return Codebook(_ONE, table=(*(-value for value in reversed(positive) if two_sided), 0, *positive))


def _shared(count: int) -> Codebook:
    """Shared values beyond 8 bits, denser around zero as those of trained weights are."""
    z = np.linspace(-1, 1, count)
    return Codebook(_ONE, table=tuple(np.round(8191 * np.sign(z) * np.abs(z) ** 1.5).astype(int).tolist()))


WEIGHTS: dict[str, IntegerEncoding] = {
    "int8": Affine("int8", _ONE, (0,)),
    "8-bit levels": _levels(8, True),
    "4-bit": _levels(4, True),
    "2-bit": _levels(2, True),
    "ternary": Ternary(_ONE),
    "binary": Binary(_ONE),
    "log 2, 3 bits": PowerOfTwo(_ONE, exponents=7),
    "log 2, 4 bits": PowerOfTwo(_ONE, exponents=15),
    "log sqrt 2, 4 bits": _logarithmic(15, 0.5, two_sided=True),
    "16 shared values": _shared(16),
    "64 shared values": _shared(64),
}
"""What the weight quantizers of `tinygen.nn` and model files give; those of other sizes are between two of these."""
ACTIVATIONS: dict[str, IntegerEncoding] = {
    "int8": Affine("int8", _ONE, (-128,)),
    "8-bit": _levels(8, False),
    "4-bit": _levels(4, False),
    "2-bit": _levels(2, False),
    "4-bit signed": _levels(4, True),
    "binary": Binary(_ONE),
    "log 2, 3 bits": PowerOfTwo(_ONE, exponents=7),
    "log 2, 4 bits": PowerOfTwo(_ONE, exponents=15),
    "log sqrt 2, 4 bits": _logarithmic(15, 0.5, two_sided=False),
}


@dataclass(frozen=True)
class Layer:
    """One of the layers: [H, W, C] to `filters`, or [C] to `filters` without a window; groups of channels."""

    name: str
    image: Shape
    filters: int
    window: Window | None = None
    groups: int = 1

    @property
    def shape(self) -> Shape:
        """Of the weights."""
        return (self.filters, *(self.window.kernel if self.window else ()), self.image[-1] // self.groups)

    @property
    def weights(self) -> int:
        return math.prod(self.shape)


LAYERS = (
    Layer("conv_3x3", (8, 8, 64), 64, Window((3, 3))),
    Layer("conv_1x1", (8, 8, 64), 64, Window((1, 1))),
    Layer("depthwise", (8, 8, 64), 64, Window((3, 3)), 64),
    Layer("dense", (256,), 64),
)


@suite(
    SUITE,
    "every kind of weights with every kind of activations: 3x3, 1x1, depthwise, dense",
    ("compact",),
    report=lambda rows: sections(rows),
)
def cases(options: SuiteOptions) -> SuiteCases:
    found: list[Case] = []
    skipped: list[Skipped] = []
    unwanted: list[str] = []
    for layer in LAYERS:
        found.append(_case(layer, "int8", "int8 of TFLite", _int8(layer)))
        for x, activations in ACTIVATIONS.items():
            for w, weights in WEIGHTS.items():
                name = _name(layer, w, x)
                if not options.wanted(name):
                    unwanted.append(name)
                    continue
                try:
                    model = _model(name, layer, weights, activations)
                except UnsupportedError as error:
                    skipped.append(Skipped(name, error.what))
                    continue
                found.append(_case(layer, w, x, model))
    return SuiteCases(found, skipped, unwanted)


def _name(layer: Layer, weights: str, activations: str) -> str:
    return c_name(f"{layer.name} {weights} x {activations}")


def _case(layer: Layer, weights: str, activations: str, model: MemoryModel) -> Case:
    case = case_of(SUITE, _name(layer, weights, activations), model)
    pair = {"layer": layer.name, "weights": weights, "activations": activations}
    figures = {"pair": pair, "weight_count": layer.weights}
    return Case(SUITE, case.name, model, case.shape, case.encoding, case.macs, figures=figures)


def _int8(layer: Layer) -> MemoryModel:
    name = f"{layer.name}_int8"
    if layer.window is None:
        return layers.fully_connected(name, layer.image[0], layer.filters)
    if layer.groups > 1:
        return layers.depthwise_conv_2d(name, layer.image, layer.window)
    return layers.conv_2d(name, layer.image, layer.filters, layer.window)


def _model(name: str, layer: Layer, weights: IntegerEncoding, activations: IntegerEncoding) -> MemoryModel:
    """Random weights; outputs are spread over the codes of the input's encoding."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    window = layer.window
    codes = lowbit.random_weights(lowbit.Coding(name, activations, weights), layer.shape, rng)
    if isinstance(weights, Affine):
        codes = np.maximum(codes, -127)  # as quantizers of weights have it, so that all have opposites
    integers = weights.integers(codes).reshape(layer.filters, -1).astype(np.float64)
    epilogue = _epilogue(activations, integers, rng)
    inputs, outputs = ("x", "weights"), ("y",)
    op: Convolution | FullyConnected
    if window is None:
        op = FullyConnected(name="layer", inputs=inputs, outputs=outputs, epilogue=epilogue)
        output: Shape = (1, layer.filters)
    else:
        op = Conv2D(
            name="layer",
            inputs=inputs,
            outputs=outputs,
            padding=window.padding,
            stride=window.stride,
            epilogue=epilogue,
        )
        output = (1, *window.output(*layer.image[:2]), layer.filters)
    tensors = [
        Tensor("x", (1, *layer.image), activations),
        Tensor("weights", layer.shape, weights, codes),
        Tensor("y", output, activations),
    ]
    graph = Graph(name, {t.name: t for t in tensors}, (op,), ("x",), ("y",))
    graph.validate()
    return MemoryModel(graph, f"{name} (random weights)")


def _epilogue(x: IntegerEncoding, weights: np.ndarray, rng: np.random.Generator) -> Epilogue:
    """Of logarithmic outputs the thresholds of `tinygen.nn.LogQuantActivation`, half way between exponents."""
    if not isinstance(x, PowerOfTwo | Codebook):
        return lowbit.spreading_epilogue(x, weights, rng)
    low, high = x.code_range
    integers = x.integers(np.arange(low, high + 1).astype(x.dtype)).astype(np.float64)
    octaves = 1.0 if isinstance(x, PowerOfTwo) else 0.5
    cuts = 2.0 ** (octaves * (np.arange(high) - high + 0.5))
    centre = weights.sum(axis=1) * integers.mean()
    deviation = np.sqrt((weights**2).sum(axis=1)) * integers.std()
    rows = np.ceil(centre[:, None] + 2 * deviation[:, None] * cuts).astype(np.int64)
    return Threshold(tuple(tuple(row) for row in np.sort(rows, axis=1).tolist()))


# -- the table --------------------------------------------------------------------------------------------------------


def pair_lines(rows: Sequence[_Row]) -> list[dict[str, str]]:
    """A line per kind of weights and layer: cycles of each kind of activations, relative to int8's of that layer."""
    mine = [row for row in rows if row["suite"] == SUITE and row["cycles_predicted"]]
    base = {_of(row)[0]: row["cycles_predicted"] for row in mine if "TFLite" in row["pair"]["activations"]}
    cells = {_of(row): row["cycles_predicted"] / base[_of(row)[0]] for row in mine if _of(row)[0] in base}
    places = dict.fromkeys((layer, weights) for layer, weights, x in cells if x in ACTIVATIONS)
    return [
        {"layer": layer, "weights": weights}
        | {x: f"{cells[place]:.2f}" if (place := (layer, weights, x)) in cells else "–" for x in ACTIVATIONS}
        for layer, weights in places
    ]


def _of(row: _Row) -> tuple[str, str, str]:
    pair = row["pair"]
    return pair["layer"], pair["weights"], pair["activations"]


def pairs_markdown(rows: Sequence[_Row]) -> str:
    """The table in Markdown, one per build (board, compiler, kernels); "" where no row is of the suite."""
    heads = ["Layer", "Weights", *ACTIVATIONS]
    tables = {name: pair_lines(mine) for name, mine in _by_build(rows).items()}
    texts = {name: markdown_table(heads, ([*line.values()] for line in of), 2) for name, of in tables.items() if of}
    return _each(texts)


def bits_markdown(rows: Sequence[_Row]) -> str:
    """Bits of flash a weight, in Markdown: a line per kind of weights, a column per layer and build, int8 activations.

    Bytes are those that the firmware has for the model: weights and all other constants of the layer.
    """
    cells: dict[str, dict[str, str]] = {}
    several = len(_by_build(rows)) > 1
    for name, mine in _by_build(rows).items():
        for row in mine:
            layer, weights, activations = _of(row)
            if activations == "int8":
                bits = 8 * (row["flash_bytes"] - row["flash_without_weights_bytes"]) / row["weight_count"]
                cells.setdefault(weights, {})[f"{layer}, {name}" if several else layer] = f"{bits:.2f}"
    heads = list(dict.fromkeys(head for line in cells.values() for head in line))
    lines = [[weights, *(line.get(head, "–") for head in heads)] for weights, line in cells.items()]
    return markdown_table(["Weights", *heads], lines) if lines else ""


def _each(texts: Mapping[str, str]) -> str:
    """Texts of builds; of several, each with the build's name."""
    return "\n\n".join(f"{name}\n\n{text}" if len(texts) > 1 else text for name, text in texts.items())


def _by_build(rows: Sequence[_Row]) -> dict[str, list[_Row]]:
    """The suite's rows that have figures, by what differs among their boards, compilers and kernels."""
    mine = [row for row in rows if row["suite"] == SUITE and row["cycles_predicted"]]
    several = [key for key in ("board", "toolchain", "kernels") if len({row.get(key) for row in mine}) > 1]
    groups: dict[str, list[_Row]] = {}
    for row in mine:
        groups.setdefault(", ".join(str(row[key]) for key in several), []).append(row)
    return groups


def sections(rows: Sequence[_Row]) -> list[Section]:
    """Of all pairs: cycles, and bits of flash."""
    table = pairs_markdown(rows)
    if not table:
        return []
    cycles = Section("Cycles, relative to int8's", tables=[table], statements=pair_statements(rows))
    return [cycles, Section("Bits of flash a weight", tables=[bits_markdown(rows)])]


def pair_statements(rows: Sequence[_Row]) -> list[str]:
    """What stays plain, and which pairs take more than `LIMIT` times int8's cycles."""
    groups = _by_build(rows)
    return [
        f"{name}: {text}" if len(groups) > 1 else text for name, mine in groups.items() for text in _statements_on(mine)
    ]


def _statements_on(mine: Sequence[_Row]) -> list[str]:
    plain = {kernel.name for kernel in registered_kernels() if kernel.family == Family.REFERENCE}
    base = {_of(row)[0]: row["cycles_predicted"] for row in mine if "TFLite" in row["pair"]["activations"]}
    left = [row["case"] for row in mine if any(layer["kernel"] in plain for layer in row["layers"])]
    above = [
        f"{row['case']} {row['cycles_predicted'] / base[_of(row)[0]]:.2f}"
        for row in mine
        if _of(row)[0] in base and row["cycles_predicted"] > LIMIT * base[_of(row)[0]]
    ]
    return [
        f"In plain loops: {', '.join(left) or 'none'}.",
        f"Above {LIMIT} times int8's cycles: {', '.join(above) or 'none'}.",
    ]
