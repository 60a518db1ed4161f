"""Comments for Frama-C's Eva: which loops have them, and that the C is the same without them."""

from __future__ import annotations

import re

from tinygen.demo import MODEL
from tinygen.emit.model import EmittedModel, emit_model
from tinygen.emit.proof import UNKNOWN_ROUNDS, with_annotations, without_annotations
from tinygen.frontends.load import load_model
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify


def _digits(*, annotated: bool) -> EmittedModel:
    program = lower(simplify(load_model(MODEL)), family="reference")
    return emit_model(program, "digits.tflite", annotated=annotated)


def test_only_comments_are_added() -> None:
    plain, annotated = _digits(annotated=False).content, _digits(annotated=True).content
    assert not any("//@" in text for text in plain.values())
    assert {name: without_annotations(text) for name, text in annotated.items()} == plain
    assert sum(text.count("//@") for text in annotated.values()) > 20


def test_sums_are_unrolled_and_what_surrounds_them_is_not() -> None:
    kernels = _digits(annotated=True).files["digits_kernels.c"]
    annotated = re.findall(r"//@ loop unroll (\d+);\n *for \(int32_t (\w+)", kernels)
    assert {("3", "ky"), ("3", "kx"), ("48", "i")} <= set(annotated)
    assert not {"oy", "ox", "o", "n"} & {counter for _, counter in annotated}


def _rounds(loop: str, body: str, before: str = "int32_t acc = 0;") -> list[str]:
    text = f"void f(void)\n{{\n    {before}\n    {loop} {{\n        {body}\n    }}\n}}\n"
    return re.findall(r"//@ loop unroll (\d+);", with_annotations({"f.c": text})["f.c"])


def test_rounds() -> None:
    count = "for (int32_t i = 2; i < 9; i += 3)"
    assert _rounds(count, "acc += x[i];") == ["3"]
    assert _rounds(count, "acc = tg_mla(acc, x[i], w[i]);") == ["3"]
    assert _rounds("for (int32_t i = first; i < last; i++)", "acc += x[i];") == [str(UNKNOWN_ROUNDS)]
    assert _rounds(count, "acc = tg_max(acc, x[i]);") == []
    assert _rounds(count, "word |= 1U << i;", "uint32_t word = 0;") == []
    assert _rounds(count, "int32_t sum = 0; sum += x[i];") == []
    assert _rounds(count, "acc += x[i];", "//@ loop unroll 7;\n    int32_t acc = 0;") == ["7", "3"]
