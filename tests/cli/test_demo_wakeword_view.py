"""What moves on a terminal while a board listens."""

from __future__ import annotations

import io
import signal

import pytest
from rich.console import Console

from tinygen.cli.demo_wakeword import _interrupt_ends
from tinygen.cli.demo_wakeword_view import LiveView, condensed, sparkline
from tinygen.hil.audio import HopEvent


def test_bars() -> None:
    assert sparkline([0.0, 0.01, 0.5, 0.99, 1.0]) == " ▁▅██"
    assert condensed([0.1, 0.9, 0.2, 0.3], 2) == [0.9, 0.3]
    assert condensed([0.1, 0.9], 5) == [0.1, 0.9]
    assert max(condensed([0.0] * 99 + [1.0], 7)) == 1.0


def heard(view: LiveView) -> None:
    """Two words of three inferences each."""
    view.start("A board, emulated.")
    for hop in range(120):
        ran, detected = hop % 3 == 2, hop % 60 > 50
        view.show(HopEvent(hop, ran, (255,), 9, detected and ran, 1, 1), 0.97 if detected else 0.0, "a sentence")


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (False, False), (False, True), (True, True)])
def test_live(terminal: bool, quiet: bool) -> None:
    file = io.StringIO()
    with LiveView(Console(file=file, force_terminal=terminal, width=100), quiet=quiet) as view:
        heard(view)
    text = file.getvalue()
    assert ("A board, emulated." in text) is not quiet
    moving = ("█" in text, "a sentence" in text, "detected" in text)
    assert moving == ((terminal and not quiet),) * 3
    if terminal and not quiet:
        assert "1 so far" in text


def test_ctrl_c_ends_the_sound_and_then_the_program() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _interrupt_ends(True) as ended:
        assert not ended()
        signal.raise_signal(signal.SIGINT)
        assert ended()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
