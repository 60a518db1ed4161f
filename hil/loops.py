"""The firmware of loops.c: loops of known cost, in the place of a network."""

from __future__ import annotations

from pathlib import Path

from hil.place import Line, Place
from tinygen.hil.client import DeviceClient
from tinygen.hil.transports import Transport
from tinygen.project.firmware import write_firmware_project
from tinygen.targets.board import Board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.profile import Profile
from tinygen.targets.toolchain import build_elf, find_toolchain

NAMES = ("registers", "flash", "lines", "ram", "code")
BLOCK_BYTES = 46080
"""Of the trace's only tensor."""
COMMAND, FAULT = bytes(8), bytes([0xFA, *bytes(7)])
_WORD = 1 << 32


def build_loops(place: Place, folder: Path) -> Path:
    """The folder with the firmware."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app_model.c").write_text((Path(__file__).parent / "loops.c").read_text(encoding="utf-8"))
    project = write_firmware_project(place.board, folder)
    build_elf(project, find_toolchain(place.toolchain, place.board))
    return folder


def right_sums() -> bytes:
    """What the loops come to."""
    registers = 1
    for _ in range(4000):
        registers = (registers * 1664525 + 1013904223) % _WORD
    ram = list(range(256))
    total = 0
    for _ in range(16):
        for index in range(256):
            total = (total + ram[index]) % _WORD
            ram[index] = total
    code = 1
    for _ in range(2 * 4096):
        code ^= code << 1 & (_WORD - 1)
    words = (registers, 32 * 128 * 0x01234567, 2048 * 0x01234567, total, code)
    return b"".join((word % _WORD).to_bytes(4, "little") for word in words)


def client_of(line: Line, transport: Transport | None = None) -> DeviceClient:
    """A client that keeps the line's time; emulated boards and QEMU have just started."""
    client = DeviceClient(transport or line.transport, clock=line.now, nonce=0 if line.emulated else None)
    client.line.resynchronise()
    return client


def time_loops(client: DeviceClient) -> tuple[dict[int, int], bytes]:
    """Cycles of each loop by the device's own counter, once everything has run before; and the sums."""
    client.infer([COMMAND])
    cycles, _ = client.on_inputs([COMMAND], client.profile)
    return cycles, client.infer([COMMAND]).outputs[0]


def predict_loops(board: Board, elf: Path) -> tuple[dict[int, int], Profile]:
    """The same on the emulated board: cycles by its counter, and what they are made of."""
    emulated = EmulatedBoard(board, elf, Watch(cost=board_cost(board, elf)))
    client = DeviceClient(emulated, nonce=0, clock=lambda: emulated.cycles / board.core_hz)
    client.wait_for_boot()
    client.infer([COMMAND])
    client.load(0, COMMAND)
    emulated.clear_profile()
    cycles, _ = client.profile()
    return cycles, emulated.profile(len(NAMES))
