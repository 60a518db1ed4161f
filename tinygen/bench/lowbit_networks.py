"""Suite `lowbit-networks`: networks that people deploy, by recipes of tinygen.nn, with random weights.

DS-CNN for keywords (49x10 features, 64 channels), MobileNet v1 with a quarter of the channels on 96x96 pixels, and
ResNet-8 on 32x32 pixels, all as in MLPerf Tiny (arXiv 2106.07597); MobileNet v2 with 0.35 of the channels on 64x64
pixels (arXiv 1801.04381). First and last layers have int8 weights, by recipe "mixed" depthwise ones, too. A batch of
noise gives batch norms and ranges: cycles and memory hardly depend on what was learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tinygen.bench.case import Case, case_of, encoding_of
from tinygen.bench.figures import markdown_table
from tinygen.bench.mobilenet import BLOCKS
from tinygen.bench.suites import Row, Section, SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor, nn

SUITE = "lowbit-networks"
RECIPES = ("int8", "w4a4", "w2a2", "mixed", "ternary", "xnor")
_MIXED = "w4a4"
"""The recipe of "mixed", but for depthwise layers."""
IMAGES: Mapping[str, tuple[int, int, int]] = {
    "ds_cnn": (1, 49, 10),
    "mobilenet": (1, 96, 96),
    "mobilenet_v2": (3, 64, 64),
    "resnet8": (3, 32, 32),
}
"""[C, H, W] of each network's input."""
_RESIDUALS = ((1, 8, 1, 1), (6, 8, 2, 2), (6, 16, 3, 2), (6, 24, 4, 2), (6, 32, 3, 1), (6, 56, 3, 2), (6, 112, 1, 1))
"""(expansion, channels, blocks, stride of the first) of MobileNet v2, table 2 of its paper, times 0.35."""
_BATCH = 4
_INNER_LAYER = 1


@suite(
    SUITE,
    "DS-CNN, MobileNet v1 and v2 and ResNet-8 by each recipe, beside int8; random weights (needs torch)",
    ("compact",),
    report=lambda rows: sections(rows),
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch is not installed.
    """
    names = [(network, recipe) for network in IMAGES for recipe in RECIPES if (network, recipe) != ("resnet8", "mixed")]
    wanted = [one for one in names if options.wanted(_name(*one))]
    with needs_packages(SUITE, fix="pip install 'tinygen[torch]'"):
        found = [_case(*one) for one in wanted]
    return SuiteCases(found, unwanted=[_name(*one) for one in names if one not in wanted])


def _name(network: str, recipe: str) -> str:
    return f"{network}_{recipe}"


def _case(network: str, recipe: str) -> Case:
    graph = untrained(network, recipe)
    name = _name(network, recipe)
    case = case_of(SUITE, name, MemoryModel(graph, f"{name} (not trained)"))
    figures = {"network": network, "recipe": recipe}
    return Case(SUITE, name, case.model, case.shape, encoding_of(graph, _INNER_LAYER), case.macs, figures=figures)


def untrained(network: str, recipe: str) -> Graph:
    """A network by a recipe, always the same."""
    import torch

    from tinygen.frontends.torch import export
    from tinygen.nn import convert

    makers: Mapping[str, Callable[[], nn.Module]] = {
        "ds_cnn": _ds_cnn,
        "mobilenet": _mobilenet,
        "mobilenet_v2": _mobilenet_v2,
        "resnet8": _resnet8,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = torch.rand(_BATCH, *IMAGES[network])
        made = makers[network]()
        mixed = recipe == "mixed"
        converted = convert(made, _MIXED if mixed else recipe, eight_bit=_outer_and_depthwise(made) if mixed else None)
        with torch.no_grad():
            converted.train()(noise)
        return export(converted.eval(), noise[:1], name=c_name(_name(network, recipe)))


def _outer_and_depthwise(network: nn.Module) -> set[str]:
    """Names of the first and last layer, and of depthwise ones."""
    from torch import nn

    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    first, *_, last = layers
    return {first, last, *(name for name, layer in layers.items() if getattr(layer, "groups", 1) > 1)}


def _layers(inputs: int, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A square convolution, a batch norm and a ReLU."""
    from torch import nn

    conv = nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(filters), nn.ReLU()]


def _separable(inputs: int, filters: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise convolution and one of 1x1."""
    return [*_layers(inputs, inputs, 3, stride, inputs), *_layers(inputs, filters, 1)]


def _ds_cnn() -> nn.Module:
    from torch import nn

    first = nn.Conv2d(1, 64, (10, 4), 2, (5, 1), bias=False)
    pairs = [layer for _ in range(4) for layer in _separable(64, 64)]
    return nn.Sequential(
        first, nn.BatchNorm2d(64), nn.ReLU(), *pairs, nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(64, 12)
    )


def _mobilenet() -> nn.Module:
    from torch import nn

    parts, inputs = _layers(1, 8, 3, 2), 8
    for stride, filters in BLOCKS:
        parts += _separable(inputs, filters, stride)
        inputs = filters
    return nn.Sequential(*parts, nn.AvgPool2d(3), nn.Flatten(), nn.Linear(inputs, 2))


def _mobilenet_v2() -> nn.Module:
    from torch import nn

    class Inverted(nn.Module):  # type: ignore[misc]  # torch is Any here
        """A layer of 1x1 to more channels, a depthwise one, one of 1x1 without ReLU; beside the input where it may."""

        def __init__(self, inputs: int, filters: int, expansion: int, stride: int) -> None:
            super().__init__()
            wide = inputs * expansion
            parts = _layers(inputs, wide, 1) if expansion > 1 else []
            parts += [*_layers(wide, wide, 3, stride, wide), *_layers(wide, filters, 1)[:-1]]
            self.main = nn.Sequential(*parts)
            self.beside = stride == 1 and inputs == filters

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.main(x)
            return result + x if self.beside else result

    parts, inputs = _layers(3, 16, 3, 2), 16
    for expansion, filters, count, stride in _RESIDUALS:
        for i in range(count):
            parts.append(Inverted(inputs, filters, expansion, 1 if i else stride))
            inputs = filters
    return nn.Sequential(*parts, *_layers(inputs, 1280, 1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1280, 2))


def _resnet8() -> nn.Module:
    from torch import nn

    class Block(nn.Module):  # type: ignore[misc]  # torch is Any here
        """Two convolutions beside the input, or beside a convolution of 1x1 where that changes its shape."""

        def __init__(self, inputs: int, filters: int, stride: int) -> None:
            super().__init__()
            second = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
            self.main = nn.Sequential(*_layers(inputs, filters, 3, stride), second, nn.BatchNorm2d(filters))
            beside = [nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)]
            self.beside = nn.Sequential(*beside) if stride > 1 else nn.Identity()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.relu(self.main(x) + self.beside(x))
            return result

    blocks = [Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    return nn.Sequential(*_layers(3, 16, 3), *blocks, nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))


# -- the table --------------------------------------------------------------------------------------------------------

_FIGURES = {"cycles": "cycles_predicted", "arena": "arena_bytes", "flash": "flash_bytes"}


def sections(rows: Sequence[Row]) -> list[Section]:
    """Cycles, arena and flash of each network, and relative to int8's of the same build."""
    found = [row for row in rows if row["cycles_predicted"]]
    base = {_build(row): row for row in found if row["recipe"] == "int8"}
    lines = [_line(row, base.get(_build(row))) for row in found]
    heads = ["Network", "Recipe", "Board", "Compiler", "Kernels", *_FIGURES]
    return [Section("Few bits beside int8", tables=[markdown_table(heads, lines, 5)])] if lines else []


def _build(row: Row) -> tuple[str, ...]:
    return tuple(row[key] for key in ("network", "board", "toolchain", "kernels"))


def _line(row: Row, base: Row | None) -> list[str]:
    network, *build = _build(row)
    figures = [f"{row[key]:,}" + (f" ({row[key] / base[key]:.2f})" if base else "") for key in _FIGURES.values()]
    return [network, row["recipe"], *build, *figures]
