"""Operators that tinygen lacks: named before anything else of a file is read, with what to do about them."""

from __future__ import annotations

from collections import Counter

import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator

from tests.support.tflite_builder import ModelSpec, TensorSpec, build, build_chain
from tests.support.zoo import needs_zoo, zoo
from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.tflite import load_tflite, read_tflite
from tinygen.frontends.tflite.missing import WAYS
from tinygen.frontends.tflite.registry import OPERATOR_NAMES, has_converter

OP = BuiltinOperator
X = TensorSpec((1, 7), "float32", name="x")


def refusal(content: bytes) -> UnsupportedError:
    with pytest.raises(UnsupportedError) as caught:
        read_tflite(content, where="net.tflite")
    assert caught.value.where.startswith("net.tflite: ")
    return caught.value


def of(name: str, *inputs: TensorSpec | None, code: str = "") -> ModelSpec:
    return ModelSpec(getattr(OP, name), list(inputs), [TensorSpec((1, 7), "float32")], custom=code)


def test_all_missing_operators_are_named_at_once() -> None:
    one, two, three = (TensorSpec((1, 7), "float32") for _ in range(3))
    chain = [
        ModelSpec(OP.REAL, [X], [one]),
        ModelSpec(OP.IMAG, [one], [two]),
        ModelSpec(OP.REAL, [two], [three]),
    ]
    error = refusal(build_chain(chain))
    assert error.what == "operators REAL (2 times) and IMAG are not supported"
    assert "real_0 (float32 [1,7] -> float32 [1,7])" in error.where
    assert error.fix == (
        "Replace what became REAL in the source model by layers that convert to operators of "
        "docs/reference/operators.md."
    )


def test_more_than_a_message_holds_are_counted() -> None:
    tensors = [TensorSpec((1, 7), "float32") for _ in range(6)]
    names = ("REAL", "IMAG", "RFFT2D", "BUCKETIZE", "BITCAST")
    chain = [ModelSpec(getattr(OP, name), [a], [b]) for name, a, b in zip(names, tensors, tensors[1:], strict=False)]
    assert refusal(build_chain(chain)).what == "operators REAL, IMAG, RFFT2D and 2 other kinds are not supported"


@pytest.mark.parametrize("name", sorted(WAYS))
def test_ways_around_are_of_what_is_missing(name: str) -> None:
    (code,) = [code for code, known in OPERATOR_NAMES.items() if known == name]
    assert not has_converter(code, "")


def test_an_lstm_is_called_an_lstm() -> None:
    """Its states are variable tensors, which other operators cannot have: they are not what the user must know."""
    state = TensorSpec((1, 4), "int16", 0.1, name="state", variable=True)
    error = refusal(build(of("BIDIRECTIONAL_SEQUENCE_LSTM", X, *[None] * 17, state, state)))
    assert error.what == "operator BIDIRECTIONAL_SEQUENCE_LSTM is not supported"
    assert "(float32 [1,7], -, -, -, 16 more -> " in error.where
    assert "unroll=True" in error.fix


def test_operators_come_before_types() -> None:
    text = TensorSpec((1, 7), "string", name="text")
    error = refusal(build(of("CUSTOM", text, code="tftext:WhitespaceTokenizer")))
    assert error.what == "operator 'tftext:WhitespaceTokenizer' is not supported"
    assert "string [1,7]" in error.where
    assert error.fix.startswith("Compute tokens in your program")


@pytest.mark.parametrize(
    "code, what, fix",
    [
        ("edgetpu-custom-op", "compiled for an Edge TPU", "edgetpu_compiler"),
        ("ethos-u", "compiled for an Arm Ethos-U", "Vela"),
        ("FlexErf", "'FlexErf'", "SELECT_TF_OPS"),
        ("SignalWindow", "'SignalWindow'", "docs/wake-words.md"),
        ("TFLite_Detection_PostProcess", "'TFLite_Detection_PostProcess'", "Cut the model"),
        ("fake-op", "'fake-op'", "one program's own"),
    ],
)
def test_custom_operators_say_what_they_are(code: str, what: str, fix: str) -> None:
    error = refusal(build(of("CUSTOM", X, code=code)))
    assert what in error.what and fix in error.fix


def test_what_is_compiled_counts_first() -> None:
    one, two = (TensorSpec((1, 7), "float32") for _ in range(2))
    chain = [ModelSpec(OP.REAL, [X], [one]), ModelSpec(OP.CUSTOM, [one], [two], custom="ethos-u")]
    error = refusal(build_chain(chain))
    assert "is compiled for an Arm Ethos-U" in error.what and "custom_1" in error.where


def test_types_say_what_to_do() -> None:
    error = refusal(build(ModelSpec(OP.ABS, [TensorSpec((1, 7), "string")], [TensorSpec((1, 7), "string")])))
    assert "type STRING" in error.what and "tokens" in error.fix


def test_a_type_that_a_layer_lacks() -> None:
    a, b, product = (TensorSpec(shape, "int16", 0.1) for shape in ((1, 7), (7, 1), (1, 1)))
    error = refusal(build(ModelSpec(OP.BATCH_MATMUL, [a, b], [product])))
    assert "Quantize the layer's tensors to int8" in error.fix


def test_broken_rules_say_what_to_do() -> None:
    bad = ModelSpec(OP.ABS, [X, X], [TensorSpec((1, 7), "float32")])
    with pytest.raises(ModelError) as caught:
        read_tflite(build(bad))
    assert caught.value.fix.startswith("Convert the model again")


@needs_zoo
def test_public_models_that_are_refused_say_what_to_do() -> None:
    counts: Counter[str] = Counter()
    for path in zoo():
        try:
            load_tflite(path)
            counts["read"] += 1
        except TinygenError as error:
            assert error.fix, f"{path.name}: {error}"
            counts[type(error).__name__] += 1
    print(dict(counts))
    assert counts.total() > 0
