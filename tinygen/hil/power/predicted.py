"""The predicted source: no instrument, but the board file's run current and the cycles that the emulated board took."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.errors import BoardError
from tinygen.hil.power.result import CYCLES, PREDICTED, EnergyResult, WindowEnergy
from tinygen.targets.board import Board


class PredictedSource:
    """The replacement for an instrument.

    Args:
        board: its file gives clock and run current.

    Attributes:
        name: for reports.

    Raises:
        BoardError: the board file gives no run current, or no clock.
    """

    def __init__(self, board: Board) -> None:
        if board.run_current is None or not board.core_hz:
            raise BoardError(
                "has no run current, from which energy could be predicted",
                where=board.name,
                fix="Give its file `run_current: {ma: ..., volts: ..., source: ...}`, or measure.",
            )
        self._board, self._current = board, board.run_current
        self.name = (
            f"predicted ({board.run_current.ma:g} mA at {board.run_current.volts:g} V: {board.run_current.source})"
        )

    def energy(self, cycles: Sequence[int]) -> EnergyResult:
        """Predicts the energy of inferences from their cycles; one window each. The uncertainty is the run current's.

        Idle is not predicted: what a board draws while it waits depends on how it waits.
        """
        windows, start = [], 0.0
        for count in cycles:
            stop = start + count / self._board.core_hz
            amperes, volts = self._current.ma * 1e-3, self._current.volts
            joules = amperes * volts * (stop - start)
            windows.append(
                WindowEnergy(start, stop, 1, joules, joules * self._current.interval, amperes, volts, samples=0, lost=0)
            )
            start = stop
        note = "predicted: cycles of the emulated board x the board file's run current; nothing was measured"
        return EnergyResult(PREDICTED, self.name, CYCLES, tuple(windows), None, None, (note,))
