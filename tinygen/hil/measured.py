"""Energy measured by an instrument while the device runs inferences one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygen.builds.arrays import Samples
from tinygen.errors import DeviceError
from tinygen.hil.device import Device
from tinygen.hil.power import EnergyOptions, EnergyResult, PowerMonitor, measure_device
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph


def measure_on(
    device: Device, graph: Graph, samples: Samples, monitor: PowerMonitor, options: EnergyOptions | None = None
) -> EnergyResult:
    """Energy per inference, as MLPerf Tiny measures it: each run on another input, the first of `samples`.

    Raises:
        DeviceError: of the device, or of `tinygen.hil.power.measure_energy`.
    """
    options = options or EnergyOptions()
    # Known before the instrument starts: nothing but inferences in the windows.
    form = _form_of(device, graph, samples)
    # By the device's own counter: this computer's clock would count the command on the line, too, which at 9600 baud
    # may take longer than the inference.
    _, cycles = device.timed(samples.sample(0))
    clock_hz = device.client.info().clock_hz
    used = range(min(options.runs, len(samples)))
    inputs = [list(_forms(device, graph, samples.sample(index)))[form] for index in used]
    return measure_device(device.client, monitor, inputs, cycles / clock_hz, options)


def _form_of(device: Device, graph: Graph, samples: Samples) -> int:
    """Which form of an input the firmware takes: the checksums in its reply tell."""
    problem: DeviceError | None = None
    for index, form in enumerate(_forms(device, graph, samples.sample(0))):
        try:
            device.client.load_db(form)
            device.client.measure(1, 0, device.in_memory(samples.sample(0)))
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
    """Its entry in the report; see `tinygen.hil.report`."""
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
