"""Model outputs: codes, in the Graph's order."""

from __future__ import annotations

from tinygen.errors import UnsupportedError
from tinygen.frontends.aten.layout import NHWC
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.sources.pools import apply_pools
from tinygen.frontends.onnx.values import Coded, Pending, Value


def settle(builder: Builder, name: str, value: Value) -> str:
    """Makes the tensor of a model output; returns its name.

    Images stay channels last; what a transposition last put in another order has ONNX's. A float without a
    quantizer after it becomes int32.
    """
    builder.label = name
    if isinstance(value, Pending):
        try:
            tensor = apply_pools(builder, value, value.source.real(value.chain))
        except UnsupportedError as error:
            error.where = f"output '{name}'" + (f": {error.where}" if error.where else "")
            raise
        value = Coded(tensor, value.layout)
    if not isinstance(value, Coded):
        raise UnsupportedError("does not depend on a quantized input", where=f"output '{name}'")
    if len(value.shape) == len(NHWC) and value.layout.is_stored_as(NHWC):
        last = tuple(value.shape[dim] for dim in NHWC)
        if value.tensor.shape == last or not value.layout.is_stored_as(range(len(NHWC))):
            return builder.in_dims(value, NHWC).name
    return builder.in_order(value).name
