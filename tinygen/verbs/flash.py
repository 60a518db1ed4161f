"""`tinygen flash`: the firmware of a build directory onto a board, and its answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygen.builds.manifest import Manifest, read_manifest
from tinygen.errors import DeviceError, FlashError, TinygenError, WrongBuildError
from tinygen.hil.client import DeviceClient
from tinygen.hil.device import first_baud
from tinygen.hil.ports import find_port, port_path, serial_ports
from tinygen.hil.transports import SerialTransport
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.flashing import Flasher, Job, choose
from tinygen.targets.flashing.runner import Echo
from tinygen.targets.images import check_images

_ANSWER_SECONDS = 15.0
"""A board starts within milliseconds; its probe or bridge may come back on USB seconds later."""


@dataclass(frozen=True)
class FlashOptions:
    """How to flash.

    Attributes:
        board: name or file; must be the build's. None takes the build's.
        method: name of a flasher; None takes the first that the board prefers and this computer has.
        port: serial port; "auto" finds it by the board's USB identity, None too, but does without where there is none.
        probe: serial number of the debug probe; of mass storage, the folder where its drive is mounted.
        verify: read flash back, where the tool leaves the choice.
        check: ask the board afterwards which build it runs.
        dry_run: run nothing.
    """

    board: str | None = None
    method: str | None = None
    port: str | None = None
    probe: str | None = None
    verify: bool = True
    check: bool = True
    dry_run: bool = False


@dataclass(frozen=True)
class FlashResult:
    """What `flash` did.

    Attributes:
        commands: as a shell takes them.
        port: where the board answered; None when it was not asked.
        build: what it answered; None likewise.
        unasked: why the board was not asked.
        seconds: duration of all commands.
    """

    folder: Path
    board: Board
    method: str
    commands: list[str]
    dry_run: bool
    port: str | None = None
    build: str | None = None
    unasked: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "board": self.board.name,
            "method": self.method,
            "commands": self.commands,
            "dry_run": self.dry_run,
            "flashed": not self.dry_run,
            "port": self.port,
            "build_id": self.build,
            "unasked": self.unasked,
            "seconds": round(self.seconds, 3),
        }

    def sentence(self) -> str:
        """For people."""
        flashed = f"flashed by {self.method} in {self.seconds:.1f} s"
        if self.build is None:
            return f"{flashed}; not asked which build it runs: {self.unasked}"
        return f"{flashed}, and answering: build {self.build} on {self.port}"


def flash(folder: Path, options: FlashOptions, *, echo: Echo | None = None) -> FlashResult:
    """Flashes a build directory onto a board.

    Args:
        folder: written by `tinygen build`.
        options: which board, tool and port.
        echo: gets what the tool prints, as it comes.

    Raises:
        FlashError: no tool, no probe, or the tool failed.
        DeviceError: no port; or the board does not answer afterwards, or runs another build.
        TinygenError: not a build directory, or another board's.
    """
    manifest = read_manifest(folder)
    board = _board_of(folder, manifest, options.board)
    images = manifest.images
    job = Job(board, folder, images, _port(board, options), options.probe, options.verify)
    flasher = choose(job, options.method, dry_run=options.dry_run)
    if job.compiled:
        check_images(board, folder / "firmware.elf", folder, images)
    elif not flasher.builds:
        raise FlashError("firmware.elf is missing", where=str(folder), fix="Build it again.")
    if not options.dry_run:
        _one_probe(flasher, board, options)
        if flasher.uses_port and job.port is None:
            job = replace(job, port=find_port(board).path)
    commands = flasher.shown(job)
    if options.dry_run:
        return FlashResult(folder, board, flasher.name, commands, dry_run=True, unasked="dry run")
    start = time.monotonic()
    flasher.flash(job, echo or (lambda text: None))
    seconds = time.monotonic() - start
    done = FlashResult(folder, board, flasher.name, commands, dry_run=False, seconds=seconds)
    return _asked(done, manifest, options, had_port=job.port is not None)


def _board_of(folder: Path, manifest: Manifest, wanted: str | None) -> Board:
    board = load_board(manifest.board)
    if wanted is not None and load_board(wanted).name != board.name:
        raise TinygenError(
            f"holds firmware for {board.name}, not for {wanted}",
            where=str(folder),
            fix=f"Build it again with --board {wanted}, or leave --board out.",
        )
    if board.is_host:
        raise FlashError("holds a program for this computer", where=str(folder), fix="Build it for a board.")
    return board


def _port(board: Board, options: FlashOptions) -> str | None:
    """The board's serial port: the one that was named, or found; None where none was asked for and none is there."""
    if options.port is not None:
        return port_path(options.port, board)
    # A probe and its serial port are one USB device; mass storage names a folder instead.
    serial = "" if options.probe is None or Path(options.probe).is_dir() else options.probe
    try:
        return find_port(board, serial).path
    except DeviceError:
        return None


def _one_probe(flasher: Flasher, board: Board, options: FlashOptions) -> None:
    """Raises if several identical probes are attached and none was named: tools that do not ask would use the first."""
    if not flasher.uses_probe or options.probe is not None or board.usb is None:
        return
    alike = [port for port in serial_ports() if port.usb == board.usb]
    if len({port.serial for port in alike}) > 1:
        listed = "\n".join(f"  --probe {port.serial}: {port.path}" for port in alike)
        raise FlashError(f"{len(alike)} of them are connected", where=board.title, fix=f"Name one:\n{listed}")


def _asked(done: FlashResult, manifest: Manifest, options: FlashOptions, *, had_port: bool) -> FlashResult:
    """The result with the board's answer."""
    if not options.check:
        return replace(done, unasked="--no-check")
    # Searched again: flashing may have created the port or changed its name.
    port = _found_again(done.board, options, had_port=had_port)
    if port is None:
        return replace(done, unasked="its serial port was not found; name it by --port")
    return replace(done, port=port, build=ask_build(port, first_baud(done.board, manifest), manifest.build_id))


def _found_again(board: Board, options: FlashOptions, *, had_port: bool) -> str | None:
    """The board's port; one that was there before may be away for a moment, as a board's own USB is at a reset."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            port = _port(board, options)
        except DeviceError:
            if time.monotonic() > deadline:
                raise
            port = None
        if port is not None or not had_port or time.monotonic() > deadline:
            return port
        time.sleep(0.2)


def ask_build(port: str, baud: int, build_id: str) -> str:
    """The build that a board says it runs.

    Args:
        port: path of its serial port, which may not exist yet.
        baud: what its firmware begins with.
        build_id: the one that was flashed.

    Raises:
        WrongBuildError: it runs another build: what was flashed did not start.
        DeviceError: it does not answer.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            build = _build_on(port, baud)
            break
        except DeviceError as error:
            if time.monotonic() > deadline:
                fix = f"Press RESET and run `tinygen flash` again. Flashing itself succeeded. {error.fix}"
                raise DeviceError(f"was flashed, but {error.what}", where=port, fix=fix) from error
            time.sleep(0.2)
    if build != build_id:
        raise WrongBuildError(
            f"runs build {build}, not {build_id} that was flashed",
            where=port,
            fix="Is this the port of the board that was flashed? Press RESET, and check its boot pins.",
        )
    return build


def _build_on(port: str, baud: int) -> str:
    client = DeviceClient(SerialTransport(port, baud), wakes=True)
    try:
        return client.info().build
    finally:
        client.close()
