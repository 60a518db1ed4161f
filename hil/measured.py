"""Energy by an instrument: the device runs inferences one behind the other while the instrument watches."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hil.power import EnergyOptions, EnergyResult, PowerMonitor, measure_device
from tinygen.errors import DeviceError
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.verbs.arrays import Samples
from tinygen.verbs.device import Device

_CALIBRATION = 10


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
        DeviceError: the firmware runs no inferences one behind the other, or of `hil.power.measure_energy`.
    """
    client, options = device.client, options or EnergyOptions()
    if not isinstance(client, Repeating):
        raise DeviceError(
            "runs no inferences one behind the other", where=device.name, fix="Build it with this tinygen."
        )
    # Known before the instrument starts: nothing but inferences in the windows.
    form = _form_of(client, device, graph, samples)
    began = time.monotonic()
    client.measure(_CALIBRATION, 0, device.in_memory(samples.sample(0)))
    seconds = (time.monotonic() - began) / _CALIBRATION
    used = range(min(options.runs, len(samples)))
    inputs = [list(_forms(device, graph, samples.sample(index)))[form] for index in used]
    return measure_device(client, monitor, inputs, seconds, options)


def _form_of(client: Repeating, device: Device, graph: Graph, samples: Samples) -> int:
    """Which form of an input the firmware takes: it says what it ran on."""
    problem: DeviceError | None = None
    for index, form in enumerate(_forms(device, graph, samples.sample(0))):
        try:
            client.load_db(form)
            client.measure(1, 0, device.in_memory(samples.sample(0)))
            return index
        except DeviceError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _forms(device: Device, graph: Graph, sample: Sequence[np.ndarray]) -> Iterator[bytes]:
    """An input as codes; as MLPerf Tiny's images, 128 more than the codes; and as real values."""
    codes = b"".join(device.in_memory(sample))
    yield codes
    yield bytes(byte ^ 0x80 for byte in codes)
    encoding = graph.tensors[graph.inputs[0]].encoding
    if isinstance(encoding, Affine) and len(sample) == 1 and not encoding.per_channel:
        values = sample[0].astype(np.float32) - np.float32(encoding.zero_point[0])
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
