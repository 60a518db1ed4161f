"""Demands that are more than a count, a rank or a type. Each names LiteRT's source (tflite/kernels/...)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tflite

from tinygen.frontends.tflite.contracts.contract import Rule
from tinygen.frontends.tflite.registry import Operator
from tinygen.frontends.tflite.targets import Target, integers_of
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.tensor import Tensor

_INT16_MAX = 2**15 - 1
_INT32_RANGE = (-(2.0**31), 2.0**31)

_ACTIVATION_ENDS = {
    tflite.ActivationFunctionType.RELU: (0.0,),
    tflite.ActivationFunctionType.RELU6: (0.0, 6.0),
    tflite.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}


def _tensors(operator: Operator) -> list[Tensor]:
    return [tensor for tensor in (*operator.inputs, *operator.outputs) if tensor is not None]


def _affine(tensor: Tensor | None) -> Affine | None:
    return tensor.encoding if tensor is not None and isinstance(tensor.encoding, Affine) else None


def _input(operator: Operator, index: int) -> Tensor | None:
    return operator.inputs[index] if index < len(operator.inputs) else None


def int16_is_symmetric(operator: Operator) -> str:
    """16-bit tensors have zero point 0 (most `Prepare` functions)."""
    for tensor in _tensors(operator):
        declared = operator.declared[tensor.name]
        if declared.kind == "int16" and declared.zero_point != 0:
            return f"16-bit '{tensor.name}' has zero point {declared.zero_point}, only 0 is possible"
    return ""


def requantized_int16_is_symmetric(operator: Operator) -> str:
    """Nor have 16-bit codes another zero point where 16-bit codes are made of them (quantize.cc)."""
    kinds = {operator.declared[tensor.name].kind for tensor in _tensors(operator)}
    return int16_is_symmetric(operator) if kinds == {"int16"} else ""


def sparse_constant(operator: Operator) -> str:
    """The input is a sparse constant (densify.cc)."""
    x = operator.inputs[0]
    assert x is not None
    return "" if x.is_constant and operator.declared[x.name].sparse else f"its input '{x.name}' is no sparse constant"


def one_encoding(operator: Operator) -> str:
    """All tensors share scale and zero point (pack.cc, unpack.cc)."""
    return one_encoding_between(operator, _tensors(operator))


def expanded_as_it_was(operator: Operator) -> str:
    """Input 0 and the output share scale and zero point (expand_dims.cc)."""
    first = operator.inputs[0]
    assert first is not None
    return one_encoding_between(operator, [first, *operator.outputs])


def one_encoding_of_integers(operator: Operator) -> str:
    """8-bit or 16-bit input 0 and output share scale and zero point (reduce.cc, mirror_pad.cc)."""
    first = operator.inputs[0]
    assert first is not None
    if operator.kind(first) not in ("int8", "uint8", "int16"):
        return ""
    return one_encoding_between(operator, [first, *operator.outputs])


def pad_value_encoding(operator: Operator) -> str:
    """An 8-bit or 16-bit padding value has the scale and zero point of the output (pad.cc)."""
    value, output = _input(operator, 2), operator.outputs[0]
    if value is None or operator.kind(output) not in ("int8", "uint8", "int16"):
        return ""
    return one_encoding_between(operator, [output, value])


def one_encoding_between(operator: Operator, tensors: list[Tensor]) -> str:
    """These tensors share scale and zero point."""
    first = operator.declared[tensors[0].name]
    for tensor in tensors[1:]:
        other = operator.declared[tensor.name]
        if (other.scale, other.zero_point) != (first.scale, first.zero_point):
            return (
                f"'{tensor.name}' has scale {other.scale:.6g} and zero point {other.zero_point}, '{tensors[0].name}' "
                f"{first.scale:.6g} and {first.zero_point}: they must be the same"
            )
    return ""


def bias(index: int, *, vector: bool = False) -> Rule:
    """The bias has zero point 0 and one element per filter (conv.cc, depthwise_conv.cc, transpose_conv.cc).

    Args:
        index: which operand it is.
        vector: whether it must have one dimension.
    """

    def rule(operator: Operator) -> str:
        tensor = _input(operator, index)
        if tensor is None:
            return ""
        zero = operator.declared[tensor.name].zero_point
        if zero != 0:
            return f"its bias '{tensor.name}' has zero point {zero}, only 0 is possible"
        if vector and len(tensor.shape) != 1:
            return f"its bias '{tensor.name}' has {len(tensor.shape)} dimensions, 1 wanted"
        return ""

    return rule


def bias_scale(operator: Operator) -> str:
    """A bias has the scale input x weights, for weights with one scale (kernel_util.cc, of FULLY_CONNECTED)."""
    x, weights, tensor = operator.inputs[0], operator.inputs[1], _input(operator, 2)
    affine = _affine(weights)
    if tensor is None or affine is None or affine.per_channel or _affine(x) is None:
        return ""
    assert x is not None
    product = float(operator.declared[x.name].scale) * affine.scale[0]
    given, output = (float(operator.declared[t.name].scale) for t in (tensor, operator.outputs[0]))
    if output > 0 and abs(product - given) / output <= 0.02:
        return ""
    return (
        f"its bias '{tensor.name}' has scale {given:.6g}, which is not that of its input times that of its weights "
        f"({product:.6g})"
    )


def bias_type(table: Any, index: int) -> Rule:
    """An option names the type of a 16-bit operator's bias (conv.cc, fully_connected.cc, transpose_conv.cc)."""
    known = {value: name.lower() for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}

    def rule(operator: Operator) -> str:
        code = operator.options(table).QuantizedBiasType()
        if code not in known:
            return f"its option quantized_bias_type is {code}, which is no type"
        if operator.kind(operator.outputs[0]) != "int16":
            return ""
        if operator.raw.BuiltinOptions() is None:
            return "its options are missing, and with them the type of a 16-bit operator's bias"
        tensor = _input(operator, index)
        if code == tflite.TensorType.FLOAT32:
            return ""
        if known[code] not in ("int32", "int64") or (tensor is not None and operator.kind(tensor) != known[code]):
            found = "none" if tensor is None else operator.kind(tensor)
            return f"its option quantized_bias_type is {known[code]}, its bias {found}"
        return ""

    return rule


def clamp(table: Any) -> Rule:
    """The ends of a fused activation are 32-bit codes of the output (`CalculateActivationRangeQuantized`)."""

    def rule(operator: Operator) -> str:
        output = operator.outputs[0]
        affine = _affine(output)
        if affine is None:
            return ""
        with np.errstate(over="ignore"):
            ends = [
                float(np.float32(end) / np.float32(affine.scale[0]))
                for end in _ACTIVATION_ENDS.get(operator.options(table).FusedActivationFunction(), ())
            ]
        if all(_INT32_RANGE[0] <= end <= _INT32_RANGE[1] for end in ends):
            return ""
        return f"the scale of its output '{output.name}' ({affine.scale[0]:.6g}) is too small for its fused activation"

    return rule


def positive(table: Any, *fields: str, most: int | None = None) -> Rule:
    """Options that are at least 1 (strides and dilations), and `most` at most."""

    def rule(operator: Operator) -> str:
        options = operator.options(table)
        for name in fields:
            value = getattr(options, name)()
            if value < 1 or (most is not None and value > most):
                return f"its {_spelt(name)} is {value}"
        return ""

    return rule


def short_strides(table: Any, *fields: str) -> Rule:
    """Options as in `positive` that fit 16 bits (depthwise_conv.cc, transpose_conv.cc)."""
    return positive(table, *fields, most=_INT16_MAX)


def _spelt(name: str) -> str:
    """`DilationWFactor` as "dilation_w_factor"."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def counted(table: Any, name: str, what: str, count: Callable[[Operator], int]) -> Rule:
    """An option that repeats a number of tensors or elements (pack.cc, unpack.cc, split.cc, split_v.cc)."""

    def rule(operator: Operator) -> str:
        given, found = getattr(operator.options(table), name)(), count(operator)
        return "" if given == found else f"its option {_spelt(name)} is {given}, it has {found} {what}"

    return rule


def type_option(table: Any, field: str) -> Rule:
    """An option names the output's type, int32 or int64 (arg_min_max.cc, shape.cc)."""
    known = {tflite.TensorType.INT32: "int32", tflite.TensorType.INT64: "int64"}

    def rule(operator: Operator) -> str:
        code = getattr(operator.options(table), field)()
        wanted, kind = known.get(code, str(code)), operator.kind(operator.outputs[0])
        return "" if wanted == kind else f"its option {_spelt(field)} is {wanted}, its output {kind}"

    return rule


def elements(index: int, count: int, what: str) -> Rule:
    """A parameter has `count` elements."""

    def rule(operator: Operator) -> str:
        tensor = _input(operator, index)
        size = count if tensor is None else tensor.size
        return "" if size == count else f"its {what} has {size} elements, {count} wanted"

    return rule


_UNITS = {"int8": 256, "uint8": 256, "int16": 32768}


def unit_scale(operator: Operator) -> str:
    """The output of an 8-bit LOGISTIC has scale 1/256, that of a 16-bit one 1/32768 (activations.cc)."""
    output = operator.outputs[0]
    declared = operator.declared[output.name]
    unit = _UNITS.get(declared.kind)
    if unit is None or declared.scale == np.float32(1 / unit):
        return ""
    return f"its output '{output.name}' has scale {declared.scale:.6g}, only 1/{unit} is possible"


def l2_encoding(operator: Operator) -> str:
    """The output of an 8-bit L2_NORMALIZATION has scale 1/128, and 0 in the middle (l2norm.cc)."""
    output = operator.outputs[0]
    declared = operator.declared[output.name]
    zero = {"int8": 0, "uint8": 128}.get(declared.kind)
    if zero is None or (declared.scale == np.float32(1 / 128) and declared.zero_point == zero):
        return ""
    return (
        f"its output '{output.name}' has scale {declared.scale:.6g} and zero point {declared.zero_point}, "
        f"only 1/128 and {zero} are possible"
    )


def no_activation(table: Any) -> Rule:
    """A fused activation that LiteRT lacks (l2norm.cc)."""

    def rule(operator: Operator) -> str:
        code = operator.options(table).FusedActivationFunction()
        return "" if code == tflite.ActivationFunctionType.NONE else "it has a fused activation"

    return rule


def log_softmax_encoding(operator: Operator) -> str:
    """The output of an 8-bit LOG_SOFTMAX has scale 1/16, and 0 is its largest code (activations.cc)."""
    output = operator.outputs[0]
    declared = operator.declared[output.name]
    zero = {"int8": 127, "uint8": 255}.get(declared.kind)
    if zero is None or (declared.scale == np.float32(1 / 16) and declared.zero_point == zero):
        return ""
    return (
        f"its output '{output.name}' has scale {declared.scale:.6g} and zero point {declared.zero_point}, "
        f"only 1/16 and {zero} are possible"
    )


def tanh_scale(operator: Operator) -> str:
    """The output of a 16-bit TANH has scale 1/32768, nearly (activations.cc)."""
    output = operator.outputs[0]
    declared = operator.declared[output.name]
    if declared.kind != "int16" or (declared.scale > 0 and abs(np.log2(declared.scale) + 15) < 1e-3):
        return ""
    return f"its output '{output.name}' has scale {declared.scale:.6g}, only 1/32768 is possible"


def quantized(operator: Operator) -> str:
    """8-bit codes have scales (elementwise.cc)."""
    for tensor in _tensors(operator):
        if operator.kind(tensor) == "int8" and _affine(tensor) is None:
            return f"'{tensor.name}' is int8 without a scale"
    return ""


def signed_if_quantized(operator: Operator) -> str:
    """Codes with a scale are int8 or int16 (reduce.cc, of REDUCE_PROD)."""
    x = operator.inputs[0]
    assert x is not None
    fits = _affine(x) is None or operator.kind(x) in ("int8", "int16")
    return "" if fits else f"its input '{x.name}' is quantized {operator.kind(x)}, not int8 or int16"


def square_below_one(operator: Operator) -> str:
    """The square of an int8 difference is scaled down (squared_difference.cc; LiteRT ends the process)."""
    encodings = [_affine(tensor) for tensor in (*operator.inputs[:2], operator.outputs[0])]
    scales = [encoding.scale[0] for encoding in encodings if encoding is not None]
    if operator.kind(operator.outputs[0]) != "int8" or len(scales) < len(encodings):
        return ""
    twice = float(np.float32(2) * np.float32(max(scales[:2])))
    real = twice * twice / float(np.float32(1 << 14) * np.float32(scales[2]))
    if quantize_multiplier(real)[1] <= 0:
        return ""
    return f"the scale of its output '{operator.outputs[0].name}' ({scales[2]:.6g}) is too fine for its operands'"


def one_rank(operator: Operator) -> str:
    """Operands have equally many dimensions (atan2.cc)."""
    ranks = [len(tensor.shape) for tensor in operator.inputs if tensor is not None]
    return "" if len(set(ranks)) == 1 else f"its operands have {ranks[0]} and {ranks[1]} dimensions"


def hard_swish_scales(operator: Operator) -> str:
    """The output's scale is not much finer than the input's (activations.cc, `HardSwishPrepare`)."""
    x, output = _affine(operator.inputs[0]), _affine(operator.outputs[0])
    if x is None or output is None:
        return ""
    with np.errstate(all="ignore"):
        real = float(np.float32(np.float32(1 / 128) * np.float32(x.scale[0])) / np.float32(output.scale[0]))
    fits = np.isfinite(real) and quantize_multiplier(real)[1] <= 0
    return "" if fits else f"its output's scale {output.scale[0]:.6g} is too fine for its input's {x.scale[0]:.6g}"


def target(shape: Callable[[Operator], Target]) -> Rule:
    """The output has the shape that the operator's parameters ask for."""

    def rule(operator: Operator) -> str:
        wanted = shape(operator)
        return "" if wanted is None else wanted if isinstance(wanted, str) else given_shape(operator, wanted)

    return rule


def transposed_target(operator: Operator) -> str:
    """The requested shape is the output's: batches of the input, channels of the weights (transpose_conv.cc)."""
    wanted = integers_of(operator.inputs[0])
    return "" if wanted is None else given_shape(operator, wanted)


def given_shape(operator: Operator, wanted: Sequence[int]) -> str:
    """The output has the shape that parameters give."""
    output = operator.outputs[0]
    if operator.has_shape(output, wanted):
        return ""
    return f"its output '{output.name}' has shape {list(output.shape)}, its parameters give {list(wanted)}"


def beside_each_other(operator: Operator) -> str:
    """8-bit parts have the scale and zero point of the whole (concatenation.cc)."""
    if operator.kind(operator.outputs[0]) != "int8":
        return ""
    return one_encoding_between(operator, [*operator.outputs, *(t for t in operator.inputs if t is not None)])


def at_most(index: int, rank: int) -> Rule:
    """An operand has at most `rank` dimensions (transpose.cc, squeeze.cc, pad.cc, batch_matmul.cc)."""

    def rule(operator: Operator) -> str:
        tensor = _input(operator, index)
        found = 0 if tensor is None else len(tensor.shape)
        return "" if found <= rank else f"input {index} has {found} dimensions, {rank} are possible at most"

    return rule


def at_least(index: int, rank: int) -> Rule:
    """An operand has at least `rank` dimensions (cumsum.cc, topk_v2.cc, scatter_nd.cc)."""

    def rule(operator: Operator) -> str:
        tensor = _input(operator, index)
        found = rank if tensor is None else len(tensor.shape)
        return "" if found >= rank else f"input {index} has {found} dimensions, at least {rank} wanted"

    return rule


def filters_have_no_zero_point(operator: Operator) -> str:
    """Weights are symmetric (conv.cc)."""
    affine = _affine(operator.inputs[1])
    if affine is None or operator.kind(operator.outputs[0]) not in ("int8", "int16") or not any(affine.zero_point):
        return ""
    return "the weights' zero points must be 0"
