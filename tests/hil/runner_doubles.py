"""The two boards of MLPerf Tiny's energy mode, on pseudo-terminals: interface board and power monitor, around an
emulated board. What they say is what the runner (mlcommons/tiny, benchmark/runner: io_manager.py,
streaming_ww_utils.py, power_manager_lpm.py) reads.
"""

from __future__ import annotations

import os
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinygen.audio.wav import read_wav
from tinygen.targets.emulator import EmulatedBoard

MICROJOULES_PER_SAMPLE = 33


class Answering:
    """A pseudo-terminal whose commands end with `end`; `answer` is called with each, in a thread."""

    def __init__(self, end: bytes, answer: Callable[[str], None]) -> None:
        self._leader, self._follower = os.openpty()
        tty.setraw(self._follower)
        self.port = os.ttyname(self._follower)
        self._end, self._answer = end, answer
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        os.write(self._leader, text.encode())

    def close(self) -> None:
        os.close(self._follower)
        self._thread.join(5.0)
        os.close(self._leader)

    def _serve(self) -> None:
        waiting = b""
        while True:
            try:
                waiting += os.read(self._leader, 4096)
            except OSError:
                return
            *commands, waiting = waiting.split(self._end)
            for command in commands:
                self._answer(command.decode().strip())


class Monitor:
    """An LPM01A that samples the board's emulated time at 1 kHz, and tells the falls of its timestamp pin."""

    def __init__(self, board: EmulatedBoard) -> None:
        self._board = board
        self._running = False
        self._sample = self._event = 0
        self._from = (0, 0)  # cycles; edges
        self.line = Answering(b"\n", self._answer)

    def sample(self) -> None:
        """Sends what is due by the board's time."""
        if not self._running:
            return
        cycles, edges = self._from
        hertz = self._board.board.core_hz or 1
        falls = [at for at, high in self._board.edges[edges:] if not high]
        while (until := cycles + (self._sample + 1) * hertz // 1000) <= self._board.cycles:
            text = f"TimeStamp: {self._sample // 1000:03d}s 000ms, buff 03%\r\n" if self._sample % 1000 == 0 else ""
            while self._event < len(falls) and falls[self._event] < until:
                text += f"event {self._event:02d} ris\r\n"
                self._event += 1
            self.line.say(f"{text}{MICROJOULES_PER_SAMPLE:04d}-06\r\n")
            self._sample += 1

    def _answer(self, command: str) -> None:
        self.line.say(f"\r\nPowerShield > ack {command}\r\n\r\n")
        if command == "start":
            self._running, self._from = True, (self._board.cycles, len(self._board.edges))
        elif command == "stop":
            self._running = False
            self.line.say("\r\nPowerShield > Acquisition completed\r\n")


class Interface:
    """An stm32h573i-dk between the runner and the board's UART, I2S port and pins.

    Args:
        card: what it plays from.
    """

    def __init__(self, board: EmulatedBoard, monitor: Monitor, card: Path | None = None) -> None:
        self._board, self._monitor, self._card = board, monitor, card
        self.rates: list[int] = []
        pins = board.board.stream_pins
        self._processing, self._detection = (
            ([], [])
            if pins is None
            else (
                board.watch(pins.processing),
                board.watch(pins.detection),
            )
        )
        self._from = 0  # cycles: when it began to record
        self.line = Answering(b"%", self._answer)

    def _answer(self, command: str) -> None:
        name, _, rest = command.partition(" ")
        if name == "setbaud":
            self.rates.append(int(rest))
            self._board.set_baud(int(rest))
        elif name == "record_detections":
            self._from = self._board.cycles
        elif name == "play":
            self._play(rest)
        elif name.startswith("print_"):
            self.line.say(self._detections() if name == "print_detections" else self._duty_cycle())
        self.line.say(f"m-{name}\r\nm-ready\r\n" if name == "dut" else "m-ready\r\n")
        if name == "dut":
            self._board.write(f"{rest}%".encode())
            while self._pass_on() != "m-ready":
                pass

    def _play(self, name: str) -> None:
        """A file, over I2S; both channels of the benchmark's are the same."""
        assert self._card is not None
        self._board.feed_microphone(read_wav(self._card / name))
        while self._board.sound_left:
            self._board.read(1, 0.05)
            self._monitor.sample()

    def _edges(self, edges: list[tuple[int, bool]], *, high: bool) -> list[float]:
        """Seconds since it began to record."""
        hertz = self._board.board.core_hz or 1
        return [(at - self._from) / hertz for at, now in edges if now == high and at >= self._from]

    def _detections(self) -> str:
        lines = [f"{int(1000 * at)},\r\n" for at in self._edges(self._detection, high=False)]
        return "Detection Timestamps (ms)\r\n" + "".join(lines)

    def _duty_cycle(self) -> str:
        """In units of 10 us, eight a line."""
        text = ""
        for what, high in (("start", True), ("stop", False)):
            times = [str(int(100_000 * at)) for at in self._edges(self._processing, high=high)]
            lines = [", ".join(times[i : i + 8]) + ", \r\n" for i in range(0, len(times), 8)]
            text += f"Duty cycle {what} times (s)\r\n" + "".join(lines)
        return text

    def _pass_on(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            line += self._board.read(1, 0.05)
            self._monitor.sample()
        self.line.say(f"[dut]: {line.decode()}")
        return line.decode().strip()


def usb(device: str, vid: int, pid: int) -> dict[str, Any]:
    """A serial port, as the runner sees it."""
    return {"device": device, "vid": vid, "pid": pid, "description": device}
