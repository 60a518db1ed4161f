"""Where arena and weights lie on a board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.networks import Network, mobilenet
from tests.targets.tools import requires_tool
from tinygen.demo import MODEL, load_test_digits
from tinygen.errors import TinygenError
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.verify import verify


def test_the_arena_lies_in_the_fastest_ram(tmp_path: Path) -> None:
    """Tightly coupled memory comes first, right behind the stack; what does not fit goes on in the next."""
    path = tmp_path / "net.tflite"
    path.write_bytes(mobilenet(48).model())
    small = build(path, tmp_path / "small", BuildOptions(), profile=False).as_json()
    assert list(small["arena_memory"]) == ["DTCM"]
    net = Network(1)
    net.conv(net.input(64, 64, 8), 8, 3)
    path.write_bytes(net.model())
    large = build(path, tmp_path / "large", BuildOptions(), profile=False).as_json()
    assert set(large["arena_memory"]) == {"DTCM", "SRAM1"}
    assert 0 <= sum(large["arena_memory"].values()) - large["arena_bytes"] < 16
    fast = load_board("f746zg").memory("DTCM").size
    assert large["arena_memory"]["DTCM"] == fast - large["stack_bytes"]


@pytest.mark.parametrize(
    "toolchain", ["zig", pytest.param("gcc", marks=[requires_tool("arm-none-eabi-gcc"), pytest.mark.long])]
)
def test_weights_in_ram(tmp_path: Path, toolchain: str) -> None:
    """They take RAM and flash, the start-up code copies them, and the codes are the same."""
    flash, ram = (
        build(MODEL, tmp_path / weights, BuildOptions(toolchain=toolchain, weights=weights), profile=False).as_json()
        for weights in ("flash", "ram")
    )
    parts = [{region["name"]: region["parts"]["model weights"] for region in m["memory"]} for m in (flash, ram)]
    assert parts[0]["RAM"] == 0
    assert parts[1]["RAM"] == parts[1]["flash"] == parts[0]["flash"] > 1000
    images, labels = load_test_digits()
    np.savez(tmp_path / "x.npz", x=images[:5], y=labels[:5])
    report = verify(MODEL, tmp_path / "x.npz", BuildOptions(toolchain=toolchain, weights="ram"))
    assert report.identical


def test_weights_elsewhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="weights cannot lie in 'moon'") as caught:
        build(MODEL, tmp_path / "out", BuildOptions(weights="moon"))
    assert "flash, ram" in caught.value.fix


def test_weights_leave_flash_that_is_slow(tmp_path: Path) -> None:
    """Not where little RAM was asked for, where flash was, or where they would take most of it."""
    large = tmp_path / "large.tflite"
    net = Network(1)
    net.conv(net.input(2, 2, 84), 80, 3)
    large.write_bytes(net.model())

    def memory(model: Path, **options: object) -> object:
        chosen = BuildOptions(**options)  # type: ignore[arg-type]
        return build(model, tmp_path / "out", chosen, profile=False).as_json()["weights"]

    assert memory(MODEL, board="esp32c3") == "ram"
    assert memory(MODEL, board="esp32c3", weights="flash") == "flash"
    assert memory(MODEL, board="esp32c3", stream=True) == "flash"
    assert memory(large, board="esp32c3") == "flash"
    assert memory(MODEL, board="l4r5zi") == "flash"
