"""Suite `gated`: convolutions whose gates keep some channels, compared with dense kernels of the same layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tinygen.bench.case import Case, case_of
from tinygen.bench.figures import markdown_table
from tinygen.bench.gated_networks import EXPERTS, ConvLayer, Method, gated_network
from tinygen.bench.sparse_dense import break_even
from tinygen.bench.suites import Section, SuiteCases, SuiteOptions, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.gated import gated_layers
from tinygen.ir.graph import Graph
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.masked_conv_2d import MaskedConv2D
from tinygen.ir.ops.mix_weights import MixWeights

SUITE = "gated"
CHANNELS = (16, 32, 64, 128)
SIZES = (16, 8)
DENSITIES = (Fraction(1), Fraction(3, 4), Fraction(1, 2), Fraction(1, 4))
KINDS = ("fbs", "fbs-condconv", "ftwt")
"""Methods: gates, gates and experts, predicted masks of a dynamic signature."""
WHOLE = ("fbs", "ftwt")
"""Methods whose layers are also measured with all channels computed, and dead ones set to zero (`--gates never`)."""
WHOLE_DENSITIES = (Fraction(1), Fraction(3, 4))
_ALL = "-all"
_LAYER = "conv1"
"""The second of two: its input has live channels only, too."""
_PARTS: Mapping[str, tuple[str, ...]] = {
    "gate": ("saliency", "scores", "maxima", "powers", "logits"),
    "list": ("winners", "live"),
    "mixing": ("mean", "router", "alpha", "mixed"),
}
"""What is behind the layer's name in those of its operators."""
_Row = dict[str, Any]


@suite(
    SUITE,
    "3x3 convolutions that keep a share of their channels for each input: FBS, FBS + CondConv, FTWT, dense",
    report=lambda rows: [Section("Gated layers", tables=[text])] if (text := gated_markdown(rows)) else [],
)
def cases(options: SuiteOptions) -> SuiteCases:
    found = []
    for channels in CHANNELS:
        for size in SIZES:
            series = f"conv_3x3_{channels}_{size}x{size}"
            text = f"3x3 {channels}->{channels} @{size}x{size}"
            found.append(_case(series, "dense", text, channels, size, Method()))
            for kind in KINDS:
                for density in DENSITIES:
                    name = f"{kind}-{round(100 * density)}"
                    found.append(_case(series, name, f"{text}, {name}", channels, size, _method(kind, density)))
            for kind, density in itertools.product(WHOLE, WHOLE_DENSITIES):
                name = f"{kind}{_ALL}-{round(100 * density)}"
                case = _case(series, name, f"{text}, {name}", channels, size, _method(kind, density))
                found.append(replace(case, gates="never"))
    return SuiteCases(found)


def _method(kind: str, density: Fraction) -> Method:
    if kind.startswith("ftwt"):
        return Method(predictor=True, firing=density)
    return Method(density, EXPERTS if kind == "fbs-condconv" else 0)


def _case(series: str, name: str, text: str, channels: int, size: int, method: Method) -> Case:
    title = f"{series}_{name}"
    layers = (ConvLayer(channels), ConvLayer(channels))
    graph = gated_network(title.replace("-", "_"), layers, (size, size, 4), method)
    case = case_of(SUITE, title, MemoryModel(graph, f"{title} (random weights)"), text)
    kind = name.rpartition("-")[0] or name
    density = float(method.density or method.firing or 1)
    live = math.ceil((method.firing or 1) * channels)
    every = sum(layer.whole for layer in gated_layers(graph) if layer.name == _LAYER)
    macs = every if kind.endswith(_ALL) else _macs(graph, live)
    return replace(case, figures={"gated": {"layer": series, "kind": kind, "density": density, "macs": macs}})


def _macs(graph: Graph, live: int) -> int:
    """Those of the layer: of its convolution, and of mixing its weights. Heads are not counted, as in Raju 2022.

    Args:
        live: channels of a dynamic signature.
    """
    found = 0
    for node in graph.nodes():
        if not node.op.name.startswith(_LAYER):
            continue
        if isinstance(node.op, MaskedConv2D):
            found += node.op.live_macs(node, live, live)
        elif isinstance(node.op, GatherConv2D | Conv2D | MixWeights):
            found += node.op.macs(node)
    return found


def gated_lines(rows: Sequence[_Row]) -> list[_Row]:
    """A row per layer, method and density of one board and compiler.

    Returns:
        layer, kind, density; cycles of the layer with its gate, `share` of those of the dense kernel, `macs_share`;
        `of_saving`: the share of the saving of MAC that cycles save, None where there is none; cycles of the parts:
        `gate`, `list`, `mixing`, `convolution`, which includes mixing filter by filter, masks, gathers and scatters.
    """
    mine = [row | row["gated"] | {"parts": _parts(row)} for row in rows]
    dense = {row["layer"]: row for row in mine if row["kind"] == "dense"}
    found = []
    for row in mine:
        base = dense.get(row["layer"])
        if row["kind"] == "dense" or base is None:
            continue
        cycles, whole = sum(row["parts"].values()), base["parts"]["convolution"]
        share, macs_share = cycles / whole, row["macs"] / base["macs"]
        found.append(
            {
                **{key: row[key] for key in ("layer", "kind", "density")},
                "cycles": cycles,
                "share": share,
                "macs_share": macs_share,
                "dense": whole,
                "of_saving": (1 - share) / (1 - macs_share) if macs_share < 1 else None,
                **row["parts"],
            }
        )
    return found


def _parts(row: _Row) -> dict[str, float]:
    found = dict.fromkeys((*_PARTS, "convolution"), 0.0)
    for layer in row["layers"]:
        name = layer["name"]
        if not name.startswith(_LAYER):
            continue
        part = name.removeprefix(_LAYER).lstrip("_")
        found[next((key for key, ends in _PARTS.items() if part in ends), "convolution")] += layer["cycles_predicted"]
    return found


def break_evens(lines: Sequence[_Row]) -> dict[tuple[str, str], float | None]:
    """Per layer and method the density in per cent below which it beats the dense kernel; None if there is none."""
    found = {}
    for place in dict.fromkeys((line["layer"], line["kind"]) for line in lines):
        own = sorted(
            (100 * (1 - line["density"]), line["dense"], line["cycles"])
            for line in lines
            if (line["layer"], line["kind"]) == place
        )
        crossing = break_even(own)
        found[place] = None if crossing is None else 100 - crossing
    return found


def refusals(lines: Sequence[_Row]) -> dict[tuple[str, str], float | None]:
    """Per layer and method the density in per cent above which all channels take fewer cycles than the live ones alone,
    with the gate in either case; None if that is not so, or was not measured.
    """
    whole = {(line["layer"], line["kind"]): line["cycles"] for line in lines if line["density"] == 1}
    found: dict[tuple[str, str], float | None] = {}
    for place in dict.fromkeys((line["layer"], line["kind"]) for line in lines):
        layer, kind = place
        cost = whole.get((layer, f"{kind}{_ALL}"))
        own = sorted(
            (100 * (1 - line["density"]), cost, line["cycles"])
            for line in lines
            if cost is not None and (line["layer"], line["kind"]) == place
        )
        crossing = break_even(own)
        found[place] = 100 - crossing if crossing else None
    return found


def gated_markdown(rows: Sequence[_Row]) -> str:
    """Tables in Markdown, one per board and compiler; "" if no row is of the suite."""
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        if row["suite"] == SUITE and not row["error"]:
            groups.setdefault((row.get("board", ""), row["toolchain"]), []).append(row)
    texts = []
    for (board, toolchain), mine in groups.items():
        lines = gated_lines(mine)
        if lines:
            texts.append(f"{board}, {toolchain}\n\n{_table(lines)}")
    return "\n\n".join(texts)


_HEADS = (
    "layer",
    "method",
    "kept",
    "MAC",
    "cycles",
    "of the saving",
    "gate",
    "list",
    "mixing",
    "pays below",
    "all above",
)


def _table(lines: Sequence[_Row]) -> str:
    crossings, refused = break_evens(lines), refusals(lines)
    table = []
    for line in lines:
        crossing, above = (found[line["layer"], line["kind"]] for found in (crossings, refused))
        shares = [f"{100 * line[part] / line['dense']:.1f} %" for part in _PARTS]
        table.append(
            (
                line["layer"],
                line["kind"],
                f"{100 * line['density']:.0f} %",
                f"{line['macs_share']:.3f}",
                f"{line['share']:.3f}",
                "" if line["of_saving"] is None else f"{100 * line['of_saving']:.0f} %",
                *shares,
                "never" if crossing is None else f"{crossing:.0f} %",
                "" if above is None else f"{above:.0f} %",
            )
        )
    return markdown_table(_HEADS, table, 2)
