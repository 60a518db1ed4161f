"""What switches cost together, out of the rows of suite `switchable`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.bench.figures import markdown_table
from tinygen.bench.suites import Section

ALONE = "-alone"
"""What independent networks have behind the switch's name."""
_HEADS = ("case", "kernels", "compiler", "constants: own", "shared", "alone", "kernels: own", "shared")
_NOTE = (
    "Constants and kernels of each switch: what it has for itself, and what other switches use too; alone: the "
    "constants of a firmware that has this switch only."
)
_Row = dict[str, Any]


def sections(rows: Sequence[_Row]) -> list[Section]:
    """Flash of the switches of one firmware, and of all together beside firmwares of their own."""
    mine = switch_rows(rows)
    if not mine:
        return []
    lines = []
    for row in mine:
        constants, code = row["switch"]["constant_bytes"], row["switch"]["code_bytes"]
        numbers = (*constants.values(), row["switch"]["constant_bytes_apart"], *code.values())
        lines.append((row["case"], row["kernels"], row["toolchain"], *(f"{number:,}" for number in numbers)))
    texts = [totals_text(total) for total in switch_totals(rows)]
    return [Section("Flash of switches in one firmware, bytes", _NOTE, [markdown_table(_HEADS, lines, 3)], texts)]


def switch_rows(rows: Sequence[_Row]) -> list[_Row]:
    """Rows of switches that have been measured in a firmware of all of them."""
    return [row for row in rows if row.get("switch") and not row["error"]]


def switch_totals(rows: Sequence[_Row]) -> list[_Row]:
    """One row per kernel family, compiler and board.

    Returns:
        switches: how many were measured.
        constant_bytes, constant_bytes_apart: of the arrays in the firmware of all switches, and of those that a
            firmware for each would have; of the switches measured.
        float_bytes: of the weights in float32.
        flash_bytes: of the firmware of all switches.
        flash_bytes_alone: sum over the firmwares of independent networks; None where not all were measured.
    """
    result = []
    good = switch_rows(rows)
    for place in dict.fromkeys(map(_place, good)):
        ours = [row for row in good if _place(row) == place]
        alone = {_name(row): row["flash_bytes"] for row in rows if _place(row) == place and not row["error"]}
        names = [_name(row) + ALONE for row in ours]
        kernels, toolchain, board = place
        whole = ours[0]["switch"]
        result.append(
            {
                "kernels": kernels,
                "toolchain": toolchain,
                "board": board,
                "switches": len(ours),
                "constant_bytes": whole["constant_bytes_together"],
                "constant_bytes_apart": sum(row["switch"]["constant_bytes_apart"] for row in ours),
                "float_bytes": whole["float_bytes"],
                "flash_bytes": ours[0]["flash_bytes"],
                "flash_bytes_alone": sum(alone[name] for name in names) if set(names) <= set(alone) else None,
            }
        )
    return result


def _place(row: _Row) -> tuple[str, str, str]:
    return row["kernels"], row["toolchain"], row["board"]


def _name(row: _Row) -> str:
    """The case's, without the board that it has among rows of several."""
    return str(row["case"]).partition("@")[0]


def totals_text(total: _Row) -> str:
    """A row of `switch_totals` as a sentence."""
    text = (
        f"{total['board']}, {total['kernels']}, {total['toolchain']}: constants of {total['switches']} switches "
        f"{total['constant_bytes']:,} bytes together, {total['constant_bytes_apart']:,} apart; the weights in float32 "
        f"{total['float_bytes']:,}. Firmware of all {total['flash_bytes']:,}"
    )
    alone = total["flash_bytes_alone"]
    return f"{text}, independent firmwares {alone:,}." if alone else f"{text}."
