"""Instruments by their names on the command line."""

from __future__ import annotations

import time
from collections.abc import Callable

from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.joulescope import Joulescope
from tinygen.hil.power.lpm01a import MAX_AMPERES, USB_ID, Lpm01a
from tinygen.hil.power.monitor import PowerMonitor
from tinygen.hil.power.ppk2 import Ppk2
from tinygen.hil.power.predicted import PredictedSource
from tinygen.targets.board import Board

POWER_HELP = "lpm01a:PORT, ppk2:PORT, joulescope[:SERIAL], predicted; PORT may be auto; ppk2:PORT,ampere,D1 for options"


def open_monitor(
    spec: str, board: Board, volts: float | None = None, now: Callable[[], float] = time.monotonic
) -> PowerMonitor | PredictedSource:
    """The instrument that `spec` names; the board has its supply from here on where the instrument gives it.

    Args:
        spec: "lpm01a:/dev/ttyACM1", "ppk2:auto", "ppk2:/dev/ttyACM2,ampere,D1", "joulescope", "joulescope:002557",
            "predicted".
        board: which is measured, or whose energy is predicted.
        volts: of its supply; None takes that of the board file's run current, or 3.3.
        now: this computer's clock.

    Raises:
        TinygenError: there is no such instrument or option, or its package is not installed.
        DeviceError: it does not answer.
        BoardError: the board file has no run current to predict from.
    """
    name, _, rest = spec.partition(":")
    where, *options = rest.split(",")
    supply = volts or (board.run_current.volts if board.run_current else 3.3)
    if options and name != "ppk2":
        raise _wrong(spec)
    if name == "predicted" and not rest:
        return PredictedSource(board)
    if name == "lpm01a":
        _check_current(board)
        return Lpm01a(_lpm01a_port() if where in ("", "auto") else where, volts=supply, now=now)
    if name == "joulescope":
        return Joulescope(where or "auto", volts=supply, now=now)
    if name == "ppk2":
        pins = [option for option in options if option != "ampere"]
        if len(pins) > 1 or any(pin[:1] != "D" or not pin[1:].isdigit() for pin in pins):
            raise _wrong(spec)
        pin = int(pins[0][1:]) if pins else 0
        return Ppk2(where or "auto", volts=supply, ampere="ampere" in options, pin=pin, now=now)
    raise _wrong(spec)


def _check_current(board: Board) -> None:
    """
    Raises:
        TinygenError: the board draws more than the LPM01A measures where currents change.
    """
    current = board.run_current
    if current is not None and current.ma * 1e-3 > MAX_AMPERES:
        raise TinygenError(
            f"the LPM01A measures up to {MAX_AMPERES * 1e3:g} mA, and {board.title} draws about {current.ma:g} mA",
            where="--power",
            fix="Use a PPK2 or a Joulescope.",
        )


def _wrong(spec: str) -> TinygenError:
    return TinygenError(f"there is no instrument '{spec}'", where="--power", fix=f"One of: {POWER_HELP}.")


def _lpm01a_port() -> str:
    from serial.tools import list_ports

    found = [port.device for port in list_ports.comports() if (port.vid, port.pid) == USB_ID]
    if len(found) != 1:
        raise DeviceError(
            f"{len(found)} instruments with the LPM01A's USB id {USB_ID[0]:04x}:{USB_ID[1]:04x} are connected",
            where="lpm01a",
            fix=f"Name the port: lpm01a:PORT ({', '.join(found) or 'none found'}).",
        )
    return found[0]
