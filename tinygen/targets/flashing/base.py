"""The base of flashing methods: the supported boards, the command line, and the meaning of error messages."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tinygen.errors import FlashError
from tinygen.targets.board import Board
from tinygen.targets.flashing.runner import Echo, Outcome, run_command


@dataclass(frozen=True)
class Job:
    """What to flash, and to which board.

    Attributes:
        folder: a build directory, with firmware.elf and its images.
        images: names in it by kind, as in its manifest.
        port: serial port of a board that is flashed through one.
        probe: serial number of the debug probe; of mass storage, the folder where the volume is mounted.
        verify: read back and compare, where the tool leaves the choice.
    """

    board: Board
    folder: Path
    images: Mapping[str, str]
    port: str | None = None
    probe: str | None = None
    verify: bool = True

    @property
    def compiled(self) -> bool:
        """Whether there is a firmware. A project for ESP-IDF holds sources only."""
        return (self.folder / "firmware.elf").is_file()

    @property
    def elf(self) -> str:
        return str(self.folder / "firmware.elf")

    @property
    def binary(self) -> str:
        return str(self.folder / self.images["bin"])

    @property
    def origin(self) -> str:
        """First address of the board's flash, for tools that want it in words."""
        return f"{self.board.link_flash.origin:#010x}"


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        what: what it does, for people.
        proof: text of the output that says it went well, whatever the exit status; "" where the status tells.
    """

    what: str
    command: tuple[str, ...]
    proof: str = ""


@dataclass(frozen=True)
class Hint:
    """The meaning of a tool's message.

    Attributes:
        pattern: of the message.
        what: the problem, in our words.
        fix: what the user can do.
    """

    pattern: str
    what: str
    fix: Callable[[Job], str]


class Flasher(ABC):
    """One way to flash a board.

    Attributes:
        name: as board files and `--method` call it.
        program: its executable.
        module: its Python package, where it is one; that of the Python that runs tinygen is preferred.
        boards: which it is for, for people.
        get: how to install it.
        hints: the first that matches is shown.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    module: ClassVar[str] = ""
    boards: ClassVar[str]
    get: ClassVar[str]
    hints: ClassVar[tuple[Hint, ...]] = ()
    uses_probe: ClassVar[bool] = True
    """Whether it goes through the board's debug probe."""
    uses_port: ClassVar[bool] = False
    """Whether it goes through the board's serial port, which must be known then: others may hold other boards."""
    takes_elf: ClassVar[bool] = False
    """Whether it flashes firmware.elf itself."""
    builds: ClassVar[bool] = False
    """Whether it compiles a project that holds sources only."""
    is_tool: ClassVar[bool] = True
    """Whether something must be installed for it."""

    def can(self, board: Board) -> bool:
        """Whether the board file allows it."""
        return self.name in board.flashing.methods

    def find(self) -> tuple[str, ...] | None:
        """How to start it on this computer; None when it is not installed."""
        if self.module and importlib.util.find_spec(self.module) is not None:
            return (sys.executable, "-m", self.module)
        found = shutil.which(self.program)
        return (found,) if found else None

    def available(self, job: Job) -> bool:
        """Whether it can run on this computer."""
        return self.find() is not None

    @abstractmethod
    def steps(self, job: Job, start: tuple[str, ...]) -> list[Step]:
        """The commands; `start` is what `find` gave, or the program's plain name."""

    def plan(self, job: Job) -> list[Step]:
        """The commands as they would run here: with the program's plain name where it is not installed."""
        return self.steps(job, self.find() or (self.program,))

    def shown(self, job: Job) -> list[str]:
        """The commands as a shell takes them."""
        return [shlex.join(step.command) for step in self.plan(job)]

    def flash(self, job: Job, echo: Echo) -> None:
        """Runs the commands.

        Args:
            echo: gets what the tool prints, as it comes.

        Raises:
            FlashError: the tool is missing or failed; says what can be done.
        """
        if self.find() is None:
            raise FlashError(f"{self.program} is not installed", where=self.name, fix=f"Get it: {self.get}")
        for step in self.plan(job):
            outcome = run_command(step.command, echo)
            well = step.proof in outcome.text if step.proof else outcome.status == 0
            if not well:
                raise self._failure(job, step, outcome)

    def _failure(self, job: Job, step: Step, outcome: Outcome) -> FlashError:
        where = f"{self.name}, {step.what} on {job.board.title}"
        for hint in self.hints:
            if re.search(hint.pattern, outcome.text, re.IGNORECASE):
                return FlashError(hint.what, where=where, fix=hint.fix(job))
        last = outcome.last_line or "it said nothing"
        what = f"{self.program} failed (exit status {outcome.status}): {last}"
        return FlashError(what, where=where, fix=f"Run it by hand to see more: {shlex.join(step.command)}")


def say(text: str) -> Callable[[Job], str]:
    """Makes a hint's fix that is the same for all jobs."""
    return lambda job: text


def usb_rules(job: Job) -> str:
    """How a user gets access to the board's USB device on Linux. OpenOCD's contrib/60-openocd.rules has such rules."""
    vendor = job.board.usb.vid if job.board.usb else 0x0483
    rule = f'SUBSYSTEMS=="usb", ATTRS{{idVendor}}=="{vendor:04x}", MODE="660", GROUP="plugdev", TAG+="uaccess"'
    return (
        f"Put this line into /etc/udev/rules.d/70-tinygen.rules: {rule}\n"
        "Then run `sudo udevadm control --reload && sudo udevadm trigger`, and plug the board in again."
    )


NO_ACCESS = "this user may not open the USB device"
NO_PROBE = "no debug probe was found"
PROBE_BUSY = "another program holds the debug probe"
CLOSE_IT = say("Close debuggers, gdb servers and IDEs that use it; plug the board in again if that does not help.")
CHIP_SILENT = "the debug probe does not reach the chip"
HOLD_RESET = say(
    "Check that the board is powered and its probe's jumpers are in place. Firmware that sleeps or has taken the debug "
    "pins: hold RESET, start again, and let go as soon as the tool connects."
)
PROTECTED = "the chip's flash is protected or damaged"
UNPROTECT = say("Remove write and read-out protection with STM32CubeProgrammer (option bytes), and flash again.")


def plug_in(job: Job) -> str:
    """The fix for a probe that does not answer."""
    named = f" with the serial number {job.probe}" if job.probe else ""
    return f"Plug the board{named} in by the USB connector of its debug probe, with a cable that carries data."
