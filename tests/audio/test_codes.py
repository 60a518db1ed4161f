"""Raw features to codes: pymicro-wakeword's own arithmetic, for every raw value and several kinds of input."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support.host_batch import SANITIZERS, compile_host
from tinygen.audio.codes import CoefficientCodes, FeatureCodes
from tinygen.emit.ctext import array_lines
from tinygen.emit.templates import environment
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, Float32, Levels

RAW = np.arange(65536, dtype=np.uint16)
WAKEWORD = Affine("int8", (0.10196078568696976,), (-128,))
"""The input of all four models that pymicro-wakeword ships."""
LINES = {
    "wakeword": WAKEWORD,
    "uint8": Affine("uint8", (0.10196078568696976,), (0,)),
    "odd": Affine("int8", (float(np.float32(0.0123457)),), (-77,)),
    "coarse": Affine("int8", (float(np.float32(12.345)),), (-128,)),
    "very_coarse": Affine("uint8", (900.0,), (255 - 2,)),
    "fine": Affine("int8", (float(np.float32(1e-3)),), (-100,)),
    "all_or_nothing": Affine("uint8", (float(np.float32(1e-12)),), (0,)),
    "mlperf": Affine("int8", (float(np.float32(0.5847029)),), (83,)),
    "whole_steps": Affine("int8", (10 / 256,), (-128,)),
}
TIES = {
    "halves": Affine("int8", (10 / 128,), (-128,)),
    "quarters": Affine("uint8", (10 / 64,), (3,)),
    "whole_range": Affine("int8", (10.0,), (-128,)),
}
WIDE = ("coarse", "all_or_nothing")
"""Those whose constants need 64 bits."""
ENCODINGS = {**LINES, **TIES}


def pymicro_wakeword(raw: np.ndarray, encoding: Affine) -> np.ndarray:
    """The arithmetic of `process_streaming_prob` on what pymicro-features returns (Python floats), unsaturated."""
    features = np.array((raw.astype(np.float32) * np.float32(0.0390625)).tolist())
    rounded: np.ndarray = np.round(features / encoding.scale[0] + encoding.zero_point[0])
    return rounded


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_raw_value_has_pymicro_wakewords_code(name: str) -> None:
    encoding = ENCODINGS[name]
    wanted = pymicro_wakeword(RAW, encoding)
    low, high = encoding.code_range
    found = FeatureCodes(encoding).apply(RAW)
    assert found.dtype == encoding.dtype
    inside = (low <= wanted) & (wanted <= high)
    # Where it fits, the cast to the input's type, as pymicro-wakeword has it; beyond, the end of the range.
    assert np.array_equal(found[inside], wanted[inside].astype(encoding.dtype))
    assert (found[wanted > high] == high).all()
    assert np.count_nonzero(wanted < low) == 0


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_cs_arithmetic_is_the_table(name: str) -> None:
    codes = FeatureCodes(ENCODINGS[name])
    zero = ENCODINGS[name].zero_point[0]
    assert (codes.line is None) == (name in TIES)
    if codes.line is None:
        assert len(codes.starts) <= 255
        assert np.array_equal(np.searchsorted(codes.starts, RAW, side="right") + zero, codes.table)
    else:
        below = RAW[: codes.limit]
        assert np.array_equal(codes.line.apply(below) + zero, codes.table[: codes.limit])
        assert (codes.table[codes.limit :] == codes.table[-1]).all()
        sums = int(below[-1]) * codes.line.multiplier + codes.line.offset
        assert codes.line.wide == (max(codes.line.multiplier, sums) >= 2**32)
        assert codes.line.wide == (name in WIDE)


def test_where_the_wakeword_models_saturate() -> None:
    codes = FeatureCodes(WAKEWORD)
    assert (codes.apply(RAW[:1])[0], codes.limit, codes.saturates_from) == (-128, 665, 667)
    assert FeatureCodes(ENCODINGS["very_coarse"]).saturates_from == 57600
    assert FeatureCodes(Float32()).saturates_from is None


def test_features_of_float_models_are_exact() -> None:
    codes = FeatureCodes(Float32())
    assert codes.apply(RAW).dtype == np.float32
    assert np.array_equal(codes.apply(RAW), RAW.astype(np.float64) * 10 / 256)


def test_c_on_the_host(tmp_path: Path) -> None:
    """Every raw value of every encoding, compiled as it is in a firmware."""
    kinds: dict[str, Affine | Float32] = {**ENCODINGS, "float": Float32()}
    functions, calls = [], []
    template = environment().get_template("audio/codes.j2").module
    for name, encoding in kinds.items():
        codes = FeatureCodes(encoding)
        text = template.feature_code(codes.context(), array_lines)  # type: ignore[attr-defined]
        functions.append(text.replace("feature_code_t", codes.ctype).replace("feature_code(", f"code_{name}("))
        calls.append(
            f"for (uint32_t raw = 0; raw < 65536; raw++) {{ const {codes.ctype} code = code_{name}((uint16_t)raw);"
            " if (fwrite(&code, sizeof code, 1, stdout) != 1) { return 1; } }"
        )
    main = tmp_path / "main.c"
    body = "\n".join(
        ["#include <stdint.h>", "#include <stdio.h>", *functions, "int main(void) {", *calls, "return 0; }"]
    )
    main.write_text(body)
    compile_host([main], tmp_path / "codes", ["-O1", *SANITIZERS])
    printed = subprocess.run([tmp_path / "codes"], capture_output=True, check=True).stdout
    for encoding in kinds.values():
        size = 65536 * encoding.dtype.itemsize
        assert np.array_equal(np.frombuffer(printed[:size], encoding.dtype), FeatureCodes(encoding).table)
        printed = printed[size:]
    assert printed == b""


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        (Affine("int16", (0.1,), (0,)), "cannot become int16"),
        (Affine("int8", (0.1, 0.2), (0, 0), axis=2), "cannot become int8 per-channel"),
        (Affine("int8", (0.0,), (0,)), "scale 0 with zero point 0"),
        (Affine("int8", (float("nan"),), (0,)), "scale nan"),
        (Affine("int8", (0.1,), (200,)), "zero point 200"),
        (Affine("int8", (1e12,), (0,)), "every feature has the same code"),
        (Levels((0.1,), bits=4, signed=True), "cannot become signed 4-bit"),
    ],
)
def test_inputs_that_cannot_be_fed(encoding: Affine, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        FeatureCodes(encoding)


def test_raw_features_are_uint16() -> None:
    with pytest.raises(TypeError, match="not int64"):
        FeatureCodes(WAKEWORD).apply(np.arange(3))


COEFFICIENTS = np.concatenate(
    [
        np.linspace(-600, 600, 40001),
        np.arange(-512, 513) * 0.5847029,
        (np.arange(-512, 513) + 0.5) * 0.5847029,
    ]
).astype(np.float32)
MLPERF = LINES["mlperf"]
"""The input of MLPerf Tiny's keyword spotting model."""


def test_coefficients_toward_zero_are_as_mlperf_tiny_makes_them() -> None:
    scaled = COEFFICIENTS / MLPERF.scale[0] + MLPERF.zero_point[0]  # make_bin_files.py, before its cast
    assert scaled.dtype == np.float32
    found = CoefficientCodes(MLPERF).apply(COEFFICIENTS)
    inside = (scaled > -129) & (scaled < 128)
    assert np.array_equal(found[inside], scaled[inside].astype(np.int8))
    assert (found[scaled <= -129] == -128).all()
    assert (found[scaled >= 128] == 127).all()
    assert np.count_nonzero(~inside) > 1000


@pytest.mark.parametrize("encoding", [MLPERF, Affine("uint8", (0.25,), (7,))])
def test_coefficients_to_nearest(encoding: Affine) -> None:
    found = CoefficientCodes(encoding, "nearest").apply(COEFFICIENTS)
    quotient = (COEFFICIENTS / np.float32(encoding.scale[0])).astype(np.float64)
    nearest = np.sign(quotient) * np.floor(np.abs(quotient) + 0.5) + encoding.zero_point[0]
    assert np.array_equal(found, np.clip(nearest, *encoding.code_range))
    assert found.dtype == encoding.dtype


def test_coefficients_of_float_models_are_themselves() -> None:
    assert CoefficientCodes(Float32()).apply(COEFFICIENTS) is COEFFICIENTS
    with pytest.raises(TypeError, match="not float64"):
        CoefficientCodes(MLPERF).apply(np.zeros(3))
    with pytest.raises(UnsupportedError, match="cannot become int16"):
        CoefficientCodes(Affine("int16", (0.1,), (0,)))
