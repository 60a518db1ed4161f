"""Energy of an hour of listening: a network with an exit, compared with networks that always compute everything.

Energy is that of computing, front end included: predicted cycles at the board's run current. The energy of waiting for
sound is not included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.apps.wakeword.dataset import Scenes
from tinygen.apps.wakeword.evaluate import (
    EARLY_SECONDS,
    LATE_SECONDS,
    SLIDING_WINDOW,
    Evaluation,
    Sound,
    evaluate,
)
from tinygen.apps.wakeword.evaluate import Network as HostNetwork
from tinygen.apps.wakeword.network import FRAME_SECONDS, HOP
from tinygen.apps.wakeword.scenes import Kind
from tinygen.audio.mixing import pink
from tinygen.audio.speech import SAMPLE_RATE_HZ
from tinygen.builds.manifest import Manifest
from tinygen.builds.predicted import predicted_energy
from tinygen.project.wakeword_json import wakeword_app_from_json
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.listen import listen

if TYPE_CHECKING:
    from tinygen.apps.wakeword.exits import Exit

BOARDS = ("f746zg", "l4r5zi", "esp32c3")
LOST = (0.005, 0.02, 0.05, 0.1)
"""Shares of the validation phrases that an exit may keep from being heard."""
USUAL = 1
"""The one of them that firmware has."""
STEPS_PER_HOUR = round(3600 / (HOP * FRAME_SECONDS))
_NOISE_SECONDS = 1.0


@dataclass(frozen=True)
class ExitPoint:
    """A network with an exit at one threshold.

    Attributes:
        lost: see LOST.
        code: steps leave below this code of the exit's logit.
        evaluation: of the network at that threshold.
        noise, speech: shares of the steps that do not leave, in scenes without and with speech.
    """

    lost: float
    code: int
    evaluation: Evaluation
    noise: float
    speech: float

    def as_json(self) -> dict[str, Any]:
        shares = {"noise": self.noise, "speech": self.speech}
        return {"lost": self.lost, "code": self.code, "goes_on": shares, "evaluation": self.evaluation.as_json()}


@dataclass(frozen=True)
class Hour:
    """Cost of a network on a board.

    Attributes:
        board, name: names of the board and the network.
        front_end: cycles of the features of a step.
        noise, speech: mean cycles of an inference in scenes without and with speech; worst: maximum of all inferences.
        joules_noise, joules_speech: energy of an hour, front end included; None if the board's current is unknown.
    """

    board: str
    name: str
    front_end: float
    noise: float
    speech: float
    worst: int
    joules_noise: float | None
    joules_speech: float | None

    def as_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def exit_code(codes: np.ndarray, said: np.ndarray, lost: float) -> int:
    """The highest code with which at most a share `lost` of the phrases has fewer than SLIDING_WINDOW steps that stay.

    Args:
        codes: int8 [scenes, steps], the exit's logits.
        said: int64 [n, 3]: scene, frames of begin and end of each phrase.
    """
    early, late = (round(seconds / FRAME_SECONDS / HOP) for seconds in (EARLY_SECONDS, LATE_SECONDS))
    found = []
    for scene, _, end in said:
        near = codes[scene, max(end // HOP - early, 0) : end // HOP + late + 1]
        found.append(int(np.sort(near)[-SLIDING_WINDOW]) if len(near) >= SLIDING_WINDOW else -128)
    return sorted(found)[int(lost * len(found))]


def goes_on(codes: np.ndarray, air: Scenes, code: int) -> tuple[float, float]:
    """Shares of the steps at or above a code: (in scenes without speech, in those with speech)."""
    silent = np.isnan(air.snr_db)
    above = codes >= code
    noise, speech = (float(above[where].mean()) if where.any() else 0.0 for where in (silent, ~silent))
    return noise, speech


def exit_points(
    found: Exit, sound: Sound, folder: Path, progress: Callable[[str, int, int], None] | None
) -> tuple[ExitPoint, ...]:
    """A network with an exit at thresholds chosen on validation phrases."""
    gate = HostNetwork(found.gate(), folder / "gate")
    phrases = sound.validation["phrases"]
    heard = gate.outputs(phrases), gate.outputs(sound.held_out["air"])
    points = []
    for done, lost in enumerate(LOST, 1):
        code = exit_code(heard[0], phrases.of_kind(Kind.PHRASE), lost)
        evaluation = evaluate(f"exit, {100 * lost:g} %", found.stream(code).first, sound, folder / f"exit{done}")
        points.append(ExitPoint(lost, code, evaluation, *goes_on(heard[1], sound.held_out["air"], code)))
        if progress:
            progress("evaluating exits", done, len(LOST))
    return tuple(points)


def front_end_cycles(folder: Path) -> float:
    """Predicted cycles of the features of a step: the mean over a second of noise.

    Args:
        folder: a build with a front end.
    """
    noise = pink(round(_NOISE_SECONDS * SAMPLE_RATE_HZ), np.random.default_rng(0))
    samples = np.round(1000 * noise / np.abs(noise).max()).astype(np.int16)
    return HOP * fmean(event.frontend_cycles for event in listen(folder, [samples]).events)


def hours_in(
    folder: Path, names: Sequence[str], points: Sequence[ExitPoint], boards: Sequence[str]
) -> tuple[Hour, ...]:
    """Builds firmware with each network for each board, and computes their energy.

    Args:
        folder: with the networks' `NAME.tg` and their JSON; builds are written there as well.
    """
    found: list[Hour] = []
    for board in boards:
        manifests = {}
        for name in names:
            app = wakeword_app_from_json(folder / f"{name}.json")
            out = folder / "hours" / board / name
            options = BuildOptions(board=board, kernels="compact", app=app)
            manifests[name] = build(folder / f"{name}.tg", out, options).manifest
        found += hours_of(manifests, front_end_cycles(out), points, board)
    return tuple(found)


def hours_of(
    manifests: Mapping[str, Manifest], front_end: float, points: Sequence[ExitPoint], board: str
) -> list[Hour]:
    """
    Args:
        manifests: of firmwares by the name of what they listen with; the one called "exit" has branches.
        front_end: cycles of a step's features.
        points: of the exit.
    """
    found = []
    for name, manifest in manifests.items():
        assert manifest.profile is not None
        cycles = manifest.profile.cycles_predicted
        if manifest.costs is None:
            found.append(_hour(board, name, front_end, (cycles, cycles, cycles)))
            continue
        best, worst = manifest.costs.best.cycles, manifest.costs.worst.cycles
        for point in points:
            noise, speech = (best + share * (worst - best) for share in (point.noise, point.speech))
            found.append(_hour(board, point.evaluation.name, front_end, (noise, speech, worst)))
    return found


def _hour(board: str, name: str, front_end: float, cycles: tuple[float, float, int]) -> Hour:
    noise, speech, worst = cycles
    joules = [_joules(board, front_end + one) for one in (noise, speech)]
    return Hour(board, name, front_end, noise, speech, worst, *joules)


def _joules(board: str, cycles: float) -> float | None:
    target = load_board(board)
    energy = predicted_energy(STEPS_PER_HOUR * cycles / target.core_hz, target) if target.core_hz else None
    return None if energy is None else energy[0] / 1e6
