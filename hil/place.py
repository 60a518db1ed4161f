"""Where the suite's firmware runs: a real board that is flashed each time, its emulated twin, QEMU or labwired."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinygen.builds.manifest import MANIFEST
from tinygen.errors import DeviceError, FlashError
from tinygen.hil.device import Device, open_device
from tinygen.hil.ports import (
    EMULATED,
    LABWIRED,
    QEMU,
    STAND_INS,
    is_line_to_hardware,
    is_place,
    port_path,
    ports_text,
    serial_ports,
)
from tinygen.hil.transports import ProcessTransport, SerialTransport, Transport
from tinygen.targets.board import Board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.first_light import MEASURED, PREDICTED, REPORTED
from tinygen.targets.flashing import Job, choose
from tinygen.targets.images import write_images
from tinygen.targets.qemu import qemu_command
from tinygen.verbs.flash import FlashOptions, flash

_BOOT_SECONDS = 15.0


@dataclass(frozen=True, eq=False)
class Line:
    """A line to a firmware, and its time.

    Attributes:
        transport: open.
        now: seconds: of this computer, or of the emulated board.
        emulated: what is behind it, where that is emulated here.
    """

    transport: Transport
    now: Callable[[], float] = time.monotonic
    emulated: EmulatedBoard | None = None

    def wait(self, seconds: float) -> None:
        """Lets time pass. What comes meanwhile is dropped."""
        end = self.now() + seconds
        while (left := end - self.now()) > 0:
            self.transport.read(4096, left)


@dataclass(frozen=True)
class Place:
    """A board, and where it is.

    Attributes:
        board: as its file describes it: what firmware is built for.
        port: "emulated", "qemu", "labwired", or as `tinygen hil --port` takes it.
        toolchain: that builds; None for what the board prefers.
        flash_with: a command that flashes, with {dir} for the folder; None: as `tinygen flash` does.
        silicon: what is emulated in the board's stead; None: the board. For tests of the suite itself.
    """

    board: Board
    port: str = EMULATED
    toolchain: str | None = None
    flash_with: str | None = None
    silicon: Board | None = None

    @property
    def is_real(self) -> bool:
        """Whether there is something to flash and to talk to over a port."""
        return self.port not in STAND_INS

    @property
    def is_foreign(self) -> bool:
        """Whether an emulator that this project did not write is in the board's stead."""
        return self.port in (QEMU, LABWIRED)

    @property
    def kernels(self) -> str:
        """Of whole models: labwired lacks an instruction that tuned ones for Cortex-M are full of."""
        return "reference" if self.port == LABWIRED and not self.board.esp_chip else "tinygen"

    @property
    def source(self) -> str:
        """What the times of this place are worth."""
        if not self.is_real:
            return PREDICTED
        path = self.port if is_place(self.port) else port_path(self.port, self.board)
        return MEASURED if is_line_to_hardware(path) else REPORTED

    @property
    def timeless(self) -> str:
        """Why time cannot be measured here; "" where it can."""
        if self.port == QEMU:
            return "QEMU has no time: its cycle counters stand still, and bytes take none"
        if self.port == LABWIRED:
            return "labwired counts instructions, not cycles, and bytes take no time"
        if self.source == REPORTED:
            return "what is behind this port may be emulated, in a time of its own"
        return ""

    @property
    def what(self) -> str:
        """For reports."""
        return self.port if self.is_real or self.is_foreign else "emulated by tinygen"

    def put(self, folder: Path) -> None:
        """Gets the firmware of a folder onto a real board.

        Raises:
            TinygenError: that failed.
        """
        if not self.is_real:
            return
        if self.flash_with is not None:
            command = [word.replace("{dir}", str(folder)) for word in shlex.split(self.flash_with)]
            if subprocess.run(command, check=False).returncode:
                raise FlashError("failed", where=shlex.join(command))
        elif (folder / MANIFEST).is_file():
            flash(folder, FlashOptions(port=None if is_place(self.port) else self.port))
        else:
            job = Job(self.board, folder, write_images(self.board, folder / "firmware.elf", folder), self._path)
            choose(job, None).flash(job, lambda text: None)

    @property
    def _path(self) -> str:
        return port_path(self.port, self.board)

    def check(self) -> None:
        """
        Raises:
            DeviceError: the port is not there.
        """
        if not self.is_real or is_place(self.port):
            return
        path = port_path(self.port, self.board)
        if "://" not in path and not Path(path).exists():
            fix = f"Ports that are there: {ports_text(serial_ports())}. Without --port, the suite runs on the emulator."
            raise DeviceError("there is no such port", where=f"--port {path}", fix=fix)

    @contextmanager
    def line(self, folder: Path) -> Iterator[Line]:
        """The line to the firmware of a folder that is no build directory; just started, or long since."""
        self.put(folder)
        opened = self._open(folder / "firmware.elf")
        try:
            yield opened
        finally:
            opened.transport.close()

    def _open(self, elf: Path) -> Line:
        assert self.board.uart is not None
        if self.port == QEMU:
            return Line(ProcessTransport(qemu_command(self.board, elf)))
        if self.port == LABWIRED:
            from tinygen.hil.labwired import LabwiredTransport

            return Line(LabwiredTransport(self.board, elf), LabwiredTransport.clock)
        if self.is_real:
            if is_place(self.port):
                from tinygen.hil.labgrid import LabgridTransport

                return Line(LabgridTransport(self.port, self.board.uart.baud))
            return Line(SerialTransport(self._path, self.board.uart.baud))
        silicon = self.silicon or self.board
        emulated = EmulatedBoard(silicon, elf, Watch(cost=board_cost(silicon, elf)))
        emulated.set_baud(self.board.uart.baud)
        emulated.paced = True
        return Line(emulated, lambda: emulated.cycles / silicon.core_hz, emulated)

    def device(self, folder: Path) -> Device:
        """A build directory's firmware, ready for inferences; use it in a `with` statement."""
        self.put(folder)
        return open_device(folder, port=self.port, count=self.port == EMULATED)
