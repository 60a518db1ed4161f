"""Serial ports: finds a board's port by the USB identity in its board file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from serial.tools import list_ports

from tinygen.errors import DeviceError
from tinygen.targets.board import Board, Usb

AUTO, EMULATED, QEMU, LABWIRED = "auto", "emulated", "qemu", "labwired"
STAND_INS = (EMULATED, QEMU, LABWIRED)
_PSEUDO_TERMINAL = re.compile(r"/dev/(pts/|ttys)\d+")  # Linux, macOS


@dataclass(frozen=True)
class SerialPort:
    """A serial port of this computer.

    Attributes:
        path: name to open it by: "/dev/ttyACM0", "COM3".
        description: from its driver.
        usb: identity, where it is on USB.
        serial: number of the USB device, by which two boards of one kind are told apart; "" where it has none.
    """

    path: str
    description: str = ""
    usb: Usb | None = None
    serial: str = ""

    def __str__(self) -> str:
        facts = [f"USB {usb_text(self.usb)}"] if self.usb else []
        facts += [f"serial number {self.serial}"] if self.serial else []
        facts += [self.description] if self.description not in ("", "n/a") else []
        return f"{self.path} ({', '.join(facts)})" if facts else self.path


def usb_text(usb: Usb) -> str:
    """0483:374b, as lsusb writes it."""
    return f"{usb.vid:04x}:{usb.pid:04x}"


def serial_ports() -> tuple[SerialPort, ...]:
    """Ports that are there now, in the order of their names."""
    return tuple(
        SerialPort(
            port.device,
            port.description or "",
            Usb(port.vid, port.pid) if port.vid is not None and port.pid is not None else None,
            port.serial_number or "",
        )
        for port in sorted(list_ports.comports(), key=lambda port: _natural(port.device))
    )


def _natural(path: str) -> tuple[str, int]:
    """ttyACM10 comes after ttyACM9."""
    head = path.rstrip("0123456789")
    return head, int(path[len(head) :] or -1)


def ports_text(ports: Sequence[SerialPort]) -> str:
    """A list of all ports, for error messages."""
    return "; ".join(map(str, ports)) or "none"


def find_port(board: Board, serial: str = "") -> SerialPort:
    """Finds the serial port of a board.

    Args:
        board: its file names the USB identity of its probe or bridge.
        serial: number of the USB device; needed where several boards of one kind are there.

    Raises:
        DeviceError: there is none, or more than one; it lists what is there.
    """
    there = serial_ports()
    if board.usb is None:
        raise DeviceError(
            f"{board.name} has no USB identity to find it by",
            where=f"{board.path}: usb",
            fix=f"Name the port. Ports that are there: {ports_text(there)}.",
        )
    alike = [port for port in there if port.usb == board.usb]
    found = [port for port in alike if port.serial == serial] if serial else alike
    if len(found) == 1:
        return found[0]
    wanted = f"USB {usb_text(board.usb)}" + (f" and serial number {serial}" if serial else "")
    if not found:
        raise DeviceError(
            f"no serial port has {wanted}",
            where=board.title,
            fix=f"Ports that are there: {ports_text(there)}. Plug the board in, or name its port.",
        )
    raise DeviceError(
        f"{len(found)} serial ports have {wanted}",
        where=board.title,
        fix=f"Name one, or its serial number as {AUTO}:NUMBER: {ports_text(found)}.",
    )


def port_path(port: str, board: Board) -> str:
    """What pyserial opens for a port as users name it: "auto", "auto:NUMBER", a path or one of pyserial's URLs.

    Raises:
        DeviceError: see `find_port`.
    """
    kind, _, number = port.partition(":")
    return find_port(board, number).path if kind == AUTO else port


def is_place(port: str) -> bool:
    """Whether a board farm knows the port: labgrid:PLACE."""
    return port.startswith("labgrid:")


def is_line_to_hardware(path: str) -> bool:
    """Whether a port is certainly hardware of this computer: a pseudo-terminal or network port may be anything."""
    return "://" not in path and not is_place(path) and _PSEUDO_TERMINAL.fullmatch(os.path.realpath(path)) is None
