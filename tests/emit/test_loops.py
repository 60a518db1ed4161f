"""Loops of one pass in generated C."""

from __future__ import annotations

import pytest

from tinygen.emit.loops import without_single_passes

_FUNCTION = """\
static void f(const int8_t *input, int8_t *output)
{{
    const int32_t *k = channels;
{loop}
}}
"""


def function(body: str, head: str = "n = 0; n < 1; n++, input += 8") -> str:
    inner = "\n".join(f"        {line}" for line in body.split("\n"))
    return _FUNCTION.format(loop=f"    for (int32_t {head}) {{\n{inner}\n    }}")


def test_taken_out() -> None:
    made = without_single_passes(
        function("const int8_t *w = weights;\nfor (int32_t o = 0; o < 4; o++) {\n    x(w[o]);\n}")
    )
    assert "n < 1" not in made
    assert "\n    const int8_t *w = weights;\n    for (int32_t o = 0; o < 4; o++) {\n        x(w[o]);\n    }\n}" in made


def test_hints_go_with_their_loops() -> None:
    text = function("x();").replace("    for (", "    TG_CLANG_NO_UNROLL\n    for (")
    assert "TG_CLANG" not in without_single_passes(text) and "    x();" in without_single_passes(text)


def test_a_counter_that_is_zero() -> None:
    for factors in ("256", "5 * 32", "2 * 3 * 4U"):
        assert "\n    x(input, 3);" in without_single_passes(function(f"x(input + n * {factors}, 3);"))
    assert "n < 1" in without_single_passes(function("x(input + n * 8 * y, 3);"))


@pytest.mark.parametrize(
    "text",
    [
        function("x(n);"),
        function("x(k);", "n = 0; n < 2; n++"),
        function("const int32_t k = 3;\nx(k);"),
        function("if (x) {\n    continue;\n}\ny();"),
        function("x();").replace("    }\n}", "    }\n    y();\n}"),
    ],
    ids=["counter", "two passes", "a name twice", "continue", "something behind it"],
)
def test_left(text: str) -> None:
    assert without_single_passes(text) == text


def test_a_continue_of_another_loop() -> None:
    inner = "for (int32_t i = 0; i < 3; i++) {\n    if (i == x) {\n        continue;\n    }\n    y(i);\n}"
    assert "n < 1" not in without_single_passes(function(inner))
