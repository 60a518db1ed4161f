"""Instruments by their names on the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.joulescope import Joulescope
from tinygen.hil.power.lpm01a import MAX_AMPERES, USB_ID, Lpm01a
from tinygen.hil.power.monitor import PowerMonitor
from tinygen.hil.power.ppk2 import Ppk2
from tinygen.hil.power.predicted import PredictedSource
from tinygen.targets.board import Board

POWER_HELP = (
    "lpm01a:PORT, ppk2:PORT, joulescope[:SERIAL], predicted; PORT may be auto; ppk2:PORT,ampere,D1 for options; "
    "PORT,volts=3.3 for the supply"
)
LINE_VOLTS = 3.3
"""What the UART of a board's debug probe or bridge works at, whatever the board itself is supplied with."""
_LINE_TOLERANCE = 0.1
_VOLTS = "volts="
_INSTRUMENTS = ("lpm01a", "ppk2", "joulescope", "predicted")


@dataclass(frozen=True)
class _Spec:
    """What `--power` says: the instrument, where it is, its options, and the supply where it is given."""

    name: str
    where: str
    options: tuple[str, ...]
    volts: float | None


def open_monitor(
    spec: str, board: Board, volts: float | None = None, now: Callable[[], float] = time.monotonic
) -> PowerMonitor | PredictedSource:
    """The instrument that `spec` names; the board has its supply from here on where the instrument gives it.

    Args:
        spec: "lpm01a:/dev/ttyACM1", "ppk2:auto", "ppk2:/dev/ttyACM2,ampere,D1", "joulescope", "joulescope:002557",
            "predicted"; with "volts=3.3" among the options, that is the supply.
        board: which is measured, or whose energy is predicted.
        volts: of its supply where `spec` has none; None takes that of the board file's run current, or 3.3.
        now: this computer's clock.

    Raises:
        TinygenError: there is no such instrument or option, or its package is not installed.
        DeviceError: it does not answer.
        BoardError: the board file has no run current to predict from.
    """
    wanted = _parse(spec)
    name, where, options = wanted.name, wanted.where, wanted.options
    supply = wanted.volts or volts or _usual_volts(board)
    if name == "predicted" and spec == name:
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


def supply_warning(spec: str, board: Board) -> str:
    """What is wrong with the instrument's supply and the board's line: "" where nothing is.

    Args:
        spec: see `open_monitor`.
        board: which is measured.

    Raises:
        TinygenError: `spec` names no instrument.
    """
    wanted = _parse(spec)
    supplies = wanted.name in ("lpm01a", "ppk2") and "ampere" not in wanted.options
    if wanted.volts is None and not supplies:
        return ""  # who supplies the board, and with what, is not known here
    supply = wanted.volts or _usual_volts(board)
    if abs(supply - LINE_VOLTS) <= _LINE_TOLERANCE * LINE_VOLTS:
        return ""
    return (
        f"{board.name} is supplied with {supply:g} V, and the UART of its probe works at {LINE_VOLTS:g} V: put level "
        f"shifters between them, or supply it with {LINE_VOLTS:g} V ({_with_volts(spec)})"
    )


def _with_volts(spec: str) -> str:
    """The same instrument at the line's voltage."""
    name, _, rest = spec.partition(":")
    options = [option for option in rest.split(",") if not option.startswith(_VOLTS)]
    return f"--power {name}:{','.join([*options, f'{_VOLTS}{LINE_VOLTS:g}'])}"


def _parse(spec: str) -> _Spec:
    """
    Raises:
        TinygenError: there is no such instrument or option, or no such voltage.
    """
    name, _, rest = spec.partition(":")
    where, *options = rest.split(",")
    given = [option.removeprefix(_VOLTS) for option in options if option.startswith(_VOLTS)]
    others = tuple(option for option in options if not option.startswith(_VOLTS))
    if name not in _INSTRUMENTS or len(given) > 1 or (others and name != "ppk2") or (name == "predicted" and rest):
        raise _wrong(spec)
    return _Spec(name, where, others, _volts(spec, given[0]) if given else None)


def _volts(spec: str, text: str) -> float:
    try:
        volts = float(text)
    except ValueError:
        volts = 0.0
    if not 0.5 <= volts <= 20.0:
        raise TinygenError(f"'{text}' is no supply in volts", where=f"--power {spec}", fix="Write volts=3.3.")
    return volts


def _usual_volts(board: Board) -> float:
    return board.run_current.volts if board.run_current else LINE_VOLTS


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
