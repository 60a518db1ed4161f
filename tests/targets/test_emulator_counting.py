"""Counting: in C, in Python and by Unicorn's own instruction hook, the same."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import unicorn

import tinygen.cache
from tests.targets.build import build, model_with_invoke
from tests.targets.tools import requires_tool
from tinygen.cache import CACHE_VARIABLE, cache_folder
from tinygen.errors import ToolchainError
from tinygen.hil.client import DeviceClient
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard, Profile, native
from tinygen.targets.emulator.counters import make_counter
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.fallback import PythonCounter
from tinygen.targets.toolchains.gcc import HostCc
from tinygen.targets.toolchains.objects import ObjectCache

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


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    native.load_library.cache_clear()
    yield cache_folder()
    native.load_library.cache_clear()


def test_without_compiler(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(native, "_compilers", lambda: iter([HostCc("false")]))
    assert isinstance(make_counter(), PythonCounter)
    with pytest.raises(ToolchainError, match="could not be built"):
        make_counter(True)


def test_the_wheel_of_zig_can_build_the_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert native._loaded(native._build()).tinygen_on_block


def loads() -> subprocess.CompletedProcess[str]:
    """A process that loads the counter: what it loads may end it."""
    program = "from tinygen.targets.emulator.native import load_library; load_library().tinygen_on_block"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped"])
def test_a_damaged_counter_is_built_again(damage: str, cache: Path) -> None:
    """Half a library ends the process that loads it (SIGBUS, SIGSEGV)."""
    native.load_library()
    (kept,) = (path for path in cache.rglob("*") if path.is_file())
    content = kept.read_bytes()
    kept.write_bytes({"cut": content[: len(content) // 2], "emptied": b""}.get(damage, content.swapcase()))
    done = loads()
    assert done.returncode == 0, done
    assert kept.read_bytes() == content


def planted(folder: Path, name: str) -> tuple[Path, Path]:
    """A library that somebody has put there, and the file that it makes once it is loaded."""
    proof = folder / "proof"
    source = folder / "planted.c"
    source.write_text(
        "#include <stdio.h>\nvoid tinygen_on_block(void) {}\nvoid tinygen_on_instruction(void) {}\n"
        f'__attribute__((constructor)) static void run(void) {{ fclose(fopen("{proof}", "w")); }}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", folder / name], check=True)
    return folder / name, proof


@requires_tool("cc")
def test_what_others_leave_in_the_temporary_folder_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is no cache."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file/cache"))
    shared = tmp_path / "tmp" / f"tinygen-{os.getuid()}"
    shared.mkdir(parents=True)
    shared.parent.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(shared.parent))
    key = hashlib.sha256(native._SOURCE.read_bytes() + f"{sys.platform} {platform.machine()}".encode()).hexdigest()
    _, proof = planted(shared, f"hooks-{key[:16]}.so")
    done = loads()
    assert done.returncode == 0, done
    assert not proof.exists() and os.listdir(shared.parent) == [shared.name]


@requires_tool("cc")
@pytest.mark.parametrize("others", ["write", "own"])
def test_what_others_may_have_written_is_not_loaded(
    others: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    """In an entry that is whole."""
    native.load_library()
    (kept,) = (path for path in cache.rglob("*") if path.is_file())
    library, proof = planted(tmp_path, "planted.so")
    ObjectCache(cache / "emulator").put(kept.stem, library.read_bytes())
    assert loads().returncode == 0 and proof.exists()  # so it would be loaded
    proof.unlink()
    if others == "write":
        kept.chmod(0o666)
    else:
        mine = os.getuid()
        monkeypatch.setattr(tinygen.cache.os, "getuid", lambda: mine + 1)
        assert ObjectCache(cache / "emulator").get(kept.stem) is None
        return
    assert loads().returncode == 0 and not proof.exists()
    assert kept.stat().st_mode & 0o777 == 0o600
