"""Model outputs: codes, in the Graph's order."""

from __future__ import annotations

from dataclasses import replace

from tinygen.errors import UnsupportedError
from tinygen.frontends.aten.layout import NHWC, Layout
from tinygen.frontends.onnx.builder import Builder
from tinygen.frontends.onnx.sources.pools import apply_pools
from tinygen.frontends.onnx.steps import real_of
from tinygen.frontends.onnx.values import Coded, GraphInput, Pending, Value


def settle(builder: Builder, name: str, value: Value, *, reordered: bool) -> Coded:
    """A model output, in the order in which the model gives it.

    Args:
        reordered: whether the file transposes or reshapes it last.

    Images stay channels last; what a transposition last put in another order has ONNX's. Sums without a
    quantizer after them become int32, other numbers float.
    """
    builder.label = name
    if isinstance(value, Pending):
        in_float = value.in_float
        undo = builder.mark()
        try:
            value = Coded(apply_pools(builder, value, value.source.real(value.chain)), value.layout)
        except UnsupportedError as error:
            if in_float is None:
                error.where = f"output '{name}'" + (f": {error.where}" if error.where else "")
                raise
            undo()
            value = in_float()
    if isinstance(value, GraphInput):
        value = real_of(builder, value)
    if not isinstance(value, Coded):
        raise UnsupportedError("does not depend on an input", where=f"output '{name}'", fix="Remove it from the model.")
    found = _stored(builder, value, reordered)
    if found.tensor.name in builder.inputs and found.tensor.is_float:
        raise UnsupportedError("is an input", where=f"output '{name}'", fix="Remove it from the model.")
    return found


def _stored(builder: Builder, value: Coded, reordered: bool) -> Coded:
    if len(value.shape) == len(NHWC):
        last = value.tensor.shape == tuple(value.shape[dim] for dim in NHWC) and value.layout.is_stored_as(NHWC)
        in_order = value.layout.is_stored_as(range(len(NHWC)))
        if last or not (in_order or reordered):
            return replace(value, tensor=builder.in_dims(value, NHWC), layout=Layout.dense(value.shape, NHWC))
    return replace(value, tensor=builder.in_order(value), layout=Layout.dense(value.shape))
