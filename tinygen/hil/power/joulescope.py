"""Joulescope JS110 and JS220 through the package `joulescope`.

The instrument measures current and voltage a million times a second or more. Means over short intervals are kept: the
current of an interval is its energy over its voltage, so that no product of fluctuations is lost, while edges of the
digital input IN0 are looked for in every sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.clock import fit_clock
from tinygen.hil.power.monitor import Edge, Trace

KEPT_HERTZ = 10_000
"""Means per second that are kept."""
_BUFFER_SECONDS = 2
_FIELDS = ["current", "voltage", "power", "current_lsb"]
_INPUT = "gpi0"
_FIND_HELP = "Connect it by USB; on Linux, install its udev rule (joulescope.readthedocs.io, installation)."
_IO_VOLTS = (1.8, 2.1, 2.5, 2.7, 3.0, 3.3, 3.6, 5.0)
"""Of the digital input; joulescope, parameters_v1.py."""


class Joulescope:
    """The instrument, between the board and whatever supplies it.

    Args:
        serial: of the one to use where several are connected, "002557"; "auto" for the only one.
        volts: of the board; sets the threshold of the digital input.
        now: this computer's clock.

    Raises:
        DeviceError: it is not there, or cannot be opened.
        TinygenError: the package is not installed.
    """

    def __init__(self, serial: str = "auto", *, volts: float = 3.3, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._device = _find(serial)
        self.name = f"Joulescope {self._device}"
        try:
            # Of the package's own buffer little is needed, and every second of it takes 15 to 30 Mbytes.
            self._device.buffer_duration = _BUFFER_SECONDS
            self._device.open()
            self._device.parameter_set("sampling_frequency", self._device.sampling_frequency)
            self._device.parameter_set("i_range", "auto")
            nearest = min(_IO_VOLTS, key=lambda known: abs(known - volts))
            self._device.parameter_set("io_voltage", f"{nearest:.1f}V")
            self._device.parameter_set("current_lsb", _INPUT)
        except Exception as error:  # the driver raises whatever its C library meets
            with suppress(Exception):
                self._device.close()
            raise DeviceError(f"cannot be opened ({error})", where=self.name, fix=_FIND_HELP) from error
        self._collector: _Collector | None = None

    def start(self) -> None:
        self._collector = _Collector(self._device.sampling_frequency, self._now)
        self._device.stream_process_register(self._collector)
        try:
            self._device.start()
        except Exception as error:
            raise DeviceError(f"does not start ({error})", where=self.name, fix=_FIND_HELP) from error

    def stop(self) -> Trace:
        collector, self._collector = self._collector, None
        if collector is None:
            raise DeviceError("was not started", where=self.name)
        # The package closes a device that went away.
        gone = not self._device.is_open
        if not gone:
            self._device.stop()
            self._device.stream_process_unregister(collector)
        if gone:
            raise DeviceError("went away", where=self.name, fix="Check its cable, and start anew.")
        if collector.error is not None:
            raise DeviceError(
                f"gave samples that cannot be read ({collector.error})", where=self.name, fix="Start anew."
            ) from collector.error
        return collector.trace(self.name)

    def close(self) -> None:
        with suppress(Exception):
            self._device.close()


def _find(serial: str) -> Any:
    try:
        import joulescope
    except ImportError as error:
        raise TinygenError("the package joulescope is not installed", fix="pip install 'tinygen[power]'") from error
    devices = joulescope.scan(config="auto")
    names = ", ".join(map(str, devices)) or "none"
    if serial != "auto":
        devices = [device for device in devices if str(device).lower().endswith(serial.lower())]
    if len(devices) != 1:
        raise DeviceError(
            f"{len(devices)} Joulescopes {'are connected' if serial == 'auto' else f'are called {serial}'}",
            fix=f"Connected: {names}. Name one: joulescope:SERIAL. {_FIND_HELP}",
        )
    return devices[0]


class _Collector:
    """What the package calls with every piece of the stream; keeps means and edges.

    Attributes:
        driver_active: of the package: False to be called no more.
        error: what a piece could not be read for.
    """

    def __init__(self, hertz: int, now: Callable[[], float]) -> None:
        self._hertz, self._now = hertz, now
        self._factor = max(hertz // KEPT_HERTZ, 1)
        self._first: int | None = None
        self._next = 0
        self._level: bool | None = None
        self._means: list[np.ndarray] = []
        self._edges: list[Edge] = []
        self._arrivals: list[tuple[float, float]] = []
        self.driver_active = True
        self.error: Exception | None = None

    def stream_notify(self, stream_buffer: Any) -> bool:
        """Takes what is new; in the package's thread. True would end the stream."""
        moment = self._now()
        try:
            self._take(stream_buffer, moment)
        except Exception as error:  # the package would only log it
            self.error = error
            return True
        return False

    def _take(self, stream_buffer: Any, moment: float) -> None:
        begin, end = stream_buffer.sample_id_range
        if begin is None or begin == end:
            return
        if self._first is None:
            self._first = self._next = begin
        if begin > self._next:
            raise ValueError(f"{begin - self._next} samples were overwritten before they were read")
        self._arrivals.append(((end - self._first) / self._hertz, moment))
        blocks = (end - self._next) // self._factor
        if not blocks:
            return
        stop = self._next + blocks * self._factor
        signals = stream_buffer.samples_get(self._next, stop, fields=_FIELDS)["signals"]
        columns = [np.asarray(signals[name]["value"], np.float64) for name in _FIELDS[:3]]
        means = [column.reshape(blocks, self._factor).mean(axis=1) for column in columns]
        self._means.append(np.array(means))
        self._find_edges(np.asarray(signals["current_lsb"]["value"], bool), ~np.isnan(columns[0]))
        self._next = stop

    def _find_edges(self, level: np.ndarray, known: np.ndarray) -> None:
        """
        Args:
            level: of the input, [N].
            known: False where the sample is lost, and the level with it.
        """
        assert self._first is not None
        places = np.flatnonzero(known)
        if not len(places):
            return
        levels = level[places]
        before = levels[:1] if self._level is None else np.array([self._level])
        for change in np.flatnonzero(levels != np.r_[before, levels[:-1]]):
            number = self._next - self._first + int(places[change])
            self._edges.append(Edge((number - 0.5) / self._hertz, bool(levels[change])))
        self._level = bool(levels[-1])

    def trace(self, name: str) -> Trace:
        """
        Raises:
            DeviceError: there is nothing.
        """
        if not self._means:
            raise DeviceError("sent no samples", where=name, fix="Plug it in anew.")
        _, volts, watts = np.concatenate(self._means, axis=1)
        interval = self._factor / self._hertz
        own, host = np.array(self._arrivals).T
        fit = fit_clock(own, host)
        # A board without voltage has no power to divide.
        amperes = np.divide(watts, volts, out=np.where(np.isnan(watts), np.nan, 0.0), where=np.abs(volts) > 1e-3)
        return Trace(
            (np.arange(len(volts)) + 0.5) * interval,
            amperes,
            volts,
            tuple(self._edges),
            host_start=fit.start,
            host_rate=fit.rate,
            host_uncertainty=fit.uncertainty,
            edge_uncertainty=1 / self._hertz,
        )
