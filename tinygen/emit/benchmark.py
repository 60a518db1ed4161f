"""What MLPerf Tiny's device protocol needs of a model: its benchmark name, the format of its inputs, real outputs.

The shapes and what the runner sends are those of the reference submissions (github.com/mlcommons/tiny,
benchmark/reference_submissions: `th_load_tensor` and `th_results` of each).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, Float32, Levels, Plain
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.network import NetworkProgram

# Input and output of each model, without dimensions of 1.
_MODELS = {
    "kws01": ((49, 10), (12,)),
    "ic01": ((32, 32, 3), (10,)),
    "vww01": ((96, 96, 3), (2,)),
    "ad01": ((640,), (640,)),
    "sww01": ((30, 40), (3,)),
}
_IMAGES = ("ic01", "vww01")
_PRINTABLE = ("int8", "uint8", "int16", "uint16", "int32")


def benchmark_of(network: NetworkProgram) -> dict[str, Any]:
    """Template values for app_model.c.

    Returns:
        id: the benchmark's name for the model, or "".
        kind: what the runner sends: "codes" of the model's inputs; "image", unsigned bytes, the codes plus 128;
            "floats", little-endian float32, which the firmware quantizes.
        db_bytes: size of what the runner sends.
        outputs: per output the C type, the number of values, and per switch the numbers of `values_scale_t`; or float.
            Empty if an output's codes do not each stand for a number.
        distance: whether the result is the mean squared distance between output and input, as for an autoencoder.

    Raises:
        UnsupportedError: the model has no inputs.
    """
    program = network.first
    if not program.inputs:
        raise UnsupportedError(
            "has no inputs: firmware is sent samples, and gives their results",
            where=network.name,
            fix="Leave the constant to your own program, or let the model take an input.",
        )
    identity = _identity(program.inputs, program.outputs)
    kind = _kind(identity, network)
    sizes = [t.nbytes for t in program.inputs]
    outputs = [_output([p.outputs[i] for p in network.programs]) for i in range(len(program.outputs))]
    return {
        "id": identity,
        "kind": kind,
        "db_bytes": 4 * program.inputs[0].size if kind == "floats" else sum(sizes),
        "input_bytes": sizes,
        "outputs": outputs if all(output is not None for output in outputs) else [],
        "distance": kind == "floats",
    }


def _identity(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> str:
    if len(inputs) != 1 or len(outputs) != 1:
        return ""
    shapes = tuple(tuple(n for n in t.shape if n != 1) for t in (inputs[0], outputs[0]))
    return next((name for name, wanted in _MODELS.items() if shapes == wanted), "")


def _kind(identity: str, network: NetworkProgram) -> str:
    codes = [program.inputs[0].encoding for program in network.programs]
    if not all(isinstance(code, Affine) and code.storage == "int8" and not code.per_channel for code in codes):
        return "codes"
    if identity in _IMAGES and all(isinstance(code, Affine) and code.zero_point == (-128,) for code in codes):
        return "image"
    ends = [program.outputs[0].encoding for program in network.programs]
    same = all(code == codes[0] for code in codes) and all(end == ends[0] for end in ends)
    is_int8 = isinstance(ends[0], Affine) and ends[0].storage == "int8" and not ends[0].per_channel
    return "floats" if identity == "ad01" and same and is_int8 else "codes"


def _output(of_switches: list[Tensor]) -> dict[str, Any] | None:
    first = of_switches[0]
    types = {tensor.memory_dtype.name for tensor in of_switches}
    common = {"ctype": ctype(first.memory_dtype), "size": first.size}
    if len(types) != 1:
        return None
    if all(isinstance(tensor.encoding, Float32) for tensor in of_switches):
        return {**common, "scales": []}
    scales = [_scale(tensor) for tensor in of_switches]
    if types.isdisjoint(_PRINTABLE) or None in scales:
        return None
    return {**common, "scales": scales}


def _scale(tensor: Tensor) -> dict[str, int] | None:
    """Real value = (gain * code - zero) * mantissa * 2**exponent, exactly; None where codes are read otherwise."""
    encoding = tensor.encoding
    if isinstance(encoding, Plain):
        return linear(1, 0, 1.0)
    if isinstance(encoding, Affine) and not encoding.per_channel:
        return linear(1, encoding.zero_point[0], encoding.scale[0])
    if isinstance(encoding, Levels) and not encoding.per_channel:
        return (
            linear(2, 2**encoding.bits - 1, encoding.scale[0]) if encoding.signed else linear(1, 0, encoding.scale[0])
        )
    return None


def linear(gain: int, zero: int, scale: float) -> dict[str, int]:
    """The numbers of `values_scale_t` (firmware/app/values.h) for (gain * code - zero) * scale."""
    fraction, exponent = math.frexp(float(np.float32(scale)))
    return {"gain": gain, "zero": zero, "mantissa": int(fraction * 2**24), "exponent": exponent - 24}
