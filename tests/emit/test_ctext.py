"""Array bodies: every element once, in order, on lines that are as full as they may be."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tinygen.emit.ctext import array_lines, comment_safe


@pytest.mark.parametrize("size", [0, 1, 24, 25, 1000, 65535, 65536, 65537, 140_000])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "bool"])
def test_lines(size: int, dtype: str) -> None:
    rng = np.random.default_rng(size)
    data = rng.random(size) < 0.5 if dtype == "bool" else rng.integers(-128, 128, size).astype(dtype)
    lines = array_lines(data.reshape(1, -1), width=60)
    assert all(line.endswith(",") and len(line) + 1 <= 60 for line in lines)
    assert [int(word) for line in lines for word in line[:-1].split(", ")] == data.astype(int).tolist()
    for line, following in pairwise(lines):
        word = following.split(", ")[0].rstrip(",")
        assert len(line) + 1 + len(word) + 2 > 60, "the next word would have fitted"


def test_extremes() -> None:
    for dtype in ("int8", "int16", "uint8", "uint16"):
        info = np.iinfo(dtype)
        assert array_lines(np.array([info.min, info.max], dtype)) == [f"{info.min}, {info.max},"]
    assert array_lines(np.array([-(2**31), 2**31 - 1], np.int32)) == ["INT32_MIN, 2147483647,"]
    assert array_lines(np.array([-(2**63), 5], np.int64)) == ["INT64_MIN, INT64_C(5),"]
    assert array_lines(np.array([0.5, -1], np.float32)) == ["5.0e-1f, -1.0e+0f,"]
    ends = array_lines(np.array([np.inf, -np.inf, np.nan], np.float32))
    assert ends == ["(1.0f / 0.0f), (-1.0f / 0.0f), (0.0f / 0.0f),"]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("conv*/ int x;", "conv* / int x;"),
        ("a/*b", "a/ *b"),
        # A backslash at the end of a line would join it with the next.
        ("C:\\models\\kws\\", "C:/models/kws/"),
        ("*\\", "* /"),
        ('say "hi"', "say 'hi'"),
        # A trigraph: ??/ is a backslash.
        ("what??/", "what? ?/"),
        ("a\nb\tc\x07", "a b c "),
        ("sö", "s?"),
        ("???/", "? ? ?/"),
    ],
)
def test_names_cannot_end_a_comment_or_a_string(text: str, safe: str) -> None:
    assert comment_safe(text) == safe
    assert not any(piece in safe for piece in ("*/", "/*", "\\", "??", "\n", '"'))
