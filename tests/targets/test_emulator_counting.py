"""Counting: in C, in Python and by Unicorn's own instruction hook, the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import unicorn

from tests.targets.build import build, model_with_invoke
from tinygen.errors import ToolchainError
from tinygen.hil.client import DeviceClient
from tinygen.paths import CACHE_VARIABLE
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard, Profile, native
from tinygen.targets.emulator.counters import make_counter
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.fallback import PythonCounter

X = bytes(range(16))


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board("f746zg")


@pytest.fixture(scope="module", params=["zig"])
def elf(request: pytest.FixtureRequest, board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(board, request.param, tmp_path_factory.mktemp("dummy")).elf


def profile_of(board: Board, elf: Path, **options: Any) -> tuple[Profile, EmulatedBoard, int]:
    """Profile of one inference, the board, and the cycles the firmware's own counter saw."""
    emulated = EmulatedBoard(board, elf, Watch(**options))
    client = DeviceClient(emulated, nonce=0)
    client.wait_for_boot()
    client.load(0, X)
    emulated.clear_profile()
    layers, cycles = client.profile()
    return emulated.profile(len(layers)), emulated, cycles


@pytest.mark.parametrize("strict", [False, True])
def test_python_counts_as_c_does(board: Board, elf: Path, strict: bool) -> None:
    in_c, board_c, cycles_c = profile_of(board, elf, native=True, strict=strict)
    in_python, board_python, cycles_python = profile_of(board, elf, native=False, strict=strict)
    assert in_c == in_python
    assert board_c.instructions == board_python.instructions
    assert cycles_c == cycles_python


def test_every_instruction_is_counted_once(board: Board, elf: Path) -> None:
    """Against Unicorn's instruction hook, which leaves out what an IT block skips, between entry and return."""
    profile, emulated, _ = profile_of(board, elf)
    other = EmulatedBoard(board, elf)
    executed: dict[int, int] = {}

    def on_instruction(uc: Any, address: int, size: int, user: Any) -> None:
        if other.counter.bucket >= 2:
            executed[address] = executed.get(address, 0) + 1

    other._uc.hook_add(unicorn.UC_HOOK_CODE, on_instruction)
    client = DeviceClient(other, nonce=0)
    client.wait_for_boot()
    client.load(0, X)
    executed.clear()
    client.profile()
    blocks: dict[int, int] = {}
    for block in profile.blocks:
        address = block.address
        while address < block.address + block.size:
            blocks[address] = blocks.get(address, 0) + block.count
            first = int.from_bytes(emulated.memories.read(address, 2), "little")
            address += 4 if first >> 11 >= 0x1D else 2
    assert sum(blocks.values()) == profile.instructions
    assert set(executed) <= set(blocks)
    # Equal where there is no IT block; never more.
    assert all(executed[address] <= count for address, count in blocks.items() if address in executed)
    assert sum(executed.values()) >= 0.9 * profile.instructions


def test_known_loop(board: Board, tmp_path: Path) -> None:
    """10 x 4 instructions in one function, and nothing lost between layers."""
    loop = '    __asm volatile("movs r3, #10\\n1: nop\\n nop\\n subs r3, #1\\n bne 1b" ::: "r3", "cc");'
    empty = build(board, "zig", tmp_path / "empty", model_with_invoke("", '    __asm volatile("" ::: "r3", "cc");')).elf
    with_loop = build(board, "zig", tmp_path / "loop", model_with_invoke("", loop)).elf
    counts = []
    for path in (empty, with_loop):
        emulated = EmulatedBoard(board, path)
        client = DeviceClient(emulated, nonce=0)
        client.wait_for_boot()
        emulated.clear_profile()
        client.run()
        counts.append(emulated.profile(2))
    assert counts[1].instructions - counts[0].instructions == 41
    assert counts[1].functions["invoke"] == counts[1].instructions == counts[1].layers[0]


def test_cost_function(board: Board, elf: Path) -> None:
    """A pipeline model's cycles: in the profile, and in what the firmware's cycle counter reads."""
    plain, _, plain_cycles = profile_of(board, elf)
    asked: list[tuple[int, int, int]] = []

    def cost(address: int, size: int, instructions: int) -> int:
        asked.append((address, size, instructions))
        return 3 * instructions + 1

    costly, _, cycles = profile_of(board, elf, cost=cost)
    assert costly.instructions == plain.instructions == plain.cycles
    passes = sum(block.count for block in costly.blocks)
    assert costly.cycles == 3 * plain.instructions + passes
    assert cycles > 3 * plain_cycles
    assert all(size >= 2 * instructions for _, size, instructions in asked)


def test_cost_function_that_fails(board: Board, elf: Path) -> None:
    def cost(address: int, size: int, instructions: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        profile_of(board, elf, cost=cost)


def test_cycle_counter_agrees_with_the_profile(board: Board, elf: Path) -> None:
    """What the firmware measures is the inference and a few instructions of reading the counter."""
    profile, _, cycles = profile_of(board, elf)
    assert profile.instructions <= cycles <= profile.instructions + 300


def test_without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(native.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(native, "_compilers", lambda: [["false"]])
    native.load_library.cache_clear()
    try:
        assert isinstance(make_counter(), PythonCounter)
        with pytest.raises(ToolchainError, match="could not be built"):
            make_counter(True)
    finally:
        native.load_library.cache_clear()


def test_the_wheel_of_zig_can_build_the_counter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert native._build(tmp_path / "hooks.so") == ""
    assert (tmp_path / "hooks.so").is_file()
