"""Functions of single codes: whatever lies between two quantizers and computes element by element, as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Chain, Quantizer, Rounding, Uniform
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.sources.elementwise import CodesSource, NeedsQuantizer, as_int8, needs_affine
from tinygen.frontends.onnx.targets import Target
from tinygen.frontends.onnx.values import Coded, Pending, Value
from tinygen.ir.encodings import Affine
from tinygen.ir.epilogue import Rescale
from tinygen.ir.ops.lookup import Lookup
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.tensor import Tensor


@dataclass(frozen=True, eq=False)
class TableSource(NeedsQuantizer):
    """A function of one tensor.

    Attributes:
        x: int8.
        reals: the function's value for each code of x, from -128 on; float32.
    """

    builder: Builder
    x: Tensor
    reals: np.ndarray
    what: str

    @property
    def channels(self) -> int:
        return self.x.shape[-1] if self.x.shape else 1

    def quantized(self, chain: Chain, target: Target) -> Tensor:
        reals = _after(chain, self.reals)
        if reals is None:
            raise UnsupportedError(
                f"{self.what} is changed per channel before it is quantized", fix="Quantize its result first."
            )
        encoding = needs_affine(target, self.what)
        codes = codes_of(target.quantizer, reals)
        # The int8 encoding of codes of fewer bits counts them from another zero.
        shift = encoding.zero_point[0] - (target.encoding.zero_point[0] if isinstance(target.encoding, Affine) else 0)
        table = tuple(int(code) for code in codes + shift)
        tensor = self.builder.emit(Lookup, [self.x], encoding, table=table)
        if encoding == target.encoding:
            return tensor
        low, high = target.quantizer.low, target.quantizer.high
        epilogue = Rescale((1,), (0,), (0,), low, high)
        return self.builder.emit(Requantize, [tensor], target.encoding, epilogue=epilogue)


@dataclass(frozen=True, eq=False)
class Function:
    """A value as a function of a tensor's codes.

    Attributes:
        x: int8.
        like: has the value's layout.
        reals: float32, for each code of x from -128 on.
    """

    x: Tensor
    like: Coded | Pending
    reals: np.ndarray


def function_of(builder: Builder, value: Value) -> Function | None:
    """A value as a function of one tensor of 8 bits or fewer; None if it is none."""
    if isinstance(value, Coded) and not value.raw and not value.tensor.is_float:
        source = CodesSource(builder, value.tensor)
        return _of_codes(builder, value, source, source.chain())
    if isinstance(value, Pending) and not value.pools:
        if isinstance(value.source, CodesSource):
            return _of_codes(builder, value, value.source, value.chain)
        if isinstance(value.source, TableSource):
            reals = _after(value.chain, value.source.reals)
            return None if reals is None else Function(value.source.x, value, reals)
    return None


def _of_codes(builder: Builder, like: Coded | Pending, source: CodesSource, chain: Chain) -> Function | None:
    undo = builder.mark()
    try:
        x = as_int8(builder, source.x, "a function of one element")
    except UnsupportedError:
        undo()
        return None
    integers = np.arange(-128, 128, dtype=np.int64) - x.zero_point
    reals = _after(chain, integers.astype(np.float64))
    return None if reals is None else Function(x, like, reals)


def _after(chain: Chain, values: np.ndarray) -> np.ndarray | None:
    """What a chain makes of values; None if its channels differ."""
    if any(len(set(parts)) > 1 for parts in (chain.gain, chain.offset, chain.low, chain.high)):
        return None
    with np.errstate(all="ignore"):
        mapped = values.astype(np.float64) * float(chain.gain[0]) + float(chain.offset[0])
        return np.clip(mapped, float(chain.low[0]), float(chain.high[0])).astype(np.float32)


def codes_of(quantizer: Quantizer, reals: np.ndarray) -> np.ndarray:
    """Codes of real values, int64; what is no number has the least."""
    if isinstance(quantizer, Uniform) and quantizer.rounding is Rounding.HALF_EVEN and not quantizer.zero_point:
        # As ONNX Runtime computes it, in single precision.
        with np.errstate(all="ignore"):
            steps = np.rint(reals.astype(np.float32) / np.float32(quantizer.scale)).astype(np.float64)
        whole = np.nan_to_num(steps, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        return np.clip(whole + quantizer.shift, quantizer.low, quantizer.high).astype(np.int64)
    codes = np.full(reals.shape, quantizer.low, np.int64)
    for point, included in quantizer.points():
        codes += (reals >= float(point)) if included else (reals > float(point))
    return codes
