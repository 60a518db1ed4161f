"""What LiteRT refuses before it runs a model, tinygen refuses, with the reason: operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator, BuiltinOptions, SubGraphT

from tests.support.litert_worker import Worker
from tests.support.model_files import packed, unpacked
from tests.support.tflite_builder import ModelSpec, TensorSpec, build, build_chain, options
from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tflite import read_tflite
from tinygen.frontends.tflite.contracts.table import CONTRACTS
from tinygen.frontends.tflite.registry import OPERATOR_NAMES, supported_operators
from tinygen.ir.interpreter import evaluate

OP = BuiltinOperator
RELU6 = 3
X = TensorSpec((1, 4, 4, 2), "int8", 0.5, 3, name="x")


@pytest.fixture(scope="module")
def litert() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


def weights(shape: tuple[int, ...], scale: float = 0.25, dtype: str = "int8") -> TensorSpec:
    return TensorSpec(shape, dtype, scale, name="weights", data=np.ones(shape, np.int8))


def bias(count: int = 3, scale: float = 0.125, zero: int = 0, dtype: str = "int32", **more: Any) -> TensorSpec:
    return TensorSpec((count,), dtype, scale, zero, name="bias", data=np.arange(count), **more)


def conv(*inputs: TensorSpec | None, scale: float = 1.0, **more: Any) -> bytes:
    chosen = {"strideH": 1, "strideW": 1} | more
    y = TensorSpec((1, 4, 4, 3), "int8", scale, name="y")
    return build(ModelSpec(OP.CONV_2D, inputs, [y], version=5, **options("Conv2DOptions", **chosen)))


def depthwise(*inputs: TensorSpec | None, **more: Any) -> bytes:
    chosen = {"strideH": 1, "strideW": 1, "depthMultiplier": 1} | more
    y = TensorSpec((1, 4, 4, 2), "int8", 1.0, name="y")
    return build(ModelSpec(OP.DEPTHWISE_CONV_2D, inputs, [y], version=5, **options("DepthwiseConv2DOptions", **chosen)))


def dense(*inputs: TensorSpec | None, **more: Any) -> bytes:
    y = TensorSpec((1, 3), "int8", 1.0, name="y")
    return build(ModelSpec(OP.FULLY_CONNECTED, inputs, [y], version=5, **options("FullyConnectedOptions", **more)))


def simple(
    name: str, inputs: Sequence[TensorSpec | None], outputs: list[TensorSpec], table: str = "", **more: Any
) -> bytes:
    chosen = options(table, **more) if table else {}
    return build(ModelSpec(getattr(OP, name), inputs, outputs, **chosen))


def constant(*values: int, shape: tuple[int, ...] | None = None, dtype: str = "int32") -> TensorSpec:
    data = np.array(values, dtype).reshape(shape or (len(values),))
    return TensorSpec(data.shape, dtype, data=data, name="parameter")


def codes(*shape: int, scale: float = 0.5, zero: int = 0, dtype: str = "int8") -> TensorSpec:
    return TensorSpec(shape, dtype, scale, zero)


W, B = weights((3, 1, 1, 2)), bias()
DW, DB = weights((1, 1, 1, 2)), bias(2)
FLAT = TensorSpec((1, 4), "int8", 0.5, 3, name="x")
FW = weights((3, 4))
GOOD = conv(X, W, B)
WEIGHTS = "subgraphs.0.tensors.1"


def altered(change: Callable[[Any], Any], content: bytes = GOOD) -> bytes:
    """A model with something changed that no builder would write."""
    model = unpacked(content)
    change(model)
    return packed(model)


def field(path: str, value: Any) -> bytes:
    """A convolution with one field changed: "subgraphs.0.tensors.1.shape"."""

    def change(model: Any) -> None:
        *steps, last = path.split(".")
        for step in steps:
            model = model[int(step)] if step.isdigit() else getattr(model, step)
        setattr(model, last, value)

    return altered(change)


REFUSED: dict[str, bytes] = {
    # The file.
    "has version 4 of the schema": field("version", 4),
    "version 9 of CONV_2D is unknown: versions 1 to 8 are": field("operatorCodes.0.version", 9),
    "version 0 of CONV_2D is unknown": field("operatorCodes.0.version", 0),
    "operator 400 is in no version": field("operatorCodes.0.builtinCode", 400),
    "a subgraph has no list of tensors": altered(lambda model: model.subgraphs.append(SubGraphT())),
    "has 0 bytes of data, its shape needs 6": field("buffers.1.data", np.zeros(0, np.uint8)),
    "has 1 scales and 0 zero points": field(f"{WEIGHTS}.quantization.zeroPoint", []),
    "is quantized along axis 4, and has 4 dimensions": field(f"{WEIGHTS}.quantization.quantizedDimension", 4),
    "has 2 scales along axis 0 of shape [3, 1, 1, 2]": altered(
        lambda model: model.subgraphs[0].tensors[1].quantization.__dict__.update(scale=[0.25, 0.5], zeroPoint=[0, 0])
    ),
    "is quantized along axis -1": field(f"{WEIGHTS}.quantization.quantizedDimension", -1),
    "has data in the file and outside of it": field(f"{WEIGHTS}.externalBuffer", 1),
    "tensor 'weights' is used before anything writes it": field("buffers.1.data", None),
    "its options are not Conv2DOptions": altered(
        lambda model: (
            model.subgraphs[0]
            .operators[0]
            .__dict__.update(
                builtinOptionsType=BuiltinOptions.Pool2DOptions,
                builtinOptions=options("Pool2DOptions", strideH=1, strideW=1)["options"],
            )
        )
    ),
    # CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV.
    "it has 4 inputs, CONV_2D takes 3 (input, weights, bias)": conv(X, W, B, B),
    "it has 2 inputs, CONV_2D takes 3": conv(X, W),
    "its bias (input 2) is missing": conv(X, W, None),
    "its bias 'bias' has zero point 5": conv(X, W, bias(zero=5)),
    "its bias 'bias' is int64, not int32": conv(X, W, bias(dtype="int64")),
    "its input 'x' has 3 dimensions, 4 wanted": conv(TensorSpec((4, 4, 2), "int8", 0.5, 3, name="x"), W, B),
    "its stride_w is 0": conv(X, W, B, strideW=0),
    "its dilation_h_factor is -1": conv(X, W, B, dilationHFactor=-1),
    "its dilation_w_factor is 65536": conv(X, W, B, dilationWFactor=65536),
    "its stride_w is 65536": conv(X, W, B, strideW=65536),
    "its option quantized_bias_type is 77": conv(X, W, B, quantizedBiasType=77),
    "the weights' zero points must be 0": conv(
        X, TensorSpec((3, 1, 1, 2), "int8", 0.25, 1, name="weights", data=np.ones((3, 1, 1, 2), np.int8)), B
    ),
    "is too small for its fused activation": conv(X, W, B, scale=1e-10, fusedActivationFunction=RELU6),
    "it has 4 inputs, DEPTHWISE_CONV_2D takes 2 to 3": depthwise(X, DW, DB, DB),
    "its bias 'bias' has 2 dimensions, 1 wanted": depthwise(
        X, DW, TensorSpec((1, 2), "int32", 0.125, name="bias", data=np.ones((1, 2), np.int32))
    ),
    "its stride_h is 40000": depthwise(X, DW, DB, strideH=40000),
    "it has 1 inputs, FULLY_CONNECTED takes 2 to 3": dense(FLAT),
    "its bias 'bias' has scale 0.5, which is not that of its input times that of its weights (0.125)": dense(
        FLAT, FW, bias(scale=0.5)
    ),
    "its weights 'weights' has 3 dimensions, 2 wanted": dense(FLAT, weights((3, 4, 1)), B),
    "its weights 'weights' is int4, not int8": simple(
        "TRANSPOSE_CONV",
        [constant(1, 4, 4, 3), weights((3, 1, 1, 2), dtype="int4"), X, B],
        [codes(1, 4, 4, 3, scale=1.0)],
        "TransposeConvOptions",
        strideH=1,
        strideW=1,
    ),
    "its output 't4' has shape [1, 4, 4, 3], its parameters give [3, 4, 4, 3]": simple(
        "TRANSPOSE_CONV",
        [constant(3, 4, 4, 3), W, X, B],
        [codes(1, 4, 4, 3, scale=1.0)],
        "TransposeConvOptions",
        strideH=1,
        strideW=1,
    ),
    # Operators of one or two operands.
    "it has 2 inputs, SOFTMAX takes 1": simple(
        "SOFTMAX", [FLAT, codes(1, 4)], [codes(1, 4, scale=1 / 256, zero=-128)], "SoftmaxOptions", beta=1.0
    ),
    "has scale 0.00390234, only 1/256 is possible": simple(
        "LOGISTIC", [FLAT], [codes(1, 4, scale=0.00390234, zero=-128)]
    ),
    "its output's scale 0.001 is too fine for its input's 0.5": simple(
        "HARD_SWISH", [FLAT], [codes(1, 4, scale=0.001)], "HardSwishOptions"
    ),
    "its second operand 't1' is int16, not int8": simple(
        "ADD", [codes(4), codes(4, dtype="int16")], [codes(4)], "AddOptions"
    ),
    "16-bit 'y' has zero point 2": simple(
        "QUANTIZE", [codes(4, dtype="int16")], [TensorSpec((4,), "int16", 0.5, 2, name="y")], "QuantizeOptions"
    ),
    "16-bit 't0' has zero point 1": simple(
        "ADD", [codes(4, zero=1, dtype="int16"), codes(4, dtype="int16")], [codes(4, dtype="int16")], "AddOptions"
    ),
    "'t1' has scale 0.0001, only 1/32768 is possible": simple(
        "TANH", [codes(4, dtype="int16")], [codes(4, scale=1e-4, dtype="int16")]
    ),
    "'t1' has scale 0.25 and zero point 0, only 1/16 and 127 are possible": simple(
        "LOG_SOFTMAX", [FLAT], [codes(1, 4, scale=0.25)]
    ),
    "'t1' has scale 0.25 and zero point 0, only 1/128 and 0 are possible": simple(
        "L2_NORMALIZATION", [FLAT], [codes(1, 4, scale=0.25)], "L2NormOptions"
    ),
    "it has a fused activation": simple(
        "L2_NORMALIZATION", [FLAT], [codes(1, 4, scale=1 / 128)], "L2NormOptions", fusedActivationFunction=1
    ),
    "'plain' is int8 without a scale": simple("LOG", [TensorSpec((4,), "int8", name="plain")], [codes(4)]),
    # LiteRT ends the process.
    "is too fine for its operands'": simple(
        "SQUARED_DIFFERENCE", [codes(4), codes(4)], [codes(4, scale=1e-6)], "SquaredDifferenceOptions"
    ),
    "its operands have 1 and 2 dimensions": simple(
        "ATAN2", [TensorSpec((4,), "float32"), TensorSpec((1, 4), "float32")], [TensorSpec((4,), "float32")]
    ),
    "is quantized uint8, not int8 or int16": simple(
        "REDUCE_PROD", [codes(4, dtype="uint8"), constant(0)], [codes(dtype="uint8")], "ReducerOptions"
    ),
    # Windows and reductions.
    "its stride_h is 0": simple(
        "AVERAGE_POOL_2D", [X], [codes(1, 4, 4, 2, zero=3)], "Pool2DOptions", strideW=1, filterWidth=1, filterHeight=1
    ),
    "its axes 'parameter' is int64, not int32": simple(
        "MEAN", [X, constant(1, dtype="int64")], [codes(1, 4, 2)], "ReducerOptions"
    ),
    "'t2' has scale 0.25 and zero point 0, 'x' 0.5 and 3: they must be the same": simple(
        "REDUCE_MAX", [X, constant(1)], [codes(1, 4, 2, scale=0.25)], "ReducerOptions"
    ),
    "its axis has 2 elements, 1 wanted": simple(
        "ARG_MAX", [X, constant(3, 3)], [TensorSpec((1, 4, 4), "int32")], "ArgMaxOptions", outputType=2
    ),
    "its size has 3 elements, 2 wanted": simple(
        "RESIZE_NEAREST_NEIGHBOR", [X, constant(4, 4, 4)], [codes(1, 4, 4, 2, zero=3)], "ResizeNearestNeighborOptions"
    ),
    # What moves.
    "it has 3 inputs, RESHAPE takes 1 to 2": simple(
        "RESHAPE", [FLAT, constant(4), constant(4)], [codes(4, zero=3)], "ReshapeOptions"
    ),
    # LiteRT crashes.
    "its shape (input 1) is missing": simple("RESHAPE", [FLAT, None], [codes(4, zero=3)], "ReshapeOptions"),
    "the shape asked for is [-1, -1]": simple(
        "RESHAPE", [FLAT, constant(-1, -1)], [codes(2, 2, zero=3)], "ReshapeOptions"
    ),
    "its parameters give [8]": simple("RESHAPE", [FLAT, constant(8)], [codes(4, zero=3)], "ReshapeOptions"),
    "dimensions [1] of [1, 4] do not all have one element": simple(
        "SQUEEZE", [FLAT], [codes(4, zero=3)], "SqueezeOptions", squeezeDims=[1]
    ),
    "axis [5] of 3 dimensions": simple(
        "EXPAND_DIMS", [FLAT, constant(5)], [codes(1, 4, 1, zero=3)], "ExpandDimsOptions"
    ),
    "its option values_count is 3, it has 2 inputs": simple(
        "PACK", [codes(4), codes(4)], [codes(2, 4)], "PackOptions", valuesCount=3
    ),
    "its option num is 3, it has 2 outputs": simple(
        "UNPACK", [codes(2, 4)], [codes(4), codes(4)], "UnpackOptions", num=3
    ),
    "its option num_splits is 4, it has 2 outputs": simple(
        "SPLIT", [constant(0), codes(4)], [codes(2), codes(2)], "SplitOptions", numSplits=4
    ),
    "it has 3 inputs, STRIDED_SLICE takes 4": simple(
        "STRIDED_SLICE", [codes(4), constant(0), constant(2)], [codes(2)], "StridedSliceOptions"
    ),
    "its begin 'parameter' is int64, not int32": simple(
        "STRIDED_SLICE",
        [codes(4), constant(0, dtype="int64"), constant(2), constant(1)],
        [codes(2)],
        "StridedSliceOptions",
    ),
    "'value' has scale 0.25 and zero point 0, 't3' 0.5 and 0: they must be the same": simple(
        "PADV2",
        [codes(4), constant(1, 1, shape=(1, 2)), TensorSpec((), "int8", 0.25, name="value", data=np.array(3, np.int8))],
        [codes(6)],
        "PadV2Options",
    ),
    "its options are missing": build(
        ModelSpec(
            OP.FULLY_CONNECTED,
            [codes(1, 4, dtype="int16"), FW, bias(dtype="int64")],
            [codes(1, 3, dtype="int16", scale=1.0)],
            version=7,
        )
    ),
    "its paddings 'parameter' has 1 dimensions, 2 wanted": simple(
        "PAD", [codes(4), constant(1, 1)], [codes(6)], "PadOptions"
    ),
    "its output 't2' is int8, not int16": simple(
        "TRANSPOSE", [codes(2, 3, dtype="int16"), constant(1, 0)], [codes(3, 2)]
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_both_refuse(reason: str, litert: Worker) -> None:
    assert litert.run(REFUSED[reason], 0, 1).refusal, "LiteRT runs it"
    with pytest.raises(ModelError) as refusal:
        read_tflite(REFUSED[reason], where="net.tflite")
    assert reason in str(refusal.value)
    assert str(refusal.value).startswith("net.tflite: ")


CONTRADICTORY: dict[str, bytes] = {
    "its option output_type is int64, its output int32": simple(
        "ARG_MAX", [X, constant(3)], [TensorSpec((1, 4, 4), "int32")], "ArgMaxOptions", outputType=4
    ),
    "output 'y' has shape [1, 4, 5, 3], its inputs give [1, 4, 4, 3]": field(
        "subgraphs.0.tensors.3.shape", [1, 4, 5, 3]
    ),
    "has a zero point outside int8": field("subgraphs.0.tensors.0.quantization.zeroPoint", [300]),
    "has 13 bytes of data, its shape needs 12": field("buffers.2.data", np.zeros(13, np.uint8)),
}


@pytest.mark.parametrize("reason", CONTRADICTORY)
def test_files_that_contradict_themselves(reason: str, litert: Worker) -> None:
    """LiteRT runs them: it does not look at one of the two places."""
    assert not litert.run(CONTRADICTORY[reason], 0, 1).refusal
    with pytest.raises(ModelError) as refusal:
        read_tflite(CONTRADICTORY[reason])
    assert reason in str(refusal.value)


def test_both_run(litert: Worker) -> None:
    """What the models above were before something was wrong with them."""
    models = [GOOD, depthwise(X, DW, DB), depthwise(X, DW), dense(FLAT, FW, B), dense(FLAT, FW), dense(FLAT, FW, None)]
    assert [litert.run(model, 0, 1).refusal for model in models] == [""] * len(models)
    for model in models:
        read_tflite(model)


FAR_APART: dict[str, bytes] = {
    "a multiplier of 5e+09": conv(X, weights((3, 1, 1, 2), 1e10), bias(scale=5e9)),
    "a multiplier of 8.92e+43": conv(X, W, B, scale=1.4e-45),
    "a multiplier of 2.5e+30": depthwise(X, weights((1, 1, 1, 2), 5e30), DB),
    "sums of 2.63e+10 in codes of the output": dense(FLAT, weights((3, 4), 1e8), bias(scale=5e7)),
    "a multiplier of 2.5e+29": simple("RELU", [FLAT], [codes(1, 4, scale=2e-30)]),
    "a multiplier of 5e+19": simple("MUL", [FLAT, FLAT], [codes(1, 4, scale=5e-21)], "MulOptions"),
    "a multiplier of 1e+20": simple("QUANTIZE", [codes(4, scale=1e10)], [codes(4, scale=1e-10)], "QuantizeOptions"),
    "a multiplier of 1e+12": simple(
        "QUANTIZE", [TensorSpec((4,), "float32")], [codes(4, scale=1e-12)], "QuantizeOptions"
    ),
    "a multiplier of 5e+11": simple("MEAN", [X, constant(1)], [codes(1, 4, 2, scale=1e-12)], "ReducerOptions"),
}


@pytest.mark.parametrize("reason", FAR_APART)
def test_scales_that_no_multiplier_can_say(reason: str) -> None:
    """LiteRT runs them, and shifts 32-bit words by more than 31: C++ does not say what comes out."""
    with pytest.raises(UnsupportedError, match="too far apart") as refusal:
        read_tflite(FAR_APART[reason])
    assert reason in str(refusal.value)


def test_missing_options_are_defaults(litert: Worker) -> None:
    spec = ModelSpec(OP.FULLY_CONNECTED, [FLAT, FW, B], [TensorSpec((1, 3), "int8", 1.0, name="y")], version=5)
    run = litert.run(build(spec), 4, 1)
    assert not run.refusal
    assert np.array_equal(evaluate(read_tflite(build(spec)), run.inputs[0])[0], run.outputs[0][0])


def test_padding_of_what_is_not_quantized(litert: Worker) -> None:
    plain = TensorSpec((4,), "int8", name="plain")
    model = simple("PAD", [plain, constant(1, 2, shape=(1, 2))], [codes(7, zero=-14)], "PadOptions")
    run = litert.run(model, 4, 1)
    assert np.array_equal(evaluate(read_tflite(model), run.inputs[0])[0], run.outputs[0][0])


def test_new_codes_in_old_models(litert: Worker) -> None:
    """The larger of the two fields counts, also where the new one would fit into the old one."""
    model = field("operatorCodes.0.deprecatedBuiltinCode", int(OP.AVERAGE_POOL_2D))
    assert not litert.run(model, 0, 1).refusal
    assert read_tflite(model).ops[0].KIND == "conv_2d"


def test_a_tensor_has_one_writer(litert: Worker) -> None:
    """LiteRT runs them, in memory that it has given to other tensors by then."""
    y = TensorSpec((1, 4), "int8", 0.5, name="y")
    relu = ModelSpec(OP.RELU, [FLAT], [y])
    with pytest.raises(ModelError, match="tensor 'y' is an input, a constant or another's output, too"):
        read_tflite(build_chain([relu, relu]))


def test_every_operator_has_a_contract(litert: Worker) -> None:
    """And its versions are those that LiteRT knows: the newest runs, one more does not."""
    assert set(supported_operators()) <= {OPERATOR_NAMES[code] for code in CONTRACTS}
    for code, contract in CONTRACTS.items():

        def listed(version: int, code: int = code) -> bytes:
            def change(model: Any) -> None:
                entry = unpacked(GOOD).operatorCodes[0]
                entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), version
                model.operatorCodes.append(entry)

            return altered(change)

        name = OPERATOR_NAMES[code]
        assert not litert.run(listed(contract.versions), 0, 1).refusal, name
        assert litert.run(listed(contract.versions + 1), 0, 1).refusal, name
        read_tflite(listed(contract.versions))
        with pytest.raises(ModelError, match=f"version {contract.versions + 1} of {name} is unknown"):
            read_tflite(listed(contract.versions + 1))
