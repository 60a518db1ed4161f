"""Writes the pages that are made of the program: the command reference and the supported operators.

    python -m tests.docs.generate [--write]

Without --write it says which pages are not what they would be, and ends with 1 if any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from typer.main import get_command

from tests.docs.pages import ROOT
from tinygen.cli.app import app

_MADE = "<!-- Made by: python -m tests.docs.generate --write -->"
_WIDE = {
    "ADD",
    "AVERAGE_POOL_2D",
    "BATCH_TO_SPACE_ND",
    "BROADCAST_TO",
    "CAST",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DYNAMIC_UPDATE_SLICE",
    "EXPAND_DIMS",
    "FILL",
    "FULLY_CONNECTED",
    "GATHER",
    "GATHER_ND",
    "MAXIMUM",
    "MAX_POOL_2D",
    "MINIMUM",
    "MUL",
    "PACK",
    "PAD",
    "RESHAPE",
    "REVERSE_V2",
    "SELECT",
    "SELECT_V2",
    "SLICE",
    "SPACE_TO_BATCH_ND",
    "SPLIT",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "SUB",
    "TILE",
    "TOPK_V2",
    "TRANSPOSE",
    "UNPACK",
}
"""TFLite operators that are tested with int16 activations, too."""


def commands() -> str:
    """docs/reference/commands.md."""
    root: Any = get_command(app)
    lines = ["# Commands", "", _MADE, "", root.help, "", "```console", "$ tinygen [--debug] COMMAND ...", "```", ""]
    lines += _options(root, skip=())
    for name, command in _walk(root, ("tinygen",)):
        lines += ["", f"## {name}", "", *_described(command), "", "```console", f"$ {_usage(name, command)}", "```", ""]
        lines += _options(command, skip=("--help",))
    lines += ["", "## Exit status", "", *_table(("Status", "Meaning"), _STATUS)]
    return "\n".join(lines) + "\n"


_STATUS = (
    ("0", "success"),
    ("1", "an error that tinygen understands; `verify`, `hil` and `farm` found differences"),
    ("2", "wrong usage"),
    ("70", "a defect in tinygen: run again with `tinygen --debug ...` and report what it prints"),
    ("130", "interrupted"),
)


def _walk(group: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield " ".join((*names, name)), command
        if hasattr(command, "commands"):
            yield from _walk(command, (*names, name))


def _described(command: Any) -> list[str]:
    paragraphs = (command.help or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).splitlines()


def _usage(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    needed = [one for one in command.params if one.param_type_name == "option" and one.required]
    words = [one.metavar if one.required else f"[{one.metavar}]..." for one in arguments]
    words += [f"{_longest(one)} {one.metavar}" for one in needed]
    return " ".join([name, *words, "[OPTIONS]"])


def _options(command: Any, skip: Iterable[str]) -> list[str]:
    rows = []
    for one in command.params:
        if one.param_type_name == "argument":
            rows.append((_code(one.metavar), _text(one.help or "")))
        elif not set(one.opts) & set(skip):
            value = "" if one.is_flag else f" {one.metavar}"
            names = ", ".join(_code(f"{name}{value}") for name in (*one.opts, *one.secondary_opts))
            rows.append((names, _text(f"{one.help or ''}{_default(one)}")))
    return _table(("Option", "Meaning"), rows)


def _default(one: Any) -> str:
    if one.required:
        return " Required."
    if one.is_flag or one.default in (None, False, "", (), []) or callable(one.default):
        return ""
    return f" Default: `{one.default}`."


def _longest(one: Any) -> str:
    return str(max(one.opts, key=len))


def _code(text: str) -> str:
    """Code in a table: a bar would end its cell, and GitHub and Python-Markdown differ in how one is escaped."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def _text(help: str) -> str:
    return " ".join(help.split()).replace("|", "\\|")


def _table(heads: tuple[str, str], rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"| {heads[0]} | {heads[1]} |", "|---|---|", *(f"| {first} | {second} |" for first, second in rows)]


def operators() -> str:
    """docs/reference/operators.md."""
    from tinygen.frontends import onnx, tflite, torch
    from tinygen.frontends.aten.registry import CONVERTERS
    from tinygen.frontends.onnx.registry import supported_operators as of_onnx
    from tinygen.frontends.tflite.reader import VARIABLE_OPERATORS
    from tinygen.frontends.tflite.registry import OPERATOR_NAMES
    from tinygen.frontends.tflite.registry import custom_operators as custom_tflite
    from tinygen.frontends.tflite.registry import supported_operators as of_tflite

    assert onnx and tflite and torch  # they register their converters
    listed = sorted({*of_tflite(), *(OPERATOR_NAMES[code] for code in VARIABLE_OPERATORS)})
    assert set(listed) >= _WIDE, _WIDE - set(listed)
    in_tflite = [f"`{name}`{' ¹⁶' if name in _WIDE else ''}" for name in listed]
    custom = custom_tflite()
    aten = sorted(name.removeprefix("aten.") for name in CONVERTERS)
    parts = [
        "# Supported operators",
        _MADE,
        "Operators that are missing are an error, which names all of them, and what to use instead.",
        f"## TensorFlow Lite: {len(listed)} operators",
        "int8 (per channel and per tensor), uint8 and float32; ¹⁶: int16 activations (16x8), too. Constants may be "
        "INT4, two in a byte. Weights must be constants, shapes static. `CONV_2D` may be grouped.",
        ", ".join(in_tflite) + ".",
        f"Custom ones, of Larq Compute Engine and TensorFlow Lite Micro: {', '.join(f'`{name}`' for name in custom)}.",
        f"## ONNX: {len(of_onnx())} operators",
        "Of float models, in QDQ form, as QLinear operators, or between QONNX quantizers.",
        ", ".join(f"`{name}`" for name in of_onnx()) + ".",
        f"## PyTorch: {len(aten)} operators of an exported program",
        "Names are ATen's, without their overload. `quantized_decomposed` ones are those of the PT2E flow.",
        ", ".join(f"`{name}`" for name in aten) + ".",
    ]
    return "\n\n".join(parts) + "\n"


PAGES = {"docs/reference/commands.md": commands, "docs/reference/operators.md": operators}


def main() -> int:
    different = []
    for name, make in PAGES.items():
        page, text = ROOT / name, make()
        if not page.exists() or page.read_text() != text:
            different.append(name)
            if "--write" in sys.argv:
                page.parent.mkdir(parents=True, exist_ok=True)
                page.write_text(text)
    if different:
        print(f"{'written' if '--write' in sys.argv else 'not up to date'}: {', '.join(different)}")
    return 1 if different and "--write" not in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
