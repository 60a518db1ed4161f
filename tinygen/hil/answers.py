"""A device's replies, parsed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DeviceInfo:
    """A device's description of itself.

    Attributes:
        name, build: of the model it runs.
        clock_hz: frequency of its core.
        inputs, outputs: size of each in bytes.
        layers: number of layers of the current switch.
        switches: names of the ways to run the model; empty when there is only one.
        current: index of the selected switch.
        db_bytes: size of the buffer for inputs of `measure`; 0 if there is none.
        mode: "performance" or "energy".
        state_bytes: size of the states that its model keeps between inferences; 0 if inferences are independent.
        thresholds: current code of each adjustable threshold by name, in the model's order.
    """

    name: str
    build: str
    clock_hz: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    layers: int
    switches: tuple[str, ...] = ()
    current: int = 0
    db_bytes: int = 0
    mode: str = "performance"
    state_bytes: int = 0
    thresholds: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Inference:
    """The result of one inference.

    Attributes:
        outputs: bytes of each output.
        cycles: counted by the device.
    """

    outputs: tuple[bytes, ...]
    cycles: int


@dataclass(frozen=True)
class Window:
    """Inferences between two timestamps.

    Attributes:
        iterations: number of inferences.
        microseconds: between the timestamps, by the device's own clock; None in energy mode, where the timestamp pin
            marks them.
        results: values of the last inference's outputs, with three decimals.
    """

    iterations: int
    microseconds: int | None
    results: tuple[float, ...]


@dataclass(frozen=True)
class Marks:
    """High-water marks since `paint`: bytes written (a lower bound) and bytes available.

    A value is None if it is unknown: there is no such memory, or the device has restarted since `paint`.
    """

    arena: tuple[int, int] | None
    stack: tuple[int, int] | None
