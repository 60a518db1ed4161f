"""Ports by USB identity: the right one, or an error that lists what is there."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
from serial.tools import list_ports

from tinygen.errors import DeviceError, DeviceGoneError
from tinygen.hil.ports import find_port, is_line_to_hardware, port_path, serial_ports
from tinygen.hil.transports import SerialTransport
from tinygen.targets.board import Usb
from tinygen.targets.boards import load_board

NUCLEO = load_board("f746zg")


def port(path: str, vid: int | None = None, pid: int | None = None, serial: str | None = None) -> SimpleNamespace:
    """As pyserial's ListPortInfo."""
    return SimpleNamespace(
        device=path, description="n/a" if vid is None else "STLINK-V2.1", vid=vid, pid=pid, serial_number=serial
    )


def plug(monkeypatch: pytest.MonkeyPatch, *there: SimpleNamespace) -> None:
    monkeypatch.setattr(list_ports, "comports", lambda include_links=False: list(there))


A = port("/dev/ttyACM10", 0x0483, 0x374B, "0667FF")
B = port("/dev/ttyACM9", 0x0483, 0x374B, "0668AA")
OTHER = port("/dev/ttyUSB0", 0x10C4, 0xEA60, "0001")
PLAIN = port("/dev/ttyS0")


def test_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, PLAIN, OTHER, A)
    assert find_port(NUCLEO).path == port_path("auto", NUCLEO) == "/dev/ttyACM10"
    assert find_port(NUCLEO).usb == Usb(0x0483, 0x374B)


def test_order_and_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, PLAIN, A, B)
    assert [str(found) for found in serial_ports()] == [
        "/dev/ttyACM9 (USB 0483:374b, serial number 0668AA, STLINK-V2.1)",
        "/dev/ttyACM10 (USB 0483:374b, serial number 0667FF, STLINK-V2.1)",
        "/dev/ttyS0",
    ]


def test_two_of_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, A, B, OTHER)
    with pytest.raises(DeviceError, match="2 serial ports have USB 0483:374b") as caught:
        port_path("auto", NUCLEO)
    assert "auto:NUMBER" in caught.value.fix
    assert "/dev/ttyACM9" in caught.value.fix and "0667FF" in caught.value.fix
    assert "ttyUSB0" not in caught.value.fix
    assert port_path("auto:0668AA", NUCLEO) == "/dev/ttyACM9"
    with pytest.raises(DeviceError, match="no serial port has USB 0483:374b and serial number 9999"):
        port_path("auto:9999", NUCLEO)


def test_none_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, OTHER)
    with pytest.raises(DeviceError, match="no serial port has USB 0483:374b") as caught:
        find_port(NUCLEO)
    assert caught.value.where == NUCLEO.title
    assert "/dev/ttyUSB0 (USB 10c4:ea60, serial number 0001" in caught.value.fix
    plug(monkeypatch)
    with pytest.raises(DeviceError) as caught:
        find_port(NUCLEO)
    assert "Ports that are there: none" in caught.value.fix


def test_board_without_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch, A)
    with pytest.raises(DeviceError, match="no USB identity") as caught:
        find_port(replace(NUCLEO, usb=None))
    assert "0667FF" in caught.value.fix


def test_names_are_taken_as_they_are() -> None:
    for name in ("/dev/pts/7", "COM3", "hwgrep://0483:374B", "rfc2217://farm:4000", "labgrid:desk", "autofs"):
        assert port_path(name, NUCLEO) == name


def test_what_may_stand_behind_a_port(tmp_path: os.PathLike[str]) -> None:
    assert is_line_to_hardware("/dev/ttyACM0")
    assert is_line_to_hardware("COM3")
    for name in ("/dev/pts/12", "socket://farm:4000", "loop://", "labgrid:desk"):
        assert not is_line_to_hardware(name)
    link = os.path.join(tmp_path, "board")
    os.symlink("/dev/pts/3", link)
    assert not is_line_to_hardware(link)


def test_a_url_that_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch)
    with pytest.raises(DeviceGoneError, match="cannot be opened") as caught:
        SerialTransport("hwgrep://0483:ffff")
    assert "Ports that are there: none" in caught.value.fix


def test_a_url_of_pyserial_goes_both_ways() -> None:
    line = SerialTransport("loop://")
    line.write(b"m-ready\r\n")
    assert line.read(9, 5.0) == b"m-ready\r\n"
    assert line.read(1, 0.01) == b""
    line.close()
