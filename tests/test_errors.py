"""What an error says in Python, and on the command line."""

from __future__ import annotations

import pytest

from tinygen.errors import TinygenError, in_python


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Give --arena at least 0 bytes.", "Give arena_bytes at least 0 bytes."),
        ("--as c is not for this; leave --min-accuracy out", "form c is not for this; leave min_accuracy out"),
        ("Make one with: tinygen build MODEL --board BOARD --out DIR", None),
        (
            "Run `pytest hil --board NAME --port auto`, or give --port.",
            "Run `pytest hil --board NAME --port auto`, or give port.",
        ),
        ("pip install --force-reinstall espeakng-loader", None),
        ("-Wl,--gc-sections", None),
    ],
)
def test_parameters_take_the_place_of_options(text: str, named: str | None) -> None:
    assert in_python(text) == (text if named is None else named)


def test_the_command_line_keeps_its_options() -> None:
    error = TinygenError("is no limit", where="--arena", fix="Give --arena at least 0 bytes.")
    assert str(error) == "arena_bytes: is no limit\nGive arena_bytes at least 0 bytes."
    assert (error.where, error.fix) == ("--arena", "Give --arena at least 0 bytes.")
