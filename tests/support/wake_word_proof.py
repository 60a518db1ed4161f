"""A wake word's firmware against pymicro-wakeword, on the same sound, frame by frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.wake_word_oracles import Heard, pymicro, semantics
from tinygen.audio.mixing import NOISES, at_snr
from tinygen.audio.models import bundled
from tinygen.audio.scenes import speakers
from tinygen.audio.speech import say
from tinygen.project.wakeword_json import wakeword_app_from_json
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.listen import SAME_WORD_SECONDS, ListenReport, listen

PAUSE = np.zeros(8000, np.int16)


@dataclass(frozen=True)
class Oracles:
    """What others make of a sound.

    Attributes:
        samples: the sound.
        theirs: pymicro-wakeword as it is.
        reference: pymicro-wakeword's own code on LiteRT's reference kernels.
        optimised: codes by tinygen's meaning of the model with two operators rounded as LiteRT's optimised kernels do.
    """

    samples: np.ndarray
    theirs: Heard
    reference: Heard
    optimised: list[int]

    @staticmethod
    def of(name: str, samples: np.ndarray) -> Oracles:
        """Of a bundled model."""
        model, config = bundled()[name]
        theirs = pymicro(config, samples)
        reference = pymicro(config, samples, reference=True)
        return Oracles(samples, theirs, reference, semantics(model, theirs.inputs, optimised=True))


@dataclass(frozen=True)
class Compared:
    """What firmware and pymicro-wakeword made of the same sound.

    Attributes:
        name, board: the model and where it ran.
        report: the firmware's.
        oracles: the others'.
    """

    name: str
    board: str
    report: ListenReport
    oracles: Oracles

    @property
    def ours(self) -> list[float]:
        return list(self.report.probabilities)

    @property
    def ours_detected(self) -> list[bool]:
        return [event.detected for event in self.report.events if event.ran]

    @property
    def differing(self) -> int:
        """Probabilities that are not pymicro-wakeword's as it is."""
        return sum(a != b for a, b in zip(self.ours, self.oracles.theirs.probabilities, strict=True))

    @property
    def largest_difference(self) -> float:
        return max(abs(a - b) for a, b in zip(self.ours, self.oracles.theirs.probabilities, strict=True))

    def row(self) -> str:
        """Of the table."""
        report, manifest = self.report, self.report.manifest
        stride = report.app.step_frames
        frontend = max(event.frontend_cycles for event in report.events)
        inference = max(event.inference_cycles for event in report.events)
        share = (report.milliseconds(report.with_inference.worst) or 0.0) / report.budget_ms
        cells = [
            self.name,
            self.board,
            f"{len(report.events):,}",
            f"{sum(a != b for a, b in zip(self.ours, self.oracles.reference.probabilities, strict=True))}",
            f"{self.differing} of {len(self.ours)}",
            f"{self.largest_difference:.3f}",
            f"{len(words_in(self.ours_detected, stride))}/{len(words_in(self.oracles.theirs.detected, stride))}",
            *(f"{n:,} ({report.milliseconds(n):.3f} ms)" for n in (frontend, inference)),
            f"{share:.1%}",
            f"{manifest.flash_bytes:,}",
            f"{manifest.ram_bytes:,}",
        ]
        return "| " + " | ".join(cells) + " |"


HEADER = """\
| model | board | hops | ≠ ref. | ≠ shipped | largest | words | front end | inference | of budget | flash | RAM |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def words_in(detected: Iterable[bool], stride: int) -> list[int]:
    """Inferences that begin a word: those that detect it, and follow no other in the last second."""
    starts, last = [], -(10**9)
    for index, one in enumerate(detected):
        if one and (index - last) * stride * 0.01 > SAME_WORD_SECONDS:
            starts.append(index)
        last = index if one else last
    return starts


def sound(
    word: str,
    *,
    ratios: Sequence[float],
    noises: Sequence[str] = ("white", "pink", "babble"),
    variants: Sequence[str] = (),
) -> np.ndarray:
    """Sentences with a wake word and one without, clean and at each ratio in each noise: int16 at 16 kHz.

    Args:
        word: said by two voices that the bundled models understand, and by `variants`, which they may not.
        ratios: speech to noise, dB.
        noises: of `tinygen.audio.mixing.NOISES`.
        variants: of eSpeak NG.
    """
    one, two = speakers(word)
    rng = np.random.default_rng(11)
    other = say("Turn on the kitchen light.", variant="f2")
    spoken = [one.say(f"{word}, what time is it?"), two.say(f"{word}."), other]
    spoken += [say(f"{word}.", variant=variant) for variant in variants]
    clean = np.concatenate([part for sentence in spoken for part in (PAUSE, sentence)])
    noisy = [at_snr(clean, NOISES[name](len(clean), rng), ratio) for ratio in ratios for name in noises]
    return np.concatenate([clean, *noisy, PAUSE])


def compare(name: str, board: str, folder: Path, oracles: Oracles, *, arithmetic: str = "reference") -> Compared:
    """Builds a bundled model's firmware into `folder`, and plays the sound to it."""
    model, config = bundled()[name]
    app = wakeword_app_from_json(config)
    build(model, folder, BuildOptions(board=board, app=app, arithmetic=arithmetic), profile=False)
    return Compared(name, board, listen(folder, [oracles.samples]), oracles)


def ends_in_time(result: Compared) -> bool:
    """Whether every hop does; the host's clock is that of the wall, and other processes may hold a hop up."""
    return result.board == "host" or result.report.counted.overruns == 0


def assert_proved(result: Compared) -> None:
    """What must hold of every sound.

    - Every probability, code and detection is that of pymicro-wakeword's own code on LiteRT's reference kernels.
    - pymicro-wakeword as it is differs from that by two operators' rounding and by nothing else: with their optimised
      meaning in place, tinygen's meaning gives its codes, all of them.
    - The words that are detected are the same, and every hop ends in time.
    """
    oracles = result.oracles
    ran = [event for event in result.report.events if event.ran]
    assert len(ran) == len(oracles.theirs.codes) > 0
    assert [event.codes[0] for event in ran] == oracles.reference.codes
    assert result.ours == oracles.reference.probabilities
    assert result.ours_detected == oracles.reference.detected
    assert oracles.optimised == oracles.theirs.codes
    stride = result.report.app.step_frames
    ours, theirs = words_in(result.ours_detected, stride), words_in(oracles.theirs.detected, stride)
    assert len(ours) == len(theirs)
    # A probability near the cutoff may cross it one inference earlier or later.
    assert all(abs(a - b) <= 1 for a, b in zip(ours, theirs, strict=True))
    assert ends_in_time(result)


def assert_as_shipped(result: Compared) -> None:
    """What must hold of firmware with the optimised arithmetic: all is as in pymicro-wakeword as it is."""
    theirs = result.oracles.theirs
    ran = [event for event in result.report.events if event.ran]
    assert len(ran) == len(theirs.codes) > 0
    assert [event.codes[0] for event in ran] == theirs.codes
    assert result.ours == theirs.probabilities
    assert result.ours_detected == theirs.detected
    assert ends_in_time(result)


def word_of(name: str) -> str:
    """A bundled model's wake word."""
    return str(json.loads(bundled()[name][1].read_text())["wake_word"])
