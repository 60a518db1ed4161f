"""What a device says, as data."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DeviceInfo:
    """What a device says of itself.

    Attributes:
        name, build: of the model it runs.
        clock_hz: what its core runs at.
        inputs, outputs: bytes of each.
        layers: how many, of the current switch.
        switches: names of the ways to run the model; empty when there is only one.
        current: index of the one that it is run by now.
        db_bytes: of the buffer for inputs of `measure`; 0 where it has none.
        mode: "performance" or "energy".
        state_bytes: what its model keeps from one inference to the next; 0: each is for itself.
        thresholds: that may be set: the code of each by name, in order.
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
    """One inference, whole.

    Attributes:
        outputs: bytes of each output.
        cycles: what the device counted.
    """

    outputs: tuple[bytes, ...]
    cycles: int


@dataclass(frozen=True)
class Window:
    """Inferences between two timestamps.

    Attributes:
        iterations: how many.
        microseconds: between the timestamps, by the device's own clock; None in energy mode, where the timestamp pin
            marks them.
        results: values of the last inference's outputs, with three decimals.
    """

    iterations: int
    microseconds: int | None
    results: tuple[float, ...]


@dataclass(frozen=True)
class Marks:
    """High-water marks since `paint`, in bytes: at least so much was written, and there is so much.

    None where it is not known: there is no such memory, or the device restarted since.
    """

    arena: tuple[int, int] | None
    stack: tuple[int, int] | None
