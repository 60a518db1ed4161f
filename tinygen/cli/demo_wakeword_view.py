"""What `tinygen demo wakeword` shows: a live line while it listens, and tables at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tinygen.cli.listen_tables import listen_view
from tinygen.cli.sheet import Sheet, name, number, prose

if TYPE_CHECKING:
    from tinygen.apps.wakeword.demo import HeardScene, WakewordDemo
    from tinygen.hil.audio import HopEvent

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 48
_WIDTH = 20
_HOPS_PER_PICTURE = 10


def sparkline(values: Sequence[float]) -> str:
    """Values from 0 to 1 as a row of bars; 0 is a space, so that silence is empty."""
    return "".join(" " if value < 0.005 else _BARS[min(int(value * len(_BARS)), len(_BARS) - 1)] for value in values)


def condensed(values: Sequence[float], width: int) -> list[float]:
    """The highest of each of `width` equal parts; as they are where there are fewer."""
    if len(values) <= width:
        return list(values)
    edges = [len(values) * part // width for part in range(width + 1)]
    return [max(values[low:high]) for low, high in pairwise(edges)]


class LiveView:
    """On a terminal: the last probabilities and detections, as they come. Elsewhere, only the sentence of the start.

    Args:
        console: where it is drawn.
        quiet: nothing at all.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last: deque[float] = deque(maxlen=_SHOWN)
        self._words = 0
        self._was_detected = False

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.stop()

    def start(self, runtime: str) -> None:
        if self._quiet:
            return
        self._console.print(runtime)
        if self._live is not None:
            self._live.start()

    def show(self, event: HopEvent, probability: float, scene: str) -> None:
        """Redraws after each hop."""
        if event.ran:
            self._last.append(probability)
            self._words += event.detected and not self._was_detected
            self._was_detected = event.detected
        if self._live is not None and not self._quiet and event.hop % _HOPS_PER_PICTURE == 0:
            self._live.update(self._picture(event, probability, scene), refresh=True)

    def _picture(self, event: HopEvent, probability: float, scene: str) -> RenderableType:
        bars = Text(sparkline(self._last).rjust(_SHOWN), style="green" if self._was_detected else "cyan")
        state = "detected" if self._was_detected else ""
        figures = Text(f" {probability:5.3f} {state:8}  {self._words} so far")
        return Group(Text.assemble(bars, figures), Text(f"hop {event.hop + 1}: {scene}", style="dim"))


def demo_view(result: WakewordDemo) -> RenderableType:
    """Scene by scene, then words and times, then memory."""
    app, manifest = result.report.app, result.manifest
    title = f"{app.wake_word}: what was played, and the probability over time"
    columns = [number("second"), prose("sound"), name("probability"), number("peak"), name("detected"), name("right")]
    table = Sheet(title, columns)
    for one in result.heard:
        table.add_row(*_row(result, one))
    memory = (
        f"Flash {manifest.flash_bytes:,} B, RAM {manifest.ram_bytes:,} B: the whole firmware; front end and "
        f"listening take {app.flash_bytes:,} B and {app.ram_bytes:,} B of these."
    )
    return Group(table, Text(), listen_view(result.report), Text(), Text(memory))


def _row(result: WakewordDemo, one: HeardScene) -> list[str | Text]:
    step = len(result.report.events) / max(len(result.report.probabilities), 1)  # hops per inference
    hops = [
        1000 * s / result.report.budget_ms / step for s in (one.start_seconds, one.start_seconds + one.scene.seconds)
    ]
    over_time = result.report.probabilities[round(hops[0]) : round(hops[1])]
    verdict = {True: Text("yes", style="green"), False: Text("NO", style="bold red"), None: Text("")}[one.is_right]
    return [
        f"{one.start_seconds:.2f}",
        Text(one.scene.name),
        sparkline(condensed(over_time, _WIDTH)),
        "" if one.peak is None else f"{one.peak:.3f}",
        ", ".join(f"at {word.seconds:.2f} s" for word in one.detections) or "-",
        verdict,
    ]
