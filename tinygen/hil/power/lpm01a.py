"""ST's X-NUCLEO-LPM01A over its virtual serial port (UM2269 Rev 6, "Getting started with PowerShield firmware").

It supplies the board (1.8 to 3.3 V; up to 50 mA where currents change, EEMBC's README) and streams samples. As
MLCommons' runner does, it is asked for the energy of every millisecond rather than for single currents: nothing between
samples escapes it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import serial

from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.clock import fit_clock
from tinygen.hil.power.lpm01a_stream import AsciiDecoder, BinaryDecoder, Placed, place
from tinygen.hil.power.monitor import Edge, Trace
from tinygen.hil.power.reader import StreamReader

BAUD = 3686400
"""Table 2 of UM2269 is for this rate."""
USB_ID = (0x0483, 0x5740)
"""mlcommons/tiny, benchmark/runner/devices_kws_ic_vww.yaml: lpm01a."""
FREQUENCIES = (100_000, 50_000, 20_000, 10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10, 5, 2, 1)
"""UM2269 table 13."""
_ASCII_HERTZ = 5_000
"""Most that text carries for longer than a second (table 2)."""
MAX_AMPERES = 0.050
"""Where currents change, with firmware 1.0.6 (eembc/energyrunner, README, bill of materials); UM2269 says 10 mA."""
_VOLTS = (1.8, 3.3)
_VOLTS_TOLERANCE = 0.01
"""UM2269 4.4: effective voltage is within about 1 % of the target."""
_REPLY_SECONDS = 10.0
"""A new voltage calibrates the board first (help text, `calib`)."""
_QUIET_SECONDS = 0.1
_POWER_HELP = "The LPM01A measures changing currents up to 50 mA; use another instrument for larger boards."


class Lpm01a:
    """The instrument; the board has its supply from the constructor on.

    Args:
        port: its serial port.
        volts: to supply the board with, 1.8 to 3.3.
        hertz: samples per second, one of `FREQUENCIES`.
        energy: samples are energies of 1 / hertz seconds each; False for currents.
        binary: the compact format; without it at most 5 kHz, with it no edges of the timestamp pin (UM2269 does not say
            how they look there).
        now: this computer's clock.

    Raises:
        DeviceError: it is not there, refuses, or another voltage comes out.
        TinygenError: settings that it does not have.
    """

    def __init__(
        self,
        port: str,
        *,
        volts: float = 3.3,
        hertz: int = 1_000,
        energy: bool = True,
        binary: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_settings(volts, hertz, binary)
        self.name = f"ST X-NUCLEO-LPM01A ({port})"
        self._port, self._volts, self._hertz, self._energy, self._binary = port, volts, hertz, energy, binary
        self._now = now
        self._reader: StreamReader | None = None
        self._notes: list[str] = []
        try:
            # The instrument's virtual port takes any rate; the number matters on its UART connector.
            self._serial = serial.Serial(port, BAUD, timeout=0.02, write_timeout=5.0, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            raise DeviceError(
                f"the instrument's port cannot be opened ({error})",
                where=self.name,
                fix="Check the cable, and that no other program holds the port.",
            ) from error
        try:
            self._configure()
        except BaseException:
            self._serial.close()
            raise

    def _configure(self) -> None:
        self._clear()
        self._command("htc")
        self._command("pwr off")
        self._command("acqmode dyn")
        self._command("funcmode optim")
        self._command("acqtime inf")
        self._command("trigdelay 0")
        self._command("trigsrc sw")
        self._command(f"output {'energy' if self._energy else 'current'}")
        self._command(f"format {'bin_hexa' if self._binary else 'ascii_dec'}")
        self._command(f"freq {self._hertz}")
        self._watch_pin()
        self._command(f"volt {round(self._volts * 1000)}m")
        self._check_volts()
        self._command("pwr on nostatus")

    def _watch_pin(self) -> None:
        """Events at falling edges of D7, where the firmware has them."""
        if self._binary:
            self._notes.append("the compact format shows no edges of the timestamp pin")
            return
        try:
            self._command("eventsrc d7 fal")
        except DeviceError:
            self._notes.append("its firmware has no events (eventsrc): update it to 1.0.6 to see the timestamp pin")

    def _check_volts(self) -> None:
        reply = self._command("volt get")
        found = re.search(r"(\d+)([+-]\d+)", reply)
        if found is None:
            raise DeviceError(f"does not say its voltage, but '{reply}'", where=self.name)
        volts = int(found[1]) * 10.0 ** int(found[2])
        if abs(volts - self._volts) > _VOLTS_TOLERANCE * self._volts:
            raise DeviceError(
                f"supplies {volts:.3f} V, not {self._volts:.3f} V",
                where=self.name,
                fix="Is something else feeding the board? Remove its other supplies.",
            )

    def start(self) -> None:
        self._decoder: AsciiDecoder | BinaryDecoder = BinaryDecoder() if self._binary else AsciiDecoder()
        self._arrivals: list[tuple[int, float]] = []
        self._command("start")
        self._take(self._rest, self._now())
        self._reader = StreamReader(self._read, self._take, self._now)

    def _take(self, piece: bytes, moment: float) -> None:
        self._decoder.feed(piece)
        self._arrivals.append((len(self._decoder.stream.values), moment))

    def stop(self) -> Trace:
        reader = self._reader
        if reader is None:
            raise DeviceError("was not started", where=self.name)
        self._reader = None
        early = self._decoder.stream.ended
        try:
            if not early and reader.error is None:
                self._write(b"stop\n")
                self._wait_for_end(reader)
        finally:
            reader.stop()
        if reader.error is not None:
            raise self._gone(reader.error) from reader.error
        self._check_stream(early)
        self._clear()
        return self._trace()

    def _wait_for_end(self, reader: StreamReader) -> None:
        deadline = time.monotonic() + _REPLY_SECONDS
        while not self._decoder.stream.ended and reader.error is None:
            if time.monotonic() > deadline:
                raise DeviceError("does not end its acquisition", where=self.name, fix="Unplug it and try again.")
            time.sleep(0.002)

    def _check_stream(self, early: bool) -> None:
        stream = self._decoder.stream
        if stream.errors:
            raise DeviceError(f"reports '{stream.errors[0]}'", where=self.name, fix=_POWER_HELP)
        if early:
            raise DeviceError(
                f"ended the acquisition by itself after {len(stream.values)} samples; its buffer was {stream.load} % "
                "full",
                where=self.name,
                fix="Lower the sampling rate, or close other programs.",
            )

    def _trace(self) -> Trace:
        placed = place(self._decoder.stream, self._hertz, aligned=not self._binary)
        if not len(placed.values):
            raise DeviceError("sent no samples", where=self.name, fix="Update its firmware, or plug it in anew.")
        # An energy belongs to the time before it, so its mean current to the middle of that; a current to its end.
        times = (np.arange(len(placed.values)) + (0.5 if self._energy else 1.0)) / self._hertz
        amperes = placed.values * self._hertz / self._volts if self._energy else placed.values
        fit = fit_clock(*self._clocks(placed))
        notes = [*self._notes]
        if placed.missing_events:
            notes.append(f"edges of the timestamp pin are missing: events {placed.missing_events}")
        return Trace(
            times,
            amperes,
            self._volts,
            tuple(Edge(event / self._hertz, False) for event in placed.events),
            host_start=fit.start,
            host_rate=fit.rate,
            host_uncertainty=fit.uncertainty + 1 / self._hertz,
            edge_uncertainty=1 / self._hertz,
            notes=tuple(notes),
        )

    def _clocks(self, placed: Placed) -> tuple[np.ndarray, np.ndarray]:
        """When the last sample of each piece was taken, by both clocks."""
        counts = np.array([count for count, _ in self._arrivals])
        host = np.array([moment for _, moment in self._arrivals])
        fresh = np.flatnonzero(np.diff(counts, prepend=0) > 0)
        return (placed.positions[counts[fresh] - 1] + 1) / self._hertz, host[fresh]

    def close(self) -> None:
        if self._reader is not None:
            with suppress(TinygenError):
                self.stop()
        with suppress(TinygenError):
            self._command("pwr off")
            self._command("hrc")
        self._serial.close()

    def _command(self, command: str) -> str:
        """Sends a command; gives what follows its acknowledgement.

        A reply is `PowerShield > ack COMMAND`, or `err`, then lines that say why (UM2269 4.2.3).
        """
        self._write(command.encode("ascii") + b"\n")
        deadline = time.monotonic() + _REPLY_SECONDS
        buffer = b""
        while True:
            buffer += self._read()
            for line in buffer.split(b"\n")[:-1]:
                text = line.decode("ascii", "replace").replace("PowerShield >", "").strip("\r\0 ")
                if text.startswith(f"ack {command}"):
                    self._rest = buffer[buffer.index(line) + len(line) + 1 :]
                    return text.removeprefix(f"ack {command}").strip()
                if text.startswith("err"):
                    raise DeviceError(f"refuses '{command}' ({text})", where=self.name, fix="Update its firmware.")
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"does not answer '{command}'",
                    where=self.name,
                    fix="Is this the instrument's port? Unplug it and try again.",
                )

    def _clear(self) -> None:
        """Ends what an earlier program may have left running, and drops what is on the line."""
        for attempt in range(2):
            deadline = time.monotonic() + 20 * _QUIET_SECONDS
            quiet = time.monotonic()
            while time.monotonic() < deadline:
                if self._read():
                    quiet = time.monotonic()
                elif time.monotonic() - quiet > _QUIET_SECONDS:
                    return
            if attempt == 0:
                self._write(b"stop\n")
        raise DeviceError("does not stop sending", where=self.name, fix="Unplug it and try again.")

    def _read(self) -> bytes:
        try:
            return bytes(self._serial.read(max(1, self._serial.in_waiting)))
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._gone(error) from error

    def _write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> DeviceError:
        if isinstance(error, DeviceError):
            return error
        return DeviceError(f"went away ({error})", where=self.name, fix="Check its cable, and start anew.")


def _check_settings(volts: float, hertz: int, binary: bool) -> None:
    low, high = _VOLTS
    if not low <= volts <= high:
        raise TinygenError(f"the LPM01A supplies {low} to {high} V, not {volts:g} V", fix="Use another instrument.")
    if hertz not in FREQUENCIES:
        raise TinygenError(
            f"the LPM01A does not sample at {hertz} Hz", fix=f"One of: {', '.join(map(str, FREQUENCIES))}."
        )
    if hertz > _ASCII_HERTZ and not binary:
        raise TinygenError(
            f"text carries {_ASCII_HERTZ} samples per second, not {hertz}", fix="Use the compact format."
        )
