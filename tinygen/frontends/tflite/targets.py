"""The shapes that RESHAPE, SQUEEZE and EXPAND_DIMS give, by their parameters.

Each function returns the shape, what is wrong with the parameters, or None if they are computed at run time.
"""

from __future__ import annotations

import numpy as np
import tflite

from tinygen.frontends.tflite.registry import Operator
from tinygen.ir.tensor import Shape, Tensor

Target = Shape | str | None


def reshaped(operator: Operator) -> Target:
    """The requested shape is an operand that is a vector of int32, or else the option (reshape.cc)."""
    x, shape = operator.inputs[0], operator.inputs[1] if len(operator.inputs) > 1 else None
    assert x is not None
    if shape is not None and len(shape.shape) == 1 and operator.kind(shape) == "int32":
        listed = integers_of(shape)
        if listed is None:
            return None
    else:
        options = operator.options(tflite.ReshapeOptions)
        listed = [int(options.NewShape(i)) for i in range(options.NewShapeLength())]
        listed = [] if listed == [0] else listed
    if listed.count(-1) > 1 or any(size < -1 for size in listed):
        return f"the shape asked for is {listed}"
    rest = int(np.prod([size for size in listed if size != -1], dtype=np.int64))
    return tuple(x.size // max(rest, 1) if size == -1 else size for size in listed)


def squeezed(operator: Operator) -> Target:
    """Dimensions of one element are removed: those of the option, or all (squeeze.cc)."""
    x = operator.inputs[0]
    assert x is not None
    options, rank = operator.options(tflite.SqueezeOptions), len(x.shape)
    listed = [int(options.SqueezeDims(i)) for i in range(options.SqueezeDimsLength())]
    gone = {axis + rank if axis < 0 else axis for axis in listed}
    if any(not 0 <= axis < rank or x.shape[axis] != 1 for axis in gone):
        return f"dimensions {listed} of {list(x.shape)} do not all have one element"
    if not listed:
        gone = {axis for axis, size in enumerate(x.shape) if size == 1}
    return tuple(size for axis, size in enumerate(x.shape) if axis not in gone)


def expanded(operator: Operator) -> Target:
    """A dimension of one element is inserted at the axis (expand_dims.cc)."""
    x, axes = operator.inputs[0], integers_of(operator.inputs[1])
    assert x is not None
    if axes is None:
        return None
    rank = len(x.shape) + 1
    if len(axes) != 1 or not -rank <= axes[0] < rank:
        return f"axis {axes} of {rank} dimensions"
    axis = axes[0] % rank
    return (*x.shape[:axis], 1, *x.shape[axis:])


def integers_of(tensor: Tensor | None) -> list[int] | None:
    """Elements of a constant; None if the tensor is computed at run time or absent."""
    return None if tensor is None or tensor.data is None else [int(v) for v in tensor.data.reshape(-1)]
