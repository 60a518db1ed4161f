"""Energy by an instrument: the device runs inferences one behind the other while the instrument watches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hil.power.energy import EnergyOptions, Run, measure_energy
from hil.power.monitor import PowerMonitor
from hil.power.result import EnergyResult
from tinygen.errors import DeviceError
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.verbs.arrays import Samples
from tinygen.verbs.device import Device

_CALIBRATION = 10
_MARGIN = 1.05
"""A run is planned so much longer than it must be: the time of an inference was measured over a few."""


@runtime_checkable
class Repeating(Protocol):
    """A client whose device runs many inferences by one command, as MLPerf Tiny's `infer N W`."""

    def load_db(self, data: bytes) -> None:
        """Gives the device the input of these inferences."""

    def measure(self, iterations: int, warm_up: int = 0, codes: Sequence[bytes] | None = None) -> Any:
        """Runs them; an error unless the device says that it ran on `codes`."""


def measure_on(
    device: Device, graph: Graph, samples: Samples, monitor: PowerMonitor, options: EnergyOptions | None = None
) -> EnergyResult:
    """Energy per inference, as MLPerf Tiny measures it: each run on another input, the first of `samples`.

    Raises:
        DeviceError: the firmware runs no inferences one behind the other, or of `measure_energy`.
    """
    client = device.client
    if not isinstance(client, Repeating):
        raise DeviceError(
            "runs no inferences one behind the other", where=device.name, fix="Build it with this tinygen."
        )
    options = options or EnergyOptions()
    return measure_energy(monitor, _Runner(device, client, graph, samples, options).run, options)


class _Runner:
    def __init__(
        self, device: Device, client: Repeating, graph: Graph, samples: Samples, options: EnergyOptions
    ) -> None:
        self.device, self.client, self.graph, self.samples = device, client, graph, samples
        self.least = options.inferences
        # Known before the instrument starts: nothing but inferences in the windows.
        self.form = self._find_form()
        began = time.monotonic()
        self.client.measure(_CALIBRATION, 0, self._codes(0))
        self.seconds = (time.monotonic() - began) / _CALIBRATION

    def run(self, index: int, seconds: float) -> Run:
        """One run of at least so many seconds."""
        sample = index % len(self.samples)
        count = max(self.least, math.ceil(_MARGIN * seconds / self.seconds))
        self.client.load_db(list(self._forms(sample))[self.form])
        began = time.monotonic()
        self.client.measure(count, 0, self._codes(sample))
        return Run(count, began, time.monotonic())

    def _codes(self, sample: int) -> list[bytes]:
        return self.device.in_memory(self.samples.sample(sample))

    def _find_form(self) -> int:
        """Which form of an input the firmware takes: it says what it ran on."""
        problem: DeviceError | None = None
        for index, form in enumerate(self._forms(0)):
            try:
                self.client.load_db(form)
                self.client.measure(1, 0, self._codes(0))
                return index
            except DeviceError as error:
                problem = problem or error
        assert problem is not None
        raise problem

    def _forms(self, sample: int) -> Iterator[bytes]:
        """An input as codes; as MLPerf Tiny's images, 128 more than the codes; and as real values."""
        codes = b"".join(self._codes(sample))
        yield codes
        yield bytes(byte ^ 0x80 for byte in codes)
        encoding = self.graph.tensors[self.graph.inputs[0]].encoding
        if isinstance(encoding, Affine) and len(self.graph.inputs) == 1 and not encoding.per_channel:
            values = self.samples.sample(sample)[0].astype(np.float32) - np.float32(encoding.zero_point[0])
            yield (values * np.float32(encoding.scale[0])).astype("<f4").tobytes()


def describe_energy(result: EnergyResult) -> dict[str, Any]:
    """Its entry in the report; see `hil.report`."""
    middle, around = result.median * 1e6, result.uncertainty * 1e6
    notes = f"; {'; '.join(result.notes)}" if result.notes else ""
    return {
        "source": result.source,
        "about": f"{result.instrument}: median of {len(result.windows)} windows by {result.windows_from}, idle "
        f"included{notes}",
        "microjoules": middle,
        "interval": [middle - around, middle + around],
        **{key: value for key, value in result.as_json().items() if key != "source"},
    }
