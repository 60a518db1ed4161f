"""What MLPerf Tiny's models are known by, what their runner sends, and what they print."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tinygen.emit.benchmark import benchmark_of
from tinygen.ir.encodings import Affine, Encoding, Float32, Levels
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True)
class Ends:
    """What of a program counts here."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Switches:
    """What of a network counts here."""

    def __init__(self, *programs: Ends) -> None:
        self.programs, self.first = programs, programs[0]


def affine(scale: float, zero: int, storage: str = "int8") -> Affine:
    return Affine(storage, (scale,), (zero,))


def ends(shape: tuple[int, ...], codes: Encoding, out: tuple[int, ...], values: Encoding) -> Ends:
    return Ends((Tensor("x", shape, codes),), (Tensor("y", out, values),))


PROBABILITY = affine(1 / 256, -128)


@pytest.mark.parametrize(
    ("program", "identity", "kind", "size"),
    [
        (ends((1, 49, 10, 1), affine(0.5847, 83), (1, 12), PROBABILITY), "kws01", "codes", 490),
        (ends((1, 32, 32, 3), affine(1.0, -128), (1, 10), PROBABILITY), "ic01", "image", 3072),
        (ends((1, 32, 32, 3), affine(0.02, 4), (1, 10), PROBABILITY), "ic01", "codes", 3072),
        (ends((1, 32, 32, 3), Float32(), (1, 10), Float32()), "ic01", "codes", 12288),
        (ends((1, 96, 96, 3), affine(1 / 255, -128), (1, 2), PROBABILITY), "vww01", "image", 27648),
        (ends((1, 640), affine(0.4, 90), (1, 640), affine(0.3, 80)), "ad01", "floats", 2560),
        (ends((1, 640), Float32(), (1, 640), Float32()), "ad01", "codes", 2560),
        (ends((1, 64), affine(1.0, -128), (1, 10), PROBABILITY), "", "codes", 64),
    ],
)
def test_what_the_runner_sends(program: Ends, identity: str, kind: str, size: int) -> None:
    found = benchmark_of(Switches(program))  # type: ignore[arg-type]
    assert (found["id"], found["kind"], found["db_bytes"]) == (identity, kind, size)
    assert found["distance"] == (kind == "floats") and len(found["outputs"]) == 1


def test_scales_of_each_switch() -> None:
    one = ends((1, 8), affine(1.0, 0), (1, 3), affine(0.25, 3))
    other = ends((1, 8), affine(1.0, 0), (1, 3), affine(0.5, 4))
    (output,) = benchmark_of(Switches(one, other))["outputs"]  # type: ignore[arg-type]
    numbers = [{k: s[k] for k in ("gain", "zero")} for s in output["scales"]]
    assert numbers == [{"gain": 1, "zero": 3}, {"gain": 1, "zero": 4}]
    assert [s["mantissa"] * 2.0 ** s["exponent"] for s in output["scales"]] == [0.25, 0.5]


def test_switches_of_unlike_types_and_scales() -> None:
    """Outputs of two types are not printed, and distances are of switches that all take and give the same codes."""
    int8 = ends((1, 8), affine(1.0, 0), (1, 3), affine(0.25, 3))
    int16 = ends((1, 8), affine(1.0, 0), (1, 3), affine(0.25, 0, "int16"))
    assert benchmark_of(Switches(int8, int16))["outputs"] == []  # type: ignore[arg-type]
    one, other = (ends((1, 640), affine(x, 90), (1, 640), affine(0.3, 80)) for x in (0.4, 0.5))
    assert benchmark_of(Switches(one, one))["kind"] == "floats"  # type: ignore[arg-type]
    assert benchmark_of(Switches(one, other))["kind"] == "codes"  # type: ignore[arg-type]


def test_signed_levels_are_odd_numbers() -> None:
    program = ends((1, 8), affine(1.0, 0), (1, 3), Levels((0.5,), bits=2, signed=True))
    (output,) = benchmark_of(Switches(program))["outputs"]  # type: ignore[arg-type]
    (scale,) = output["scales"]
    values = [(scale["gain"] * q - scale["zero"]) * scale["mantissa"] * 2.0 ** scale["exponent"] for q in range(4)]
    assert values == [-1.5, -0.5, 0.5, 1.5]


def test_codes_with_a_scale_per_channel_are_not_printed() -> None:
    values = Affine("int8", (0.1, 0.2, 0.3), (0, 0, 0), 1)
    assert benchmark_of(Switches(ends((1, 8), affine(1.0, 0), (1, 3), values)))["outputs"] == []  # type: ignore[arg-type]
