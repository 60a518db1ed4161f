"""Nordic's Power Profiler Kit II through the package `ppk2-api`, which knows its commands and calibration.

The package leaves out what tells lost samples: every word carries a counter of six bits beside the current (Nordic's
own program, pc-nrfconnect-ppk, `MEAS_COUNTER` in serialDevice.ts, checks it). Here raw words are kept while the board
runs; their counters say where some are missing, and the package decodes the rest afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.power.clock import fit_clock
from tinygen.hil.power.monitor import Edge, Trace
from tinygen.hil.power.ppk2_words import WORD_BYTES, Run, find_runs
from tinygen.hil.power.reader import StreamReader

HERTZ = 100_000
"""Words per second; fixed (Nordic, PPK2 user guide)."""
_MILLIVOLTS = (800, 5000)
_MAX_AMPERES = 1.0
_QUIET_SECONDS = 0.1
_GONE_HELP = "Check its cable, and start anew."
_FIND_HELP = "Connect it by its USB data port; on Linux, your user must be in the group that owns /dev/ttyACM*."


class Ppk2:
    """The instrument; as a source meter it supplies the board from the constructor on.

    Args:
        port: its serial port, or "auto" for the only one that is connected.
        volts: what the board is supplied with: by the instrument, 0.8 to 5.0 V, or as an ampere meter by others.
        ampere: measure the current of a board that something else supplies.
        pin: digital channel D0 to D7 that the timestamp pin is wired to. Channels are sampled as often as the current,
            so a pulse must last longer than 10 us to be seen.
        now: this computer's clock.

    Raises:
        DeviceError: it is not there, or does not answer.
        TinygenError: settings that it does not have, or the package is not installed.
    """

    def __init__(
        self,
        port: str = "auto",
        *,
        volts: float = 3.3,
        ampere: bool = False,
        pin: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        millivolts = round(volts * 1000)
        _check_settings(millivolts, pin)
        self._volts, self._pin, self._now = volts, pin, now
        self._reader: StreamReader | None = None
        self._pieces: list[bytes] = []
        self._arrivals: list[tuple[int, float]] = []
        self._api, found = _open(port)
        self.name = f"Nordic PPK2 ({found}{', as ampere meter' if ampere else ''})"
        (self._api.use_ampere_meter if ampere else self._api.use_source_meter)()
        # As an ampere meter it does not set this voltage, but needs it to correct its offsets.
        self._api.set_source_voltage(millivolts)
        self._api.toggle_DUT_power("ON")

    def start(self) -> None:
        self._pieces, self._arrivals = [], []
        self._bytes = 0
        # What writing meets is only logged by the package; reading raises.
        self._api.start_measuring()
        self._reader = StreamReader(self._api.get_data, self._take, self._now)

    def _take(self, piece: bytes, moment: float) -> None:
        self._pieces.append(piece)
        self._bytes += len(piece)
        self._arrivals.append((self._bytes, moment))

    def stop(self) -> Trace:
        reader, self._reader = self._reader, None
        if reader is None:
            raise DeviceError("was not started", where=self.name)
        if reader.error is None:
            self._api.stop_measuring()
        reader.stop()
        if reader.error is not None:
            raise DeviceError(f"went away ({reader.error})", where=self.name, fix=_GONE_HELP) from reader.error
        data = b"".join(self._pieces)
        runs = find_runs(data)
        if not runs:
            raise DeviceError(
                f"sent {len(data)} bytes, and no samples among them", where=self.name, fix="Plug it in anew."
            )
        return self._trace(data, runs)

    def _trace(self, data: bytes, runs: Sequence[Run]) -> Trace:
        total = runs[-1].sample + runs[-1].words
        amperes, level = np.full(total, np.nan), np.zeros(total, bool)
        for run in runs:
            microamperes, bits = self._api.get_samples(data[run.begin : run.end])
            here = slice(run.sample, run.sample + run.words)
            amperes[here] = np.asarray(microamperes) * 1e-6
            level[here] = np.asarray(bits, np.uint8) >> self._pin & 1
        known = np.flatnonzero(~np.isnan(amperes))
        changes = np.flatnonzero(np.diff(level[known].astype(np.int8))) + 1
        # Between two words a pin may change anywhere: half way is nearest.
        edges = tuple(Edge((known[i - 1] + known[i]) / 2 / HERTZ, bool(level[known[i]])) for i in changes)
        high = int(np.count_nonzero(amperes[known] > _MAX_AMPERES))
        notes = (f"{high} samples are above {_MAX_AMPERES:g} A, which the PPK2 is not made for",) if high else ()
        fit = fit_clock(*self._clocks(runs))
        return Trace(
            np.arange(total) / HERTZ,
            amperes,
            self._volts,
            edges,
            host_start=fit.start,
            host_rate=fit.rate,
            host_uncertainty=fit.uncertainty,
            edge_uncertainty=1 / HERTZ,
            notes=notes,
        )

    def _clocks(self, runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
        """When the last word of each piece was measured, by both clocks."""
        begins = np.array([run.begin for run in runs])
        own, host = [], []
        for end, moment in self._arrivals:
            run = runs[max(int(np.searchsorted(begins, end, "left")) - 1, 0)]
            words = min((end - run.begin) // WORD_BYTES, run.words)
            if words > 0:
                own.append((run.sample + words) / HERTZ)
                host.append(moment)
        keep = np.flatnonzero(np.diff(own, prepend=-1.0) > 0)
        return np.array(own)[keep], np.array(host)[keep]

    def close(self) -> None:
        if self._reader is not None:
            with suppress(TinygenError):
                self.stop()
        self._api.toggle_DUT_power("OFF")
        self._api.ser.close()


def _check_settings(millivolts: int, pin: int) -> None:
    low, high = _MILLIVOLTS
    if not low <= millivolts <= high:
        # The package would quietly take the nearest voltage.
        raise TinygenError(f"the PPK2 is for {low} to {high} mV, not {millivolts} mV", fix="Use another instrument.")
    if not 0 <= pin <= 7:
        raise TinygenError(f"the PPK2 has no digital channel D{pin}", fix="Channels: D0 to D7.")


def _open(port: str) -> tuple[Any, str]:
    """The package's object, calibrated, and the port it was found on.

    Raises:
        TinygenError: the package is not installed.
        DeviceError: no instrument, or several.
    """
    try:
        from ppk2_api.ppk2_api import PPK2_API
    except ImportError as error:
        raise TinygenError("the package ppk2-api is not installed", fix="pip install 'tinygen[power]'") from error
    ports = PPK2_API.list_devices() if port == "auto" else [port]
    if not ports:
        raise DeviceError("no PPK2 is connected", fix=_FIND_HELP)
    answers = []
    for candidate in ports:
        # Some firmware shows two ports, of which one measures.
        try:
            api = PPK2_API(candidate, timeout=1.0, write_timeout=5.0, exclusive=True)
            answers.append(_calibrated(api, candidate))
        except (OSError, ValueError) as error:  # serial.SerialException is an OSError
            if len(ports) == 1:
                raise DeviceError(f"the port cannot be opened ({error})", where=candidate, fix=_FIND_HELP) from error
        except DeviceError:
            if len(ports) == 1:
                raise
    if len(answers) != 1:
        for api, _ in answers:
            api.ser.close()
        fix = f"Name one of the ports: {', '.join(ports)}."
        raise DeviceError(f"{len(answers)} of {len(ports)} ports answer as a PPK2", fix=fix)
    return answers[0]


def _calibrated(api: Any, port: str) -> tuple[Any, str]:
    """Ends what an earlier program left running, and reads the calibration."""
    api.stop_measuring()
    time.sleep(_QUIET_SECONDS)
    while api.get_data():
        time.sleep(_QUIET_SECONDS)
    try:
        calibrated = api.get_modifiers()
    except UnicodeDecodeError:
        calibrated = None
    if not calibrated:
        api.ser.close()
        raise DeviceError("does not answer as a PPK2", where=port, fix=_FIND_HELP)
    return api, port
