"""What `tinygen demo classify` prints: the networks side by side, then each picture and what they say of it."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinygen.apps.classify.page import answer_text
from tinygen.apps.classify.result import Comparison, Seen
from tinygen.cli.sheet import Sheet, name, number

_SHADES = " .:-=+*#%@"
_WIDEST = 32


def comparison_view(result: Comparison, *, colours: bool) -> RenderableType:
    """
    Args:
        colours: the terminal has them: pictures are drawn in half blocks instead of shades.
    """
    parts: list[RenderableType] = []
    if result.rows:
        parts += [_table(result), *(Text(line) for line in _notes(result)), Text()]
    for one in result.seen:
        parts += [_seen(one, result, colours), Text()]
    equal = f"{result.outputs - result.differ:,} of {result.outputs:,} outputs of {result.device}"
    said = f"{equal} are the integer semantics' own, code for code."
    parts.append(Text(said, style="red" if result.differ else "green"))
    if result.kept:
        parts.append(Text(f"Figures of an earlier run, unchanged since: {', '.join(result.kept)} (--retrain: anew)."))
    took = ", ".join(f"{what} {_seconds(seconds)}" for what, seconds in result.seconds.items() if seconds >= 1)
    files = [f"Report: {result.report / 'report.html'}"]
    files += [f"picture: {result.report / 'pareto.png'}"] if result.has_picture else []
    files += [f"builds: {', '.join(str(folder) for folder in result.builds.values())}"]
    return Group(*parts, Text("   ".join(files), overflow="fold"), *([Text(f"Took: {took}")] if took else []))


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _table(result: Comparison) -> Sheet:
    front = result.front
    figures = [number(heading) for heading in ("accuracy\n%", "latency\nms", "energy\nµJ", "flash\nB", "RAM\nB")]
    table = Sheet(
        f"{result.title} on {result.device}: {result.rows[0].inputs:,} test inputs over its serial port",
        [name(""), name("network"), name("switch"), *figures, number("as the\nsemantics")],
    )
    before = ""
    for row in result.rows:
        first = row.choice != before
        before = row.choice
        table.add_row(
            Text("◆" if row in front else "", style="cyan"),
            row.choice if first else "",
            row.switch,
            _number(None if row.accuracy is None else 100 * row.accuracy, "{:.1f}"),
            _number(row.milliseconds, "{:,.3f}"),
            _number(row.microjoules, "{:,.0f}"),
            _number(row.flash_bytes, "{:,}") if first else "",
            _number(row.ram_bytes, "{:,}") if first else "",
            Text(f"{row.inputs - row.differ:,}", style="red" if row.differ else ""),
            style="bold" if row in front else "",
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _notes(result: Comparison) -> list[str]:
    notes = []
    if result.front:
        cost = "energy" if result.axis and result.axis.key == "microjoules" else "latency"
        notes.append(f"◆ no other has a better accuracy at no more {cost}. Flash and RAM: of the whole firmware.")
    if result.float_accuracy is not None:
        percent = f"{100 * result.float_accuracy:.1f} %"
        inputs = f"{result.rows[0].inputs:,}"
        notes.append(f"The float network in PyTorch, trained for as long: {percent} of the same {inputs}.")
    spread = max((row.cycles["max"] / row.cycles["min"] - 1 for row in result.rows if row.cycles), default=None)
    if spread is not None:
        text = f"differ by at most {100 * spread:.3f} %" if spread else "do not differ"
        notes.append(f"Latency is {result.rows[0].source}, a median: in cycles, a network's inferences {text}.")
    if any(row.microjoules is not None for row in result.rows):
        notes.append("Energy is predicted: run current of the board file x supply voltage x latency.")
    return notes


def _seen(one: Seen, result: Comparison, colours: bool) -> RenderableType:
    height, width, channels = one.picture.pixels.shape
    kind = f"{width}x{height}, {'colour' if channels == 3 else 'grey'}"
    answers = Table(box=None, show_header=False, pad_edge=False)
    answers.add_column(no_wrap=True)
    answers.add_column()
    for verdict in one.verdicts:
        style = "" if verdict.matches else "red"
        answers.add_row(Text(verdict.name), Text(answer_text(verdict, result.labels), style=style))
    side = Table(
        box=None,
        show_header=False,
        pad_edge=False,
        title=f"{one.picture.path} as the board saw it ({kind})",
        title_justify="left",
    )
    side.add_column(no_wrap=True)
    side.add_column()
    side.add_row(draw_pixels(one.picture.pixels, colours=colours), answers)
    return side


def draw_pixels(pixels: np.ndarray, *, colours: bool) -> Text:
    """uint8 [height, width, channels] as text, two rows of pixels in a line; at most 32 columns."""
    step = -(-pixels.shape[1] // _WIDEST)
    small = _means(pixels.astype(np.float64), step)
    if len(small) % 2:
        small = np.concatenate([small, small[-1:]])
    text = Text()
    for above, below in zip(small[0::2], small[1::2], strict=True):
        for top, bottom in zip(above, below, strict=True):
            if colours:
                text.append("▀", style=f"{_hex(top)} on {_hex(bottom)}")
            else:
                text.append(_SHADES[int((top.mean() + bottom.mean()) / 2) * len(_SHADES) // 256])
        text.append("\n")
    text.right_crop(1)
    return text


def _means(pixels: np.ndarray, step: int) -> np.ndarray:
    """Means of squares of `step` pixels; what does not fill one is left out."""
    height, width, channels = pixels.shape
    rows, columns = height // step, width // step
    cut = pixels[: rows * step, : columns * step]
    return np.asarray(cut.reshape(rows, step, columns, step, channels).mean(axis=(1, 3)))


def _hex(pixel: np.ndarray) -> str:
    red, green, blue = np.broadcast_to(pixel, 3).astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
