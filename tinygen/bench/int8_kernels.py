"""Suite `int8-kernels`: single int8 layers, those that are published for CMSIS-NN and some awkward ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tinygen.bench import layers
from tinygen.bench.case import Case, case_of
from tinygen.bench.layers import Window
from tinygen.bench.suites import SuiteCases, SuiteOptions, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape

SUITE = "int8-kernels"
_Entry = tuple[str, str, Callable[[str], MemoryModel]]


def _conv(image: Shape, filters: int, window: Window) -> _Entry:
    (rows, columns), (height, width, channels) = window.kernel, image
    name = f"conv_{rows}x{columns}_{channels}_{filters}_{height}x{width}_{_suffix(window)}"
    shape = f"{rows}x{columns} {channels}->{filters} @{height}x{width} {window}"
    return name, shape, partial(layers.conv_2d, image=image, filters=filters, window=window)


def _depthwise(image: Shape, window: Window) -> _Entry:
    (rows, columns), (height, width, channels) = window.kernel, image
    name = f"dw_{rows}x{columns}_{channels}_{height}x{width}_{_suffix(window)}"
    shape = f"{rows}x{columns}x{channels} @{height}x{width} {window}"
    return name, shape, partial(layers.depthwise_conv_2d, image=image, window=window)


def _dense(depth: int, outputs: int) -> _Entry:
    make = partial(layers.fully_connected, depth=depth, outputs=outputs)
    return f"fc_{depth}_{outputs}", f"{depth}->{outputs}", make


def _pool(kind: str, image: Shape, window: Window) -> _Entry:
    (rows, columns), (height, width, channels) = window.kernel, image
    make = layers.average_pool_2d if kind == "avgpool" else layers.max_pool_2d
    name = f"{kind}_{rows}x{columns}_{channels}_{height}x{width}"
    return name, f"{rows}x{columns}x{channels} @{height}x{width} {window}", partial(make, image=image, window=window)


def _suffix(window: Window) -> str:
    suffix = "s" + "x".join(map(str, dict.fromkeys(window.stride)))
    return suffix if window.padding is Padding.SAME else f"{suffix}_valid"


def _entries() -> list[_Entry]:
    k1, k3, k5 = (1, 1), (3, 3), (5, 5)
    s2 = (2, 2)
    return [
        # Published for CMSIS-NN's kernels alone.
        _conv((32, 32, 16), 16, Window(k3)),
        _conv((25, 5, 64), 64, Window(k1)),
        _depthwise((25, 5, 64), Window(k3)),
        _dense(256, 128),
        _conv((32, 32, 3), 16, Window(k3)),
        _conv((8, 8, 64), 64, Window(k3)),
        _conv((6, 6, 128), 128, Window(k1)),
        _depthwise((24, 24, 32), Window(k3)),
        _depthwise((24, 24, 32), Window(k3, s2)),
        _dense(640, 128),
        _dense(64, 12),
        # Published as layers of models.
        _conv((49, 10, 1), 64, Window((10, 4), s2)),
        _conv((96, 96, 3), 8, Window(k3, s2)),
        _conv((32, 32, 16), 32, Window(k1, s2)),
        _pool("avgpool", (25, 5, 64), Window((25, 5), (25, 5), Padding.VALID)),
        ("add_32x32x16", "32x32x16", partial(layers.add, image=(32, 32, 16))),
        # Awkward ones: odd channels, uneven borders, other windows.
        _conv((15, 17, 13), 21, Window(k3)),
        _conv((14, 14, 8), 16, Window(k5, padding=Padding.VALID)),
        _conv((9, 9, 7), 5, Window(k1)),
        _depthwise((20, 20, 24), Window(k5, s2)),
        _depthwise((11, 13, 19), Window(k3)),
        _dense(101, 35),
        _pool("avgpool", (12, 12, 18), Window(k3, s2)),
        _pool("maxpool", (16, 16, 32), Window((2, 2), s2, Padding.VALID)),
        ("softmax_12", "12", partial(layers.softmax, classes=12)),
    ]


@suite(SUITE, "single int8 layers: those published for CMSIS-NN, and awkward ones")
def cases(options: SuiteOptions) -> SuiteCases:
    return SuiteCases([_case(*entry) for entry in _entries()])


def _case(name: str, shape: str, make: Callable[[str], MemoryModel]) -> Case:
    return case_of(SUITE, name, make(name), shape)
