"""`tinygen demo`: the bundled digit classifier, built and run on the emulated board."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.builds.manifest import Manifest
from tinygen.demo import MODEL, load_test_digits
from tinygen.hil.device import open_device, require_runtime
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, build

Progress = Callable[[str, int, int], None]
_SHADES = " .:-=+*#%@"
_SHOWN = 3


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo.

    Attributes:
        build: the manifest.
        pictures: the first digits as text.
        answers: (the board's answer, the label) for each picture.
        correct, digits: number of correct answers, and of digits run.
        instructions: median per inference; None if the device does not count instructions.
    """

    build: Manifest
    pictures: tuple[str, ...]
    answers: tuple[tuple[int, int], ...]
    correct: int
    digits: int
    instructions: int | None

    def sentence(self) -> str:
        """The result in one line."""
        count = f", {self.instructions:,} instructions each" if self.instructions else ""
        return (
            f"{self.build.board}: {self.correct} of {self.digits} test digits right "
            f"({100 * self.correct / self.digits:.1f} %){count}; flash {self.build.flash_bytes:,} B, "
            f"RAM {self.build.ram_bytes:,} B."
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "board": self.build.board,
            "digits": self.digits,
            "correct": self.correct,
            "accuracy": self.correct / self.digits,
            "instructions": self.instructions,
            "flash_bytes": self.build.flash_bytes,
            "ram_bytes": self.build.ram_bytes,
        }


def run_demo(
    board: str,
    out: Path,
    *,
    digits: int,
    toolchain: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DemoResult:
    """Builds the digit classifier into `out` and runs the first `digits` test digits.

    An earlier build in `out` is replaced, see `build`.

    Raises:
        TinygenError: the build or the device failed.
    """
    require_runtime(load_board(board))
    report = build(MODEL, out, BuildOptions(board=board, toolchain=toolchain), force=force, progress=progress)
    images, labels = load_test_digits()
    answers, counts = [], []
    with open_device(out, count=True) as device:
        for index in range(digits):
            measured = device.measure([images[index : index + 1]])
            answers.append(int(np.argmax(measured.outputs[0])))
            if measured.profile:
                counts.append(measured.profile.instructions)
            if progress:
                progress(device.name, index + 1, digits)
    right = sum(answer == int(label) for answer, label in zip(answers, labels, strict=False))
    return DemoResult(
        build=report.manifest,
        pictures=tuple(draw(images[i]) for i in range(min(_SHOWN, digits))),
        answers=tuple((answers[i], int(labels[i])) for i in range(min(_SHOWN, digits))),
        correct=right,
        digits=digits,
        instructions=round(statistics.median(counts)) if counts else None,
    )


def draw(image: np.ndarray) -> str:
    """A 28x28 digit as 14 lines of 24 characters (the border is empty)."""
    pixels = image.reshape(28, 28).astype(np.int64)[:, 2:-2] + 128
    rows = (pixels[0::2] + pixels[1::2]) // 2
    return "\n".join("".join(_SHADES[v * len(_SHADES) // 256] for v in row) for row in rows.tolist())
