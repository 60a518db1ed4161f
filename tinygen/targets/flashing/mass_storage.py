"""The drive that a Nucleo's or Discovery's ST-LINK shows: a .bin copied there gets flashed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from tinygen.errors import FlashError
from tinygen.targets.flashing.base import HOLD_RESET, Flasher, Job, Step
from tinygen.targets.flashing.runner import Echo

MOUNTS = Path("/proc/self/mounts")
REPORT = "FAIL.TXT"
"""File that the probe writes when it could not flash, as in "The interface firmware FAILED to reset/halt the target
MCU".
"""
_REPORT_SECONDS = 2.0


class MassStorage(Flasher):
    """Copies firmware.bin; needs no program, but the drive must be mounted."""

    name = "mass-storage"
    program = "cp"
    boards = "boards whose debug probe shows a drive"
    get = "nothing to install; the drive must be mounted"
    is_tool = False
    report_seconds = _REPORT_SECONDS

    def find(self) -> tuple[str, ...] | None:
        return (self.program,)

    def available(self, job: Job) -> bool:
        return self._volume(job) is not None

    def _volume(self, job: Job) -> Path | None:
        if job.probe:
            return Path(job.probe)
        labels = _labels(job.board.flashing.volume)
        return next((path for path in mounted() if path.name in labels), None)

    def steps(self, job: Job, start: tuple[str, ...]) -> list[Step]:
        volume = self._volume(job) or Path(job.board.flashing.volume)
        return [Step("copying", (*start, job.binary, f"{volume}/"))]

    def flash(self, job: Job, echo: Echo) -> None:
        """Copies the image and reads the probe's report.

        Raises:
            FlashError: the drive is not mounted, full, or the probe refuses the image.
        """
        volume, label = self._volume(job), job.board.flashing.volume
        if volume is None or not volume.is_dir():
            raise FlashError(
                f"the drive {volume or label} is not mounted",
                where=f"{self.name} on {job.board.title}",
                fix=f"Plug the board in and mount it (udisksctl mount -b /dev/disk/by-label/{label}), "
                "or name the folder where it is mounted by --probe.",
            )
        before = _report(volume)
        echo(f"copying {job.binary} to {volume}\n")
        try:
            _copy(Path(job.binary), volume / Path(job.binary).name)
        except OSError as error:
            # A probe that does not reach the chip shows a drive of a few kilobytes, and FAIL.TXT on it: many threads on
            # community.st.com, "The interface firmware FAILED to reset/halt the target MCU".
            raise FlashError(
                f"the drive does not take the image ({error.strerror or error})",
                where=str(volume),
                fix=f"Look for {REPORT} on it. {HOLD_RESET(job)}",
            ) from error
        problem = self._wait_for_report(volume, before)
        if problem:
            raise FlashError(f"the debug probe says: {problem}", where=str(volume / REPORT), fix=HOLD_RESET(job))

    def _wait_for_report(self, volume: Path, before: str) -> str:
        """The probe's error report after the copy; "" if there is none."""
        deadline = time.monotonic() + self.report_seconds
        while time.monotonic() < deadline:
            if (text := _report(volume)) != before:
                return text
            time.sleep(0.05)
        return ""


def _copy(source: Path, target: Path) -> None:
    """Copies, and waits until everything is written: the drive flashes during the write."""
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())


def _report(volume: Path) -> str:
    try:
        return (volume / REPORT).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # no file, or the probe has removed the drive to mount it again
        return ""


def _labels(volume: str) -> tuple[str, ...]:
    """ST-LINK's drives are called NOD_ or NODE_ and the board, by the version of the probe's firmware."""
    start, _, board = volume.partition("_")
    return (f"NODE_{board}", f"NOD_{board}") if start in ("NODE", "NOD") else (volume,)


def mounted() -> list[Path]:
    """Mount points: all on Linux, removable ones on macOS, none on other systems."""
    if sys.platform == "darwin":
        return sorted(Path("/Volumes").glob("*"))
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    # proc(5), fstab(5): the second field; blanks and backslashes in it are octal.
    names = [line.split(" ")[1] for line in lines if line.count(" ") > 1]
    return [Path(name.replace(r"\040", " ").replace(r"\134", "\\")) for name in names]
