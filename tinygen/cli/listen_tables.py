"""What `tinygen listen` shows."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from tinygen.cli.sheet import Sheet, name, number
from tinygen.verbs.listen import BOUND, ListenReport, Times


def listen_view(report: ListenReport) -> RenderableType:
    """Words that were detected, and the time of hops against their budget."""
    app = report.app
    words = Sheet(
        f"{app.wake_word}, {report.seconds:.2f} s of sound on {report.device}",
        [number("second"), name("word"), number("probability"), number("highest")],
    )
    for one in report.detections:
        words.add_row(f"{one.seconds:.2f}", one.label, f"{one.probability:.3f}", f"{one.highest:.3f}")
    highest = max(report.probabilities, default=0.0)
    nothing = f"Nothing detected: the highest probability was {highest:.3f}, the cutoff is {app.cutoff:g}."
    heard: RenderableType = words if report.detections else Text(nothing)
    return Group(heard, Text(), *_times(report))


def _times(report: ListenReport) -> list[RenderableType]:
    if not report.cycles_source:
        return [Text(f"No time: nothing counts cycles on {report.device}.")]
    headings = ("count", "median, ms", "longest, ms", "longest, cycles", "of budget")
    title = f"Time of a hop, {report.cycles_source}; budget {report.budget_ms:g} ms"
    table = Sheet(title, [name("hops"), *map(number, headings)])
    for what, times in (("features", report.without_inference), ("features, inference", report.with_inference)):
        if times.count:
            table.add_row(what, *_row(report, times))
    over = report.counted.overruns
    lines = [f"{over} of {report.counted.hops} hops took longer than {report.budget_ms:g} ms."]
    if report.share is not None:
        lines.append(f"Front end and model take {report.share:.1%} of real time.")
    lines.append(BOUND)
    lines += [f"On the line: {', '.join(report.troubles[:5])}."] if report.troubles else []
    return [table, *map(Text, lines)]


def _row(report: ListenReport, times: Times) -> list[str]:
    worst = report.milliseconds(times.worst)
    if worst is None or times.worst is None:
        return [f"{times.count:,}", "", "", "", ""]
    median = report.milliseconds(times.median) or 0.0
    return [
        f"{times.count:,}",
        f"{median:.3f}",
        f"{worst:.3f}",
        f"{times.worst:,}",
        f"{worst / report.budget_ms:.1%}",
    ]
