"""The acceptance suite of the top-level folder `hil`: it passes where all is well, and sees what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from hil import cover, foreign
from hil.clock import core_rate, line_rate, tolerance_of
from hil.loops import COMMAND, NAMES, build_loops, client_of, predict_loops, right_sums, time_loops
from hil.place import Place
from hil.test_1_clock import FACTOR, REGISTERS
from hil.timing import compare
from tests.hil.pretend_board import pretend_board
from tests.targets.tools import requires_package, requires_tool
from tinygen.bench import layers
from tinygen.bench.layers import Window
from tinygen.builds.manifest import read_manifest
from tinygen.errors import BoardError, DeviceError
from tinygen.hil.transports import Transport
from tinygen.targets.board import Board, CacheTiming, MemoryTiming
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.cycles.fit import fit
from tinygen.targets.emulator.symbols import Symbols
from tinygen.targets.first_light import LOOP, FirstLight, Point
from tinygen.verbs.build import BuildOptions, build

pytestmark = requires_package("unicorn")
ROOT = Path(__file__).parents[2]
BOARD = load_board("f746zg")
EMULATED = [name for name in list_boards() if load_board(name).emulator.engine in ("unicorn", "qemu")]

EACH_CORE = ("f746zg", "l4r5zi", "u575zi-q", "esp32c3")
FIRST = "speed or time or rate or loops"
"""Tests of the suite that differ from board to board."""
WHOLE = "bytes or program or digits"


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_loops(Place(BOARD), tmp_path_factory.mktemp("loops"))


def with_crystal(board: Board, factor: float) -> Board:
    """A board whose crystal is not what its file says."""
    clock = board.clock
    assert clock is not None
    return replace(
        board, clock=replace(clock, source_hz=int(clock.source_hz * factor), sysclk_hz=int(clock.sysclk_hz * factor))
    )


def slower_memories(board: Board, factor: int) -> Board:
    """A board whose caches are off, or that waits for its flash longer than it should."""
    timing = board.timing
    assert timing is not None

    def slowed(cache: CacheTiming) -> CacheTiming:
        return replace(cache, regions=tuple((low, high, factor * miss) for low, high, miss in cache.regions))

    return replace(board, timing=MemoryTiming(slowed(timing.code), slowed(timing.data)))


@pytest.mark.parametrize(
    "toolchain",
    [
        "zig",
        pytest.param("gcc", marks=(pytest.mark.long, requires_tool("arm-none-eabi-gcc"))),
    ],
)
def test_the_table_of_the_loops_lies_in_flash(toolchain: str, loops: Path, tmp_path: Path) -> None:
    folder = loops if toolchain == "zig" else build_loops(Place(BOARD, toolchain=toolchain), tmp_path)
    address = Symbols(folder / "firmware.elf").address("table")
    assert BOARD.link_flash.contains(address)


def test_a_good_board_keeps_time(loops: Path) -> None:
    with Place(BOARD).line(loops) as line:
        assert client_of(line).info().clock_hz == BOARD.core_hz
        core, uart = core_rate(line, BOARD, 1.0), line_rate(line, BOARD)
    assert core.near(0.001) and abs(uart.error) < 0.005


def test_a_clock_at_the_wrong_rate_is_seen(loops: Path) -> None:
    """1.5 % too slow: the line still carries every byte."""
    with Place(BOARD, silicon=with_crystal(BOARD, 0.985)).line(loops) as line:
        assert client_of(line).info().clock_hz == BOARD.core_hz, "what the firmware believes"
        rate = core_rate(line, BOARD, 1.0)
    assert not rate.near(tolerance_of(BOARD)) and rate.error == pytest.approx(-0.015, abs=0.003)


def test_a_clock_that_the_line_cannot_follow_is_seen(loops: Path) -> None:
    with Place(BOARD, silicon=with_crystal(BOARD, 0.95)).line(loops) as line, pytest.raises((DeviceError, BoardError)):
        client_of(line).info()


def test_loops_take_what_is_predicted_and_slow_memories_are_seen(loops: Path) -> None:
    predicted, profile = predict_loops(BOARD, loops / "firmware.elf")
    with Place(BOARD, silicon=slower_memories(BOARD, 4)).line(loops) as line:
        counted, sums = time_loops(client_of(line))
    assert sums == right_sums()
    ratios = [counted[index] / predicted[index] for index in range(5)]
    assert abs(ratios[0] - 1) < REGISTERS, "registers alone wait for nothing"
    assert max(ratios) > FACTOR and sum(profile.layer_stalls) > 0
    points = tuple(
        Point(LOOP, name, cycles=counted[i], predicted=predicted[i], stalls=profile.layer_stalls[i])
        for i, name in enumerate(NAMES)
    )
    found = fit(FirstLight(BOARD.name, "as if on a desk", "measured", "", "", "", points=points))
    assert (found.core, found.memory) == (pytest.approx(1.0, abs=0.02), pytest.approx(4.0, abs=0.1))


class Dropping:
    """A port that loses every so manieth byte of what the board sends."""

    def __init__(self, transport: Transport, every: int) -> None:
        self._transport, self._every, self._count = transport, every, 0

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def read(self, size: int, timeout: float) -> bytes:
        kept = bytearray()
        for byte in self._transport.read(size, timeout):
            self._count += 1
            if self._count % self._every:
                kept.append(byte)
        return bytes(kept)

    def close(self) -> None:
        self._transport.close()


def test_a_port_that_drops_bytes_is_seen(loops: Path) -> None:
    with Place(BOARD).line(loops) as line:
        client = client_of(line, Dropping(line.transport, 40))
        with pytest.raises(DeviceError):
            client.infer([COMMAND])
    with Place(BOARD).line(loops) as line:
        client = client_of(line, Dropping(line.transport, 700))
        outputs = [client.infer([COMMAND]).outputs for _ in range(4)]
        assert client.troubles and set(outputs) == {(right_sums(),)}


def test_a_wrong_kernel_is_seen_and_named(tmp_path: Path) -> None:
    """One bit of one layer's weights, in the firmware alone."""
    graphs = {
        "conv_2d_s8": layers.conv_2d("conv", (5, 5, 4), 4, Window((3, 3))).graph,
        "fully_connected_s8": layers.fully_connected("dense", 16, 4).graph,
        "add": layers.add("add", (3, 3, 4)).graph,
    }
    wanted = [cover.Tried(kernel, graph, (graph.ops[0].name,)) for kernel, graph in graphs.items()]
    (batch,) = cover.batches(wanted)
    options = BuildOptions(board=BOARD.name, layer_kernels=tuple(batch.kernels.items()))
    build(batch.model, tmp_path / "good", options, profile=False)
    assert {layer.kernel for layer in read_manifest(tmp_path / "good").layers} == set(graphs)
    with Place(BOARD).device(tmp_path / "good") as device:
        assert compare(device, tmp_path / "good", count=2)[0] == []
    written = {layer.kernel: layer.outputs[0].name for layer in read_manifest(tmp_path / "good").layers}
    _flip(tmp_path / "good" / "firmware.elf", written["conv_2d_s8"].partition("_")[0])
    with Place(BOARD).device(tmp_path / "good") as device:
        assert compare(device, tmp_path / "good", count=2)[0] == [written["conv_2d_s8"]]


def _flip(elf: Path, layer: str) -> None:
    """Changes a bit of the weights of a layer."""
    with elf.open("rb") as file:
        content = ELFFile(file)
        table = content.get_section_by_name(".symtab")
        names = {s.name: s for s in table.iter_symbols() if s["st_info"]["type"] == "STT_OBJECT"}
        symbol = next(s for name, s in names.items() if f"{layer}_" in name and "weights" in name)
        section = content.get_section(symbol["st_shndx"])
        place = section["sh_offset"] + symbol["st_value"] - section["sh_addr"]
    data = bytearray(elf.read_bytes())
    data[place] ^= 0x40
    elf.write_bytes(data)


@pytest.mark.parametrize(
    ("port", "code", "said", "outcome"),
    [
        ("labwired", bytes(4), "Instruction decoding error at 0x42020be2", pytest.skip.Exception),
        ("labwired", bytes.fromhex("731000c0"), "Instruction decoding error at 0x42020be2", pytest.skip.Exception),
        ("labwired", bytes.fromhex("13050000"), "Instruction decoding error at 0x42020be2", BoardError),
        ("labwired", bytes(4), "Memory access violation at 0x42020be2", BoardError),
        ("emulated", bytes(4), "Instruction decoding error at 0x42020be2", BoardError),
    ],
)
def test_only_where_labwired_stops_at_what_no_core_has_is_a_gap(
    port: str, code: bytes, said: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "_code_at", lambda elf, address: code if address == 0x42020BE2 else b"")
    with pytest.raises(outcome), foreign.no_exception_of(Place(load_board("esp32c3"), port), Path("firmware.elf")):
        raise BoardError(f"labwired stopped: {said}", where="esp32c3-labwired")


_WITHOUT = [word for name in ("cacheprovider", "hypothesispytest", "xdist") for word in ("-p", f"no:{name}")]
"""Plugins that the suite does not use: to import them takes a fifth of the start."""


def run_suite(
    board: str, out: Path, *options: str, tests: str = "hil"
) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    command = [sys.executable, "-m", "pytest", "-q", *_WITHOUT, tests, "--board", board, "--out", out]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words: Sequence[str | Path] = [*command, *options]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    report = out / f"first-light-{board}.json"
    assert report.is_file(), done.stdout[-3000:] + done.stderr[-1000:]
    return done, json.loads(report.read_text())


def test_most_kernels_are_tried_on_a_layer() -> None:
    found, left = cover.tried_on(load_board("esp32c3").isa)
    assert len(found) > 10 * len(left), left


@pytest.mark.long
@pytest.mark.parametrize("board", EMULATED)
def test_on_emulated_boards(board: str, tmp_path: Path) -> None:
    """Kernels and digits on a board of each core: on the others, they are the same instructions."""
    # To find a layer for each kernel takes as long as the tests of the clock, which need none.
    each = board in EACH_CORE
    chosen, tests = (f"{FIRST} or {WHOLE} or kernels", "hil") if each else (FIRST, "hil/test_1_clock.py")
    done, found = run_suite(board, tmp_path, "--few", "--inputs", "3", "-k", chosen, tests=tests)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (found["source"], found["passed"]) == ("predicted", True)


@pytest.mark.long
@requires_tool("qemu-system-arm")
@pytest.mark.parametrize(("board", "more"), [("netduinoplus2", "kernels"), ("mps2-an500", WHOLE)])
def test_on_qemu(board: str, more: str, tmp_path: Path) -> None:
    done, found = run_suite(board, tmp_path, "--port", "qemu", "--few", "--inputs", "3", "-k", f"{FIRST} or {more}")
    assert done.returncode == 0, done.stdout[-3000:]
    points = found["points"]
    assert isinstance(points, list) and all(point["cycles"] is None for point in points)


@pytest.mark.long
@requires_package("labwired")
def test_on_labwired(tmp_path: Path) -> None:
    """What it lacks is a gap that the report names, and not a failure."""
    chosen = f"({FIRST} or {WHOLE} or broken or kernels) and not words"
    done, found = run_suite("l476rg", tmp_path, "--port", "labwired", "--few", "--inputs", "2", "-k", chosen)
    assert done.returncode == 0, done.stdout[-3000:]
    results = {check["name"]: check for check in found["checks"]}  # type: ignore[attr-defined]
    assert results["a broken program is reported"]["status"] == results["models[digits]"]["status"] == "passed"
    gap = results["kernels[kernels 0]"]["message"]
    assert gap.startswith("labwired does not know vcmp.f32"), "when it knows that, more can be tried there"


@pytest.mark.long
def test_on_a_board_that_is_flashed(tmp_path: Path) -> None:
    """As on a real board: each firmware is flashed, a serial port is opened. What is behind that is emulated, so its
    cycles are not taken for measured ones.
    """
    with pretend_board(BOARD, tmp_path) as (port, command):
        options = (
            "--port",
            port,
            "--flash-with",
            command,
            "--few",
            "--inputs",
            "2",
            "-k",
            "not words and not switches",
        )
        done, found = run_suite(BOARD.name, tmp_path / "out", *options)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (found["source"], found["place"]) == ("reported", port)
    points = found["points"]
    assert isinstance(points, list) and len(points) > 20
    assert all(abs(point["cycles"] - point["predicted"]) < max(0.01 * point["predicted"], 100) for point in points)


@pytest.mark.parametrize("port", ["auto:no-such-board", "/dev/no-such-port"])
def test_a_board_that_is_not_there(port: str) -> None:
    """One error, and what to do about it, instead of a traceback for each test."""
    words = [sys.executable, "-m", "pytest", "hil", "--port", port]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    said = (done.stdout + done.stderr).strip().splitlines()
    assert len(said) < 4 and "Ports that are there" in said[-1]
