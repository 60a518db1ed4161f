"""`tinygen listen`: sends sound to a device that detects words, and reports the detections."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.builds.manifest import AppEntry, Manifest, read_manifest
from tinygen.errors import TinygenError
from tinygen.hil.audio import RATES, HopEvent, Listened, listen_to_microphone, listened
from tinygen.hil.audio import listen as listen_on
from tinygen.hil.device import Device, open_device

OnEvent = Callable[[HopEvent, float], None]
BOUND = (
    "The lengths of all loops of front end and model are known before any sound: samples of a window, points of the "
    "FFT, channels, the layers' shapes. Only a few branches (zeros, saturation) and the time of a division depend on "
    "the sound, so the longest hop of any sound is near the longest one here."
)
SAME_WORD_SECONDS = 1.0
"""Detections closer together than this belong to one word."""


class Average:
    """The probabilities of a build's outputs, hop by hop, exactly as pymicro-wakeword computes them: the mean of the
    last dequantized outputs, 0.0 before so many are there.

    Args:
        manifest: of a build with the application `wakeword`.
    """

    def __init__(self, manifest: Manifest) -> None:
        output, app = manifest.outputs[0], _app(manifest)
        self._zero, self._scale = np.float32(output.zero_point or 0), np.float32(output.scale or 1.0)
        self._size = app.sliding_window
        self._last: deque[list[float]] = deque(maxlen=self._size)

    def add(self, codes: Iterable[int]) -> tuple[float, ...]:
        """Adds an inference; returns the mean probability of every output."""
        real = (np.array(list(codes), np.float32) - self._zero) * self._scale
        self._last.append([float(value) for value in real])
        if len(self._last) < self._size:
            return tuple(0.0 for _ in real)
        return tuple(statistics.mean(column) for column in zip(*self._last, strict=True))


@dataclass(frozen=True)
class Detection:
    """A word: the first of the inferences in a row that detect it.

    Attributes:
        hop: that the inference ended with; seconds: of sound up to then.
        label: what was heard.
        probability: there; highest: of all inferences in a row.
    """

    hop: int
    seconds: float
    label: str
    probability: float
    highest: float


@dataclass(frozen=True)
class Times:
    """Cycles of hops of one kind; None if there were none, or nothing counts cycles."""

    count: int
    median: int | None
    worst: int | None

    @staticmethod
    def of(cycles: list[int], worst: int) -> Times:
        known = bool(cycles) and worst > 0
        return Times(len(cycles), int(statistics.median(cycles)) if known else None, worst if known else None)


@dataclass(frozen=True)
class ListenReport:
    """The results of listening.

    Attributes:
        device: the runtime's name: "f746zg-emulated".
        manifest: of the build.
        events: one a hop.
        probabilities: of each inference, see `Average`; of the output with the largest sum where there are several.
        detections: words.
        counted: by the device itself.
        clock_hz: what its cycles are of.
        cycles_source: "predicted", "measured", "reported"; "" where nothing counts.
        troubles: descriptions of line errors that were recovered from.
    """

    device: str
    manifest: Manifest
    events: tuple[HopEvent, ...]
    probabilities: tuple[float, ...]
    detections: tuple[Detection, ...]
    counted: Listened
    clock_hz: int
    cycles_source: str
    troubles: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration of the sound."""
        return len(self.events) * self.budget_ms / 1000

    @property
    def app(self) -> AppEntry:
        return _app(self.manifest)

    @property
    def budget_ms(self) -> float:
        """The time of one hop."""
        return float(1000 * self.app.hop_samples / self.app.sample_rate_hz)

    @property
    def without_inference(self) -> Times:
        return Times.of([_cycles(e) for e in self.events if not e.ran], self.counted.worst_without)

    @property
    def with_inference(self) -> Times:
        return Times.of([_cycles(e) for e in self.events if e.ran], self.counted.worst_with)

    @property
    def share(self) -> float | None:
        """Share of real time that front end and model take."""
        total = sum(map(_cycles, self.events))
        return total / (len(self.events) * self.counted.budget) if total and self.cycles_source else None

    def milliseconds(self, cycles: int | None) -> float | None:
        return None if cycles is None or not self.cycles_source else 1000 * cycles / self.clock_hz

    def as_json(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "wake_word": self.app.wake_word,
            "hops": len(self.events),
            "seconds": self.seconds,
            "detections": [asdict(one) for one in self.detections],
            "probabilities": list(self.probabilities),
            "time": {
                "cycles_source": self.cycles_source or None,
                "clock_hz": self.clock_hz,
                "budget_ms": self.budget_ms,
                "without_inference": self._times(self.without_inference),
                "with_inference": self._times(self.with_inference),
                "share_of_real_time": self.share,
                "hops_over_budget": self.counted.overruns,
                "bound": BOUND,
            },
            "counted": asdict(self.counted),
            "troubles": list(self.troubles),
            "events": [asdict(event) for event in self.events],
        }

    def _times(self, times: Times) -> dict[str, Any]:
        return {
            "hops": times.count,
            "median_ms": self.milliseconds(times.median),
            "worst_ms": self.milliseconds(times.worst),
            "worst_cycles": times.worst if self.cycles_source else None,
        }


def _cycles(event: HopEvent) -> int:
    return event.frontend_cycles + event.inference_cycles


def listen(
    folder: Path,
    samples: Iterable[np.ndarray],
    *,
    port: str | None = None,
    device: Device | None = None,
    on_event: OnEvent | None = None,
) -> ListenReport:
    """Sends sound to a device; the model's states are reset first.

    Args:
        folder: written by `tinygen build --app wakeword`.
        samples: int16 at the firmware's sample rate, pieces of any size.
        port: serial port of a real board; else the board's emulator.
        device: an open one of that folder, instead.
        on_event: called after each hop with its event and the probability, the last one where no inference ran.

    Raises:
        TinygenError: the build does not listen, the device is missing, the line is bad.
    """
    app = app_of(folder)
    if device is None:
        with open_device(folder, port=port, count=True) as opened:
            return listen(folder, samples, device=opened, on_event=on_event)
    return _hear(device, listen_on(device.client, samples, hop_samples=app.hop_samples, rates=_rates(app)), on_event)


def listen_to_board(
    folder: Path,
    samples: np.ndarray | None = None,
    *,
    hops: int | None = None,
    port: str | None = None,
    device: Device | None = None,
    on_event: OnEvent | None = None,
) -> ListenReport:
    """Makes a device listen to its own microphone, in real time; an emulated board in emulated time.

    Args:
        folder: written by `tinygen build --app wakeword`.
        samples: what the microphone of an emulated board hears, int16 at the firmware's sample rate.
        hops: number of hops after which it ends; None: at the end of the sound, or without sound at Ctrl-C.
        port, device, on_event: see `listen`.

    Raises:
        TinygenError: the build does not listen, the device is missing or has no microphone, the line is bad.
    """
    app = app_of(folder)
    if device is None:
        with open_device(folder, port=port, count=True) as opened:
            return listen_to_board(folder, samples, hops=hops, device=opened, on_event=on_event)
    if samples is not None:
        hops = samples.size // app.hop_samples if hops is None else hops
        device.feed_microphone(samples)
    return _hear(device, _until(listen_to_microphone(device.client, rates=_rates(app)), hops), on_event)


def _rates(app: AppEntry) -> list[int]:
    return [rate for rate in RATES if rate in app.bauds]


def _until(events: Generator[HopEvent], hops: int | None) -> Generator[HopEvent]:
    """The events of the first hops; or all."""
    with closing(events):
        for event in events if hops != 0 else ():
            if hops is not None and event.hop >= hops:
                return  # an event of the last hop may have been damaged
            yield event
            if event.hop + 1 == hops:
                return


def _hear(device: Device, events: Generator[HopEvent], on_event: OnEvent | None) -> ListenReport:
    """Ctrl-C ends the sound, not the report."""
    before = len(device.client.troubles)
    average, collected = Average(device.manifest), _Collected(_app(device.manifest))
    with closing(events), suppress(KeyboardInterrupt):
        for event in events:
            probability = collected.add(event, average)
            if on_event is not None:
                on_event(event, probability)
    if not collected.events:
        hop = _app(device.manifest).hop_samples
        raise TinygenError(f"the sound is shorter than a hop, which is {hop} samples", fix="Give longer sound.")
    assert device.info is not None
    return ListenReport(
        device=device.name,
        manifest=device.manifest,
        events=tuple(collected.events),
        probabilities=tuple(collected.probabilities),
        detections=tuple(collected.detections),
        counted=listened(device.client),
        clock_hz=device.info.clock_hz,
        cycles_source=device.cycles_source,
        troubles=tuple(device.client.troubles[before:]),
    )


def app_of(folder: Path) -> AppEntry:
    """The manifest's part about the application.

    Raises:
        TinygenError: the build has no application that listens.
    """
    app = read_manifest(folder).app
    if app is None or app.kind != "wakeword":
        raise TinygenError(
            "its firmware does not listen",
            where=str(folder),
            fix="Build it with: tinygen build MODEL --app wakeword --out DIR",
        )
    return app


def _app(manifest: Manifest) -> AppEntry:
    assert manifest.app is not None, "see `app_of`"
    return manifest.app


class _Collected:
    """Events, and the words in them."""

    def __init__(self, app: AppEntry) -> None:
        self._hop_seconds = app.hop_samples / app.sample_rate_hz
        self._labels = app.labels
        self._newest = 0.0
        self._until = -1.0
        self.events: list[HopEvent] = []
        self.probabilities: list[float] = []
        self.detections: list[Detection] = []

    def add(self, event: HopEvent, average: Average) -> float:
        self.events.append(event)
        if event.ran:
            self._newest = average.add(event.codes)[event.label]
            self.probabilities.append(self._newest)
        if event.detected:
            self._detected(event)
        return self._newest

    def _detected(self, event: HopEvent) -> None:
        now, label = (event.hop + 1) * self._hop_seconds, self._labels[event.label]
        before = self.detections[-1] if self.detections else None
        if before is not None and before.label == label and now <= self._until:
            highest = max(before.highest, self._newest)
            self.detections[-1] = Detection(before.hop, before.seconds, label, before.probability, highest)
        else:
            self.detections.append(Detection(event.hop, now, label, self._newest, self._newest))
        self._until = now + SAME_WORD_SECONDS
