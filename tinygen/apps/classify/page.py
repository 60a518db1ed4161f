"""report.html of `tinygen demo classify`: one self-contained page."""

from __future__ import annotations

import base64
import io

import numpy as np

from tinygen.apps.classify.labels import label_of
from tinygen.apps.classify.result import Comparison, Verdict
from tinygen.apps.classify.tested import Row
from tinygen.builds.pages import page_environment


def render_classify(result: Comparison, picture: str) -> str:
    """The page.

    Args:
        picture: an <svg> element, or "".
    """
    front = result.front
    return (
        page_environment()
        .get_template("classify.html.j2")
        .render(
            r=result,
            source=result.rows[0].source if result.rows else "",
            rows=[{"r": row, "cells": row_texts(row), "on_front": row in front} for row in result.rows],
            picture=picture,
            seen=[
                {
                    "file": one.picture.path.name,
                    "png": _png(one.picture.pixels),
                    "answers": [
                        (verdict.name, answer_text(verdict, result.labels), verdict.matches) for verdict in one.verdicts
                    ],
                }
                for one in result.seen
            ],
        )
    )


def row_texts(row: Row) -> dict[str, str]:
    """A row's figures as text; "–" for a missing one."""
    return {
        "accuracy": _text(row.accuracy, "{:.1%}").replace("%", " %"),
        "latency": _text(row.milliseconds, "{:.3f} ms"),
        "energy": _text(row.microjoules, "{:,.0f} µJ"),
        "flash": _text(row.flash_bytes, "{:,} B"),
        "ram": _text(row.ram_bytes, "{:,} B"),
        "equal": f"{row.inputs - row.differ:,} of {row.inputs:,}",
    }


def answer_text(verdict: Verdict, labels: tuple[str, ...]) -> str:
    """An answer as text: "7 (99.8 %), then 1 (0.1 %), 9 (0.0 %)"."""
    answer = verdict.answer
    if answer.probability is None:
        return f"{label_of(answer.index, labels)}, {answer.margin:,.0f} codes ahead"
    others = [(index, value) for index, value in answer.top if index != answer.index]
    text = f"{label_of(answer.index, labels)} ({100 * answer.probability:.1f} %)"
    rest = ", ".join(f"{label_of(index, labels)} ({100 * value:.1f} %)" for index, value in others)
    return f"{text}, then {rest}" if rest else text


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _png(pixels: np.ndarray) -> str:
    """The pixels as a data URL of a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
