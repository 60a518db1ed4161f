"""An X-NUCLEO-LPM01A on a pseudo-terminal, as UM2269 Rev 6 describes its commands and its stream.

Events, and the line after an acquisition, are as MLCommons' runner expects them from firmware 1.0.6.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import threading
import time
import tty
from dataclasses import dataclass, field

from tests.hil.power.waveform import Waveform

_PROMPT = "PowerShield > "


@dataclass
class Lpm01aFaults:
    """
    Attributes:
        ppm: by how much its clock is fast.
        dropped: (first, count) of samples that never arrive.
        cut: (sample, bytes): so many bytes are lost from that sample on.
        garbage: (sample, bytes): arrive before that sample.
        unplugged: true time when it goes away.
        overcurrent: true time when it stops for that.
        overflow: true time when its buffer is full, which ends the acquisition.
        events: whether the firmware knows `eventsrc`.
        volts_error: added to the voltage it reports.
        lost_event: number of an event that is not sent.
    """

    ppm: float = 0.0
    dropped: tuple[int, int] = (0, 0)
    cut: tuple[int, int] | None = None
    garbage: tuple[int, bytes] | None = None
    unplugged: float | None = None
    overcurrent: float | None = None
    overflow: float | None = None
    events: bool = True
    volts_error: float = 0.0
    lost_event: int | None = None


@dataclass
class _State:
    """What commands have set; defaults of UM2269 tables 12 to 18."""

    host: bool = False
    volts: float = 3.3
    hertz: float = 100.0
    energy: bool = False
    binary: bool = False
    events: bool = False
    power: str = "auto"
    running: bool = False
    sample: int = 0
    event: int = 0
    start: float = 0.0
    lines: list[str] = field(default_factory=list)


class Lpm01aDouble:
    """Answers in a thread; samples are sent by `produce`."""

    def __init__(self, waveform: Waveform, faults: Lpm01aFaults | None = None) -> None:
        self.waveform, self.faults = waveform, faults or Lpm01aFaults()
        self.state = _State()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._lock = threading.Lock()
        self._time = 0.0
        self._sent = b""
        self._cut = 0
        self._open = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._slave)
            os.close(self._master)

    def _serve(self) -> None:
        buffer = b""
        while self._open:
            try:
                buffer += os.read(self._master, 4096)
            except OSError:
                return
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                with self._lock:
                    self._answer(line.decode().strip())

    def _write(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        while data and self._open:
            try:
                data = data[os.write(self._master, data) :]
            except OSError:
                return

    def _answer(self, command: str) -> None:
        self.state.lines.append(command)
        name, _, argument = command.partition(" ")
        if self.state.running and name == "stop":
            self._write(f"\r\n{_PROMPT}ack stop\r\n\r\n" if not self.state.binary else b"")
            self._finish()
            return
        problem = self._obey(name, argument)
        if problem is None:
            self._write(f"\r\n{_PROMPT}err {command}\r\nError detail: Command unknown\r\n\r\n")
        else:
            self._write(f"\r\n{_PROMPT}ack {command}{problem}\r\n\r\n")
            if name == "start":
                self.state.running, self.state.sample, self.state.event = True, 0, 0
                self.state.start = self._time

    def _obey(self, name: str, argument: str) -> str | None:
        """What follows the acknowledgement; None for an error."""
        state = self.state
        if name == "htc":
            state.host = True
        elif not state.host:
            return None
        elif name == "hrc":
            state.host = False
        elif name == "volt" and argument == "get":
            return f" {round((state.volts + self.faults.volts_error) * 1000):04d}-03"
        elif name == "volt":
            state.volts = _number(argument)
            return "" if 1.8 <= state.volts <= 3.3 else None
        elif name == "freq":
            state.hertz = _number(argument)
        elif name == "output":
            state.energy = argument == "energy"
        elif name == "format":
            state.binary = argument == "bin_hexa"
        elif name == "eventsrc":
            if not self.faults.events or argument != "d7 fal":
                return None
            state.events = True
        elif name == "pwr":
            state.power = argument.split()[0]
        elif name == "start":
            return "" if state.power == "on" else None
        elif name not in ("acqmode", "funcmode", "acqtime", "trigdelay", "trigsrc", "stop"):
            return None
        return ""

    def produce(self, until: float) -> None:
        with self._lock:
            self._time = until
            if self.state.running:
                self._produce(until)
        self._wait_until_read()

    def _produce(self, until: float) -> None:
        state, faults = self.state, self.faults
        rate = state.hertz * (1 + faults.ppm * 1e-6)
        falls = [fall for fall in self.waveform.falls() if fall >= state.start]
        while state.running and state.start + (state.sample + 1) / rate <= until:
            begin = state.start + state.sample / rate
            end = begin + 1 / rate
            if state.sample % 1000 == 0:
                self._write(self._stamp(state.sample * 1000 // int(state.hertz)))
            if state.events and not state.binary:
                for _ in [fall for fall in falls if begin <= fall < end]:
                    if state.event != faults.lost_event:
                        self._write(f"event {state.event:02d} ris\r\n")
                    state.event += 1
            value = self.waveform.volts * self.waveform.charge(begin, end)
            self._write(
                self._damaged(self._sample(value if state.energy else float(self.waveform.charge(begin, end) * rate)))
            )
            state.sample += 1
            self._fail(end)

    def _fail(self, moment: float) -> None:
        faults = self.faults
        if faults.unplugged is not None and moment >= faults.unplugged:
            self.close()
            self.state.running = False
        elif faults.overcurrent is not None and moment >= faults.overcurrent:
            self._write(b"\xf0\xf5\xff\xff" if self.state.binary else "\r\nerror: overcurrent\r\n")
            self._finish()
        elif faults.overflow is not None and moment >= faults.overflow:
            self._finish()

    def _finish(self) -> None:
        self.state.running = False
        self._write(b"\xf0\xf4\xff\xff" if self.state.binary else "\r\nend\r\n")
        self._write(f"\r\nsummary beg\r\n1853-09\r\n1958-09\r\nsummary end\r\n\r\n{_PROMPT}Acquisition completed\r\n")

    def _stamp(self, milliseconds: int) -> bytes:
        if self.state.binary:
            return b"\xf0\xf3" + struct.pack(">IB", milliseconds, 3) + b"\xff\xff"
        text = f"\r\nTimeStamp: {milliseconds // 1000 % 1000:03d}s {milliseconds % 1000:03d}ms, buff 03%\r\n"
        return text.encode()

    def _sample(self, value: float) -> bytes:
        if self.state.binary:
            # Twelve bits and the largest power of 16 that keeps them below 4096.
            power = 0
            while power < 14 and round(value * 16.0 ** (power + 1)) < 4096:
                power += 1
            return struct.pack(">H", power << 12 | round(value * 16.0**power))
        exponent = 0
        while exponent > -15 and round(value * 10.0 ** -(exponent - 1)) < 10_000:
            exponent -= 1
        return f"{round(value * 10.0**-exponent):04d}-{-exponent:02d}\r\n".encode()

    def _damaged(self, data: bytes) -> bytes:
        faults, number = self.faults, self.state.sample
        first, count = faults.dropped
        if first <= number < first + count:
            return b""
        if faults.garbage is not None and number == faults.garbage[0]:
            data = faults.garbage[1] + data
        if faults.cut is not None and number == faults.cut[0]:
            self._cut = faults.cut[1]
        lost, self._cut = min(self._cut, len(data)), max(self._cut - len(data), 0)
        return data[lost:]

    def _wait_until_read(self) -> None:
        quiet = 0
        while quiet < 2 and self._open:
            waiting = struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, b"\0" * 4))[0]
            quiet = 0 if waiting else quiet + 1
            time.sleep(0.0005)


def _number(text: str) -> float:
    """`3300m`, `1k`, `2-3` (UM2269 4.2.3)."""
    for unit, factor in (("u", 1e-6), ("m", 1e-3), ("k", 1e3)):
        if text.endswith(unit):
            return round(float(text[:-1]) * factor, 9)
    return float(text)
