"""Suite `lowbit-networks`: the networks that people deploy, by recipes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.torch_models import need
from tinygen.bench import lowbit_networks
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.errors import TinygenError

need("torch")


def test_cases() -> None:
    """Only what is asked for; inner layers have the recipe's bits, and the networks their published sizes."""
    found = find_suite("lowbit-networks").cases(SuiteOptions(only=("*_w2a2", "ds_cnn_xnor")))
    assert [(case.name, case.shape, case.encoding, case.macs) for case in found.cases] == [
        ("ds_cnn_w2a2", "1x49x10x1 -> 1x12", "2-bit x 2-bit", 2_656_768),
        ("ds_cnn_xnor", "1x49x10x1 -> 1x12", "binary x binary", 2_656_768),
        ("mobilenet_w2a2", "1x96x96x1 -> 1x2", "2-bit x 2-bit", 7_157_888),
        ("mobilenet_v2_w2a2", "1x64x64x3 -> 1x2", "2-bit x 2-bit", 4_737_728),
        ("resnet8_w2a2", "1x32x32x3 -> 1x10", "2-bit x 2-bit", 12_501_632),
    ]
    assert len(found.cases) + len(found.unwanted) == 23
    once, again = (lowbit_networks.untrained("ds_cnn", "w2a2").tensors for _ in range(2))
    assert all(np.array_equal(once[name].data, again[name].data) for name in once if once[name].data is not None)


def test_the_table_sets_int8_beside_the_others() -> None:
    """Of the same network and build only; failed rows have no line."""

    def row(network: str, recipe: str, board: str, cycles: int | None) -> dict[str, Any]:
        build = {"board": board, "toolchain": "zig", "kernels": "compact"}
        figures = {"cycles_predicted": cycles, "arena_bytes": 1000, "flash_bytes": 2000}
        return {"network": network, "recipe": recipe, **build, **figures}

    rows = [row("a", "int8", "x", 4000), row("a", "xnor", "x", 1000), row("a", "xnor", "y", 1000)]
    (section,) = lowbit_networks.sections([*rows, row("b", "int8", "x", None)])
    assert section.tables[0].splitlines()[2:] == [
        "| a | int8 | x | zig | compact | 4,000 (1.00) | 1,000 (1.00) | 2,000 (1.00) |",
        "| a | xnor | x | zig | compact | 1,000 (0.25) | 1,000 (1.00) | 2,000 (1.00) |",
        "| a | xnor | y | zig | compact | 1,000 | 1,000 | 2,000 |",
    ]
    assert lowbit_networks.sections([]) == []


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(network: str, recipe: str) -> None:
        raise ModuleNotFoundError(name="torch")

    monkeypatch.setattr(lowbit_networks, "untrained", missing)
    with pytest.raises(TinygenError, match=r"(?s)torch is not installed.*pip install"):
        find_suite("lowbit-networks").cases(SuiteOptions())


@pytest.mark.long
def test_on_a_board() -> None:
    """The codes of the semantics, in tuned kernels."""
    options = BenchOptions(kernels=("compact",), toolchains=("zig",), only=("ds_cnn_w*", "resnet8_xnor"), jobs=1)
    for row in bench([], ["lowbit-networks"], options).rows:
        assert row["error"] is None and row["max_abs_diff"] == 0
        assert all(layer["kernel"] != "conv_2d_codes" for layer in row["layers"])
