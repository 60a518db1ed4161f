"""Rows against a baseline: another kernel family on the same case, compiler and board."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinygen.bench.measure import FIGURES, FOREIGN, Row


def choose_baseline(kernels: Sequence[str]) -> str | None:
    """The family others are compared with unless the user says: a foreign library, else `reference`, else the last."""
    if len(kernels) < 2:
        return None
    for family in (*(k for k in kernels if k in FOREIGN), "reference"):
        if family in kernels:
            return family
    return kernels[-1]


def add_ratios(rows: list[Row], baseline: str | None) -> None:
    """Adds `baseline` (the family, or None) and `ratios` (see there) to each row, `ratios` also to its layers.

    Layers are matched by name; families may join layers differently, and then some have no counterpart.
    """
    reference = {_place(row): row for row in rows if row["kernels"] == baseline}
    for row in rows:
        base = reference.get(_place(row))
        row["baseline"] = baseline if base is not None else None
        row["ratios"] = {} if base is None else ratios(row, base)
        theirs = {layer["name"]: layer for layer in base.get("layers", ())} if base else {}
        for layer in row.get("layers", ()):
            layer["ratios"] = ratios(layer, theirs.get(layer["name"], {}))


def ratios(row: Row, base: dict[str, Any]) -> dict[str, float]:
    """row / base for every figure that both have; less than 1 is better."""
    return {key: row[key] / base[key] for key in FIGURES if row.get(key) and base.get(key)}


def _place(row: Row) -> tuple[str, str, str, str]:
    return row["suite"], row["case"], row["toolchain"], row["board"]


def geometric_mean(values: Iterable[float]) -> float | None:
    """None for no values."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def summarize(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Per suite, family and compiler: geometric means of ratios to the baseline and to published figures."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if "seconds" not in row:
            groups.setdefault((row["suite"], row["kernels"], row["toolchain"]), []).append(row)
    return [
        {
            "suite": suite,
            "kernels": kernels,
            "toolchain": toolchain,
            "cases": len(members),
            "errors": sum(row["error"] is not None for row in members),
            "baseline": next((row["baseline"] for row in members if row["baseline"]), None),
            "ratios": _means([row["ratios"] for row in members]),
            "worst": _worst(members, lambda row: row["ratios"]),
            "published_ratios": _means([ratios(row, row["published"]) for row in members if row.get("published")]),
            "published_worst": _worst(members, lambda row: ratios(row, row.get("published") or {})),
            "published_cases": sum(bool(row.get("published")) for row in members),
        }
        for (suite, kernels, toolchain), members in groups.items()
    ]


def _worst(rows: Sequence[Row], ratios_of: Callable[[Row], dict[str, float]]) -> dict[str, Any] | None:
    """The case whose ratio of instructions is largest; None where there are none."""
    found = [(ratios_of(row).get("instructions"), row["case"]) for row in rows]
    known = [(ratio, case) for ratio, case in found if ratio is not None]
    return {"case": max(known)[1], "instructions": max(known)[0]} if known else None


def _means(entries: Sequence[dict[str, float]]) -> dict[str, float]:
    means = {key: geometric_mean(entry[key] for entry in entries if key in entry) for key in FIGURES}
    return {key: mean for key, mean in means.items() if mean is not None}
