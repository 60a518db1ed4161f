"""A Joulescope below the package `joulescope`: in the place of `pyjoulescope_driver.Driver`, which wraps its C library.

The driver publishes pieces of each signal as dictionaries (pyjoulescope_driver, binding: `field_id`, `index`,
`sample_id`, `data`, `sample_rate`, `decimate_factor`); currents and voltages as float32, inputs as bits, low bit first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.hil.power.waveform import Waveform


@dataclass
class JoulescopeFaults:
    """
    Attributes:
        ppm: by how much its clock is fast.
        lost: (first, count) of samples of the output rate that never arrive.
        unplugged: true time when it goes away.
        spike: amperes added in the two samples after the current crosses 18 mA, as when a range is switched.
        volts_error: added to what it measures.
        refuses: it cannot be opened.
        devices: how many are connected.
        wired: whether IN0 sees the timestamp pin.
    """

    ppm: float = 0.0
    lost: tuple[int, int] = (0, 0)
    unplugged: float | None = None
    spike: float = 0.0
    volts_error: float = 0.0
    refuses: bool = False
    devices: int = 1
    wired: bool = True


class JoulescopeDouble:
    """The driver; `Driver()` gives this very object.

    Args:
        model: "js110" (2 MHz) or "js220" (currents at 1 MHz, inputs at 2 MHz).
    """

    def __init__(self, waveform: Waveform, faults: JoulescopeFaults | None = None, model: str = "js220") -> None:
        self.waveform, self.faults, self.model = waveform, faults or JoulescopeFaults(), model
        self.published: list[tuple[str, Any]] = []
        self.log_level = ""
        self._subscribers: dict[str, Callable[[str, Any], None]] = {}
        self._time, self._start, self._sent = 0.0, 0.0, 0
        self._gone = False
        self._notify: Callable[[str, Any], None] | None = None
        self._rate = 2_000_000 if model == "js110" else 1_000_000

    def __call__(self) -> JoulescopeDouble:
        return self

    def device_paths(self) -> list[str]:
        return [f"u/{self.model}/00255{index}" for index in range(self.faults.devices)]

    def open(self, path: str, mode: object, timeout: object) -> int:
        if self.faults.refuses:
            raise RuntimeError("jsdrv_open timed out | 18")
        return 0

    def close(self, path: str, timeout: object = None) -> int:
        return 0

    def finalize(self) -> None:
        pass

    def query(self, topic: str, timeout: object = None) -> int:
        return 0

    def publish(self, topic: str, value: Any, timeout: object = None) -> None:
        self.published.append((topic, value))
        if topic.endswith("s/i/ctrl") and value:
            self._start, self._sent = self._time, 0

    def subscribe(self, topic: str, flags: str, fn: Callable[[str, Any], None], timeout: object = None) -> None:
        if topic == "@/!remove":
            self._notify = fn
        self._subscribers[topic] = fn

    def unsubscribe(self, topic: str, fn: object, timeout: object = None) -> None:
        self._subscribers.pop(topic, None)

    def produce(self, until: float) -> None:
        self._time = until
        if self.faults.unplugged is not None and until >= self.faults.unplugged and not self._gone:
            self._gone = True
            assert self._notify is not None
            self._notify("@/!remove", self.device_paths()[0])
        own = self._rate * (1 + self.faults.ppm * 1e-6)
        # Inputs are sent as whole bytes.
        end = int((until - self._start) * own) // 8 * 8
        begin, self._sent = self._sent, max(end, self._sent)
        first, count = self.faults.lost
        for a, b in ((begin, min(end, first)), (max(begin, first + count), end)) if count else ((begin, end),):
            if b > a and not self._gone:
                self._send(a, b, own)

    def _send(self, begin: int, end: int, own: float) -> None:
        times = self._start + np.arange(begin, end) / own
        amperes = self.waveform.current(times)
        switched = np.diff(amperes > 0.018, prepend=amperes[:1] > 0.018)
        amperes = amperes + self.faults.spike * (switched | np.r_[False, switched[:-1]])
        volts = np.full(len(times), self.waveform.volts + self.faults.volts_error)
        pin = self.waveform.pin(times) if self.faults.wired else np.zeros(len(times), bool)
        full = 2_000_000 // self._rate
        for topic, field, index, data in (
            ("s/i/", 1, 0, amperes),
            ("s/v/", 2, 0, volts),
            ("s/p/", 3, 0, amperes * volts),
        ):
            self._publish(topic, field, index, begin * full, data.astype(np.float32), full)
        self._publish("s/i/range/", 4, 0, begin * full, np.zeros(len(times), np.uint8), full)
        # The C library lowers the rate of currents and voltages; inputs stay at 2 MHz.
        bits = np.packbits(np.repeat(pin, full), bitorder="little")
        self._publish("s/gpi/0/", 5, 0, begin * full, bits, 1)
        self._publish("s/gpi/1/", 5, 1, begin * full, np.zeros_like(bits), 1)

    def _publish(self, topic: str, field: int, index: int, sample: int, data: np.ndarray, decimate: int) -> None:
        topic = f"{self.device_paths()[0]}/{topic}!data"
        call = self._subscribers.get(topic)
        if call is not None:
            call(
                topic,
                {
                    "field_id": field,
                    "index": index,
                    "sample_id": sample,
                    "data": data,
                    "sample_rate": 2_000_000,
                    "decimate_factor": decimate,
                },
            )
