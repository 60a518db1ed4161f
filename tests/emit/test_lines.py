"""Comments of C within 120 columns."""

from __future__ import annotations

import re

import pytest

from tests.support.long_lines import too_long
from tinygen.emit.lines import COLUMNS, wrap_lines
from tinygen.paths import resource

_WORDS = " ".join(f"word{n}" for n in range(40))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\s*/]+", text)


def test_what_is_short_stays() -> None:
    text = "/*\n * One line,\n * another.\n */\nint x; /* a comment */\n"
    assert wrap_lines(text) == text


def test_a_comment_of_one_line() -> None:
    wrapped = wrap_lines(f"int x;\n    /* {_WORDS} */\nint y;\n")
    assert not too_long(wrapped)
    assert _words(wrapped) == ["int", "x;", *_WORDS.split(), "int", "y;"]
    comment = wrapped.split("\n")[1:-2]
    assert comment[0].startswith("    /* word0 ") and comment[-1].endswith(" */")
    assert all(re.match(r" {7}\S", line) for line in comment[1:])


def test_words_go_to_the_next_line_of_a_sentence() -> None:
    wrapped = wrap_lines(f"  /*\n   * {_WORDS}\n   * and so on.\n   *\n   * After it.\n   */\n")
    assert not too_long(wrapped)
    lines = wrapped.split("\n")
    assert lines[0] == "  /*" and lines[-5:] == [lines[-5], "   *", "   * After it.", "   */", ""]
    assert lines[-5].endswith("word39 and so on.")
    assert all(line.startswith("   * word") for line in lines[1:-4])


@pytest.mark.parametrize("after", [" - an item", " name: what it is", " a, b[4]: what they are", "     a column", ""])
def test_words_do_not_go_into_what_is_no_sentence(after: str) -> None:
    wrapped = wrap_lines(f"/*\n * {_WORDS}\n *{after}\n */\n")
    assert not too_long(wrapped)
    assert wrapped.split("\n")[-4].endswith("word39")
    assert wrapped.endswith(f"\n *{after}\n */\n")


@pytest.mark.parametrize(
    "text", [f'const char *x = "{_WORDS}";\n', f"/*@ requires {_WORDS}; */\n", f"/* {'x' * 130} */\n", "/* 1 */\n" * 40]
)
def test_code_annotations_and_long_words_stay(text: str) -> None:
    assert wrap_lines(text) == text


@pytest.mark.parametrize("folder", ["templates", "firmware"])
def test_files_that_are_copied(folder: str) -> None:
    """What is rendered is held to the same in `tests.support.host_batch`."""
    files = [path for path in sorted(resource(folder).rglob("*.[ch]")) if too_long(path.read_text())]
    assert not files, f"lines of more than {COLUMNS} columns"


@pytest.mark.parametrize(
    ("line", "wrapped"),
    [
        (
            f"    y[0] = clamp(scale({'x' * 50}, {'y' * 30}) + 3, -128, 127);",
            f"    y[0] = clamp(\n        scale({'x' * 50}, {'y' * 30}) + 3, -128, 127);",
        ),
        (f"sum = {'f(x, y) + ' * 12}0;", f"sum = {' + '.join(['f(x, y)'] * 11)}\n    + f(x, y) + 0;"),
        (f"const {'a' * 60}_t {'b' * 50}[4] = {{", f"const {'a' * 60}_t\n    {'b' * 50}[4] = {{"),
        (f"    {'A' * 60} = 1, /* {'b ' * 30}*/", f"    /* {'b ' * 30}*/\n    {'A' * 60} = 1,"),
        (f"y = x[{'i0 * 4 + ' * 12}i1] + z;", f"y = x[{'i0 * 4 + ' * 12}i1]\n    + z;"),
    ],
)
def test_statements(line: str, wrapped: str) -> None:
    assert len(line) > COLUMNS and wrap_lines(f"{line}\n") == f"{wrapped}\n"
