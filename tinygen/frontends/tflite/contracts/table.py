"""The contract of every operator that has a converter.

From LiteRT 2.3: versions are those of its registered built-in kernels (core/kernels/register.cc), all other checks
those of each `Prepare` (kernels/...), and of its `Eval` if that refuses a type. Types that only tinygen lacks (uint8,
say) are not refused here: those models are valid.
"""

from __future__ import annotations

from collections.abc import Mapping

import tflite

from tinygen.frontends.tflite import targets
from tinygen.frontends.tflite.contracts import rules
from tinygen.frontends.tflite.contracts.contract import Contract, Rule, alike, types
from tinygen.frontends.tflite.contracts.data_table import DATA

_OP = tflite.BuiltinOperator
_NUMBERS = "float32|int8|uint8|int16|int32|int64"
_INDICES = "int32|int64"
_GATES = ("input", "forget", "cell", "output")
_LSTM = (
    "input",
    *(f"weights of the {gate} gate" for gate in _GATES),
    *(f"recurrent weights of the {gate} gate" for gate in _GATES),
    *(f"peephole weights of the {gate} gate" for gate in _GATES if gate != "cell"),
    *(f"bias of the {gate} gate" for gate in _GATES),
    "projection",
    "bias of the projection",
    "hidden state",
    "cell state",
    *(f"normalization of the {gate} gate" for gate in _GATES),
)


def _unary(versions: int, names: str, *more: Rule) -> Contract:
    """The contract of an operator with one operand and a result of its type."""
    return Contract(
        versions=versions, inputs=("input",), types=alike(names, "T -> T"), rules=(rules.int16_is_symmetric, *more)
    )


def _arithmetic(versions: int, table: type) -> Contract:
    return Contract(
        versions=versions,
        inputs=("first operand", "second operand"),
        types=alike(_NUMBERS, "T, T -> T"),
        rules=(rules.int16_is_symmetric, rules.clamp(table)),
    )


def _extremum() -> Contract:
    return Contract(
        versions=4, inputs=("first operand", "second operand"), types=alike(f"{_NUMBERS}|float16", "T, T -> T")
    )


def _comparison(versions: int, *more: str) -> Contract:
    names = "|".join(("float32|int32|int64|uint8|int8|int16", *more))
    return Contract(versions=versions, inputs=("first operand", "second operand"), types=alike(names, "T, T -> bool"))


def _pool() -> Contract:
    return Contract(
        versions=3,
        inputs=("input",),
        types=alike("float32|int8|uint8|int16", "T -> T"),
        ranks={"input": (4,)},
        rules=(
            rules.positive(tflite.Pool2DOptions, "StrideH", "StrideW"),
            rules.clamp(tflite.Pool2DOptions),
        ),
    )


def _reduction(*more: Rule, versions: int = 3, names: str = _NUMBERS) -> Contract:
    return Contract(
        versions=versions,
        inputs=("input", "axes"),
        types=alike(names, "T, int32 -> T"),
        rules=(rules.int16_is_symmetric, *more),
    )


def _index_of_extremum(table: type) -> Contract:
    return Contract(
        versions=3,
        inputs=("input", "axis"),
        types=types(f"float32|int8|uint8|int32|bool, {_INDICES} -> {_INDICES}"),
        rules=(rules.elements(1, 1, "axis"), rules.type_option(table, "OutputType")),
    )


def _padding(inputs: tuple[str, ...]) -> Contract:
    return Contract(
        versions=6,
        inputs=inputs,
        needed=2,
        absent=frozenset({"pad value"}),
        types=alike(f"{_NUMBERS}|bool", f"T, {_INDICES}|int8|int16|bool, T -> T"),
        ranks={"paddings": (2,)},
        rules=(rules.at_most(0, 8), rules.elements(2, 1, "pad value"), rules.pad_value_encoding),
    )


def _resizing() -> Contract:
    return Contract(
        versions=4,
        inputs=("input", "size"),
        types=alike(_NUMBERS, "T, int32 -> T"),
        ranks={"input": (4,), "size": (1,)},
        rules=(rules.elements(1, 2, "size"),),
    )


_MULTIPLYING: Mapping[int, Contract] = {
    _OP.CONV_2D: Contract(
        versions=8,
        inputs=("input", "weights", "bias"),
        ranks={"input": (4,), "weights": (4,)},
        types=types(
            "float32, float32|int8|uint8|int4, float32 -> float32",
            "uint8, uint8, int32 -> uint8",
            "int8, int8|int4, int32 -> int8",
            "int16, int8|int4, int32|int64 -> int16",
        ),
        rules=(
            rules.filters_have_no_zero_point,
            rules.int16_is_symmetric,
            rules.bias(2),
            rules.short_strides(tflite.Conv2DOptions, "StrideH", "StrideW", "DilationHFactor", "DilationWFactor"),
            rules.bias_type(tflite.Conv2DOptions, 2),
            rules.clamp(tflite.Conv2DOptions),
        ),
    ),
    _OP.DEPTHWISE_CONV_2D: Contract(
        versions=7,
        inputs=("input", "weights", "bias"),
        needed=2,
        ranks={"input": (4,), "weights": (4,)},
        types=types(
            "float32, float32|int8, float32 -> float32",
            "uint8, uint8|int4, int32 -> uint8",
            "int8, int8|int4, int32 -> int8",
            "int16, int8|int4, int64 -> int16",
        ),
        rules=(
            rules.int16_is_symmetric,
            rules.bias(2, vector=True),
            rules.short_strides(
                tflite.DepthwiseConv2DOptions, "StrideH", "StrideW", "DilationHFactor", "DilationWFactor"
            ),
            rules.clamp(tflite.DepthwiseConv2DOptions),
        ),
    ),
    _OP.TRANSPOSE_CONV: Contract(
        versions=5,
        inputs=("output shape", "weights", "input", "bias"),
        needed=3,
        absent=frozenset({"bias"}),
        ranks={"output shape": (1,), "weights": (4,), "input": (4,)},
        types=types(
            "int32, float32|int8, float32, float32 -> float32",
            "int32, uint8, uint8, int32 -> uint8",
            "int32, int8, int8, int32 -> int8",
            "int32, int8, int16, int32|int64 -> int16",
        ),
        rules=(
            rules.transposed_target,
            rules.int16_is_symmetric,
            rules.bias(3),
            rules.short_strides(tflite.TransposeConvOptions, "StrideH", "StrideW"),
            rules.bias_type(tflite.TransposeConvOptions, 3),
            rules.clamp(tflite.TransposeConvOptions),
        ),
    ),
    _OP.FULLY_CONNECTED: Contract(
        versions=14,
        inputs=("input", "weights", "bias"),
        needed=2,
        absent=frozenset({"bias"}),
        ranks={"weights": (2,)},
        types=types(
            "float32, float32|int8|uint8|int4, float32 -> float32",
            "int16, int16, int32|int64 -> int16",
            "int8|uint8|int16, int8|uint8|int4, int32|int64 -> int8|uint8|int16",
        ),
        rules=(
            rules.int16_is_symmetric,
            rules.bias_scale,
            rules.bias_type(tflite.FullyConnectedOptions, 2),
            rules.clamp(tflite.FullyConnectedOptions),
        ),
    ),
    _OP.UNIDIRECTIONAL_SEQUENCE_LSTM: Contract(
        versions=4,
        inputs=_LSTM,
        needed=20,
        absent=frozenset(_LSTM) - {"input", "hidden state", "cell state"},
        types=types("float32, float32|int8|uint8 -> float32", "int8, int8|int16|int32 -> int8"),
    ),
    _OP.SVDF: Contract(
        versions=4,
        inputs=("input", "weights of features", "weights of time", "bias", "state"),
        absent=frozenset({"bias"}),
        types=types(
            "float32, float32|int8|uint8, float32|int8|uint8, float32, float32 -> float32",
            "int8, int8, int8|int16, int32, int8|int16 -> int8",
        ),
        ranks={"weights of features": (2,), "weights of time": (2,)},
    ),
    _OP.BATCH_MATMUL: Contract(
        versions=4,
        inputs=("first matrix", "second matrix"),
        types=types(
            "float32, float32|int8 -> float32",
            "int8, int8 -> int8|int32",
            "int16, int16|int8 -> int16",
        ),
        rules=(rules.int16_is_symmetric, rules.at_most(0, 5), rules.at_most(1, 5)),
    ),
}

_ELEMENTWISE: Mapping[int, Contract] = {
    _OP.ADD: _arithmetic(6, tflite.AddOptions),
    _OP.SUB: _arithmetic(5, tflite.SubOptions),
    _OP.MUL: _arithmetic(8, tflite.MulOptions),
    _OP.MAXIMUM: _extremum(),
    _OP.MINIMUM: _extremum(),
    _OP.GREATER: _comparison(2),
    _OP.GREATER_EQUAL: _comparison(3),
    _OP.LESS: _comparison(3),
    _OP.LESS_EQUAL: _comparison(2),
    _OP.EQUAL: _comparison(5, "bool"),
    _OP.NOT_EQUAL: _comparison(4, "bool"),
    _OP.PRELU: Contract(
        versions=1,
        inputs=("input", "alpha"),
        types=(*alike("float32|int8|uint8", "T, T -> T"), *types("int16, int8 -> int16")),
    ),
    _OP.RELU: _unary(3, "float32|int8|uint8|int16"),
    _OP.RELU6: _unary(3, "float32|int8|uint8|int16"),
    _OP.RELU_N1_TO_1: _unary(1, "float32|int8|uint8"),
    _OP.LEAKY_RELU: _unary(2, "float32|int8|uint8|int16"),
    _OP.HARD_SWISH: _unary(1, "float32|int8|uint8", rules.hard_swish_scales),
    _OP.GELU: _unary(3, "float32|int8|uint8|int16"),
    _OP.TANH: _unary(3, "float32|int8|uint8|int16", rules.tanh_scale),
    _OP.LOGISTIC: _unary(3, "float32|int8|uint8|int16", rules.unit_scale),
    _OP.SOFTMAX: Contract(
        versions=4,
        inputs=("input",),
        types=types("float32 -> float32", "int8 -> int8|int16", "uint8 -> uint8|int16", "int16 -> int16"),
    ),
    _OP.ABS: _unary(5, "float32|int8|int16|int32"),
    _OP.NEG: _unary(1, "float32|int32|int64"),
    _OP.QUANTIZE: Contract(
        versions=6,
        inputs=("input",),
        types=types(
            "float32 -> int8|uint8|int16|int4",
            "int8|uint8 -> int8|uint8|int16",
            "int16 -> int8|int16|int32",
            "int32 -> int8|int16",
        ),
        rules=(rules.requantized_int16_is_symmetric,),
    ),
    _OP.DENSIFY: Contract(
        versions=1, inputs=("input",), types=alike("float32|float16|int8", "T -> T"), rules=(rules.sparse_constant,)
    ),
    _OP.DEQUANTIZE: Contract(
        versions=9,
        inputs=("input",),
        types=types("int4|uint8|int8|int16|float16 -> float32"),
        rules=(rules.int16_is_symmetric,),
    ),
}


def _of_two(versions: int, names: str, *more: Rule) -> Contract:
    return Contract(
        versions=versions, inputs=("first operand", "second operand"), types=alike(names, "T, T -> T"), rules=more
    )


_MATHEMATICAL: Mapping[int, Contract] = {
    _OP.EXP: _unary(2, "float32|int8|int16"),
    _OP.LOG: _unary(2, "float32|int8|int16", rules.quantized),
    _OP.SQRT: _unary(2, "float32|int8|int16", rules.quantized),
    _OP.RSQRT: _unary(3, "float32|int8|int16", rules.quantized),
    _OP.SQUARE: _unary(1, "float32"),
    _OP.SIN: _unary(2, "float32|float16"),
    _OP.COS: _unary(2, "float32|float16"),
    _OP.FLOOR: _unary(1, "float32|float16|bfloat16"),
    _OP.CEIL: _unary(1, "float32"),
    _OP.ROUND: _unary(1, "float32|float16|bfloat16"),
    _OP.SIGN: _unary(2, "float32|float64|int32"),
    _OP.ELU: _unary(1, "float32|int8"),
    _OP.LOG_SOFTMAX: _unary(2, "float32|int8|uint8", rules.log_softmax_encoding),
    _OP.RELU_0_TO_1: _unary(1, "float32|int8|uint8"),
    _OP.L2_NORMALIZATION: _unary(2, "float32|int8|uint8", rules.l2_encoding, rules.no_activation(tflite.L2NormOptions)),
    _OP.LOCAL_RESPONSE_NORMALIZATION: Contract(
        versions=1, inputs=("input",), types=types("float32 -> float32"), ranks={"input": (4,)}
    ),
    _OP.DIV: _of_two(2, "float32|int8|uint8|int16|int32", rules.clamp(tflite.DivOptions)),
    _OP.POW: _of_two(1, "float32|int32"),
    _OP.FLOOR_DIV: _of_two(3, "float32|int8|int16|int32"),
    _OP.FLOOR_MOD: _of_two(2, "float32|int8|int16|int32|int64"),
    _OP.SQUARED_DIFFERENCE: _of_two(2, "float32|int8|int32", rules.square_below_one),
    _OP.ATAN2: _of_two(1, "float32|float64|float16|bfloat16", rules.one_rank),
}

_WINDOWS: Mapping[int, Contract] = {
    _OP.AVERAGE_POOL_2D: _pool(),
    _OP.MAX_POOL_2D: _pool(),
    _OP.MEAN: _reduction(),
    _OP.REDUCE_MAX: _reduction(rules.one_encoding_of_integers),
    _OP.REDUCE_MIN: _reduction(rules.one_encoding_of_integers),
    _OP.SUM: _reduction(versions=2, names=f"{_NUMBERS}|bool"),
    _OP.REDUCE_PROD: _reduction(rules.signed_if_quantized, versions=2, names=f"{_NUMBERS}|bool"),
    _OP.REDUCE_ANY: _reduction(versions=1, names="bool"),
    _OP.REDUCE_ALL: _reduction(versions=1, names="bool"),
    _OP.ARG_MAX: _index_of_extremum(tflite.ArgMaxOptions),
    _OP.ARG_MIN: _index_of_extremum(tflite.ArgMinOptions),
    _OP.RESIZE_BILINEAR: _resizing(),
    _OP.RESIZE_NEAREST_NEIGHBOR: _resizing(),
}

_MOVING: Mapping[int, Contract] = {
    _OP.RESHAPE: Contract(versions=1, inputs=("input", "shape"), needed=1, rules=(rules.target(targets.reshaped),)),
    _OP.SQUEEZE: Contract(versions=2, inputs=("input",), rules=(rules.at_most(0, 8), rules.target(targets.squeezed))),
    _OP.EXPAND_DIMS: Contract(
        versions=1,
        inputs=("input", "axis"),
        types=alike(f"{_NUMBERS}|bool", f"T, {_INDICES} -> T"),
        rules=(rules.int16_is_symmetric, rules.expanded_as_it_was, rules.target(targets.expanded)),
    ),
    _OP.CONCATENATION: Contract(
        versions=7,
        inputs=("part",),
        endless=True,
        types=alike(f"{_NUMBERS}|bool", "T -> T"),
        rules=(rules.int16_is_symmetric, rules.beside_each_other),
    ),
    _OP.PACK: Contract(
        versions=5,
        inputs=("part",),
        endless=True,
        types=alike(_NUMBERS, "T -> T"),
        rules=(
            rules.counted(tflite.PackOptions, "ValuesCount", "inputs", lambda operator: len(operator.inputs)),
            rules.one_encoding,
        ),
    ),
    _OP.UNPACK: Contract(
        versions=6,
        inputs=("input",),
        outputs=None,
        types=alike("float32|int8|uint8|int16|int32|bool", "T -> T"),
        rules=(
            rules.counted(tflite.UnpackOptions, "Num", "outputs", lambda operator: len(operator.outputs)),
            rules.one_encoding,
        ),
    ),
    _OP.SPLIT: Contract(
        versions=5,
        inputs=("axis", "input"),
        outputs=None,
        types=alike(_NUMBERS, "int32, T -> T"),
        rules=(rules.counted(tflite.SplitOptions, "NumSplits", "outputs", lambda operator: len(operator.outputs)),),
    ),
    _OP.SPLIT_V: Contract(
        versions=3,
        inputs=("input", "sizes", "axis"),
        outputs=None,
        types=alike(_NUMBERS, f"T, {_INDICES}, int32 -> T"),
        ranks={"sizes": (1,)},
        rules=(rules.counted(tflite.SplitVOptions, "NumSplits", "outputs", lambda operator: len(operator.outputs)),),
    ),
    _OP.PAD: _padding(("input", "paddings", "pad value")),
    _OP.PADV2: _padding(("input", "paddings", "pad value")),
    _OP.MIRROR_PAD: Contract(
        versions=3,
        inputs=("input", "paddings"),
        types=alike(f"{_NUMBERS}|bool", f"T, {_INDICES} -> T"),
        ranks={"paddings": (2,)},
        rules=(rules.int16_is_symmetric, rules.one_encoding_of_integers),
    ),
    _OP.TRANSPOSE: Contract(
        versions=9,
        inputs=("input", "permutation"),
        types=alike(f"{_NUMBERS}|bool", "T, int32 -> T"),
        ranks={"permutation": (1,)},
        rules=(rules.at_most(0, 8),),
    ),
    _OP.SLICE: Contract(
        versions=8,
        inputs=("input", "begin", "size"),
        types=alike(f"{_NUMBERS}|bool", f"T, {_INDICES}, {_INDICES} -> T"),
        ranks={"begin": (1,), "size": (1,)},
    ),
    _OP.STRIDED_SLICE: Contract(
        versions=8,
        inputs=("input", "begin", "end", "strides"),
        types=alike(f"{_NUMBERS}|bool", "T, int32, int32, int32 -> T"),
        ranks={"begin": (1,), "end": (1,), "strides": (1,)},
    ),
}

_HANDLE = "resource|int32"

_VARIABLES: Mapping[int, Contract] = {
    _OP.VAR_HANDLE: Contract(versions=1, inputs=()),
    _OP.READ_VARIABLE: Contract(
        versions=1,
        inputs=("handle",),
        types=alike(f"{_NUMBERS}|bool", f"{_HANDLE} -> T"),
        rules=(rules.elements(0, 1, "handle"),),
    ),
    _OP.ASSIGN_VARIABLE: Contract(
        versions=1,
        inputs=("handle", "value"),
        outputs=0,
        types=alike(f"{_NUMBERS}|bool", f"{_HANDLE}, T -> T"),
        rules=(rules.elements(0, 1, "handle"),),
    ),
    _OP.CALL_ONCE: Contract(versions=1, inputs=(), outputs=0),
}

_CONTROL: Mapping[int, Contract] = {
    _OP.IF: Contract(
        versions=1,
        inputs=("condition", "input"),
        outputs=None,
        types=types(f"bool, {_NUMBERS}|bool -> {_NUMBERS}|bool"),
        needed=1,
        endless=True,
        rules=(rules.elements(0, 1, "condition"),),
    ),
}

CONTRACTS: Mapping[int, Contract] = {
    **_MULTIPLYING,
    **_ELEMENTWISE,
    **_MATHEMATICAL,
    **_WINDOWS,
    **_MOVING,
    **DATA,
    **_VARIABLES,
    **_CONTROL,
}
"""By builtin code."""
