"""PlatformIO's upload: its own copies of the tools, by the protocol that its definition of the board prefers."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from tinygen.errors import FlashError
from tinygen.targets.board import Board
from tinygen.targets.flashing.base import Flasher, Hint, Job, Step, say
from tinygen.targets.flashing.dfu import DFU_HINTS
from tinygen.targets.flashing.openocd import OPENOCD_HINTS
from tinygen.targets.flashing.runner import Echo

PROJECT = "platformio.ini"


class PlatformIoUpload(Flasher):
    """`pio run -t nobuild -t upload` on the firmware in the build directory: what was tested is flashed.

    A project for ESP-IDF has none: PlatformIO compiles it then.
    """

    name = "platformio"
    program = "pio"
    module = "platformio"
    boards = "all that PlatformIO knows"
    builds = True
    get = "pip install 'tinygen[platformio]'"
    hints = (
        # platformio/package/exception.py, platformio/http.py
        Hint(
            r"internet ?connection|HTTPClientError|could not find the package|UnknownPackageError|could not connect",
            "PlatformIO cannot fetch the packages that it uploads with",
            say("Connect to the internet for the first upload; they are kept then."),
        ),
        Hint(
            r"specify `?upload_port|could not (find|open) (the )?upload port",
            "PlatformIO does not find the board's port",
            say("Name it: `tinygen flash DIR --port PORT`."),
        ),
        *OPENOCD_HINTS,
        *DFU_HINTS,
    )

    def available(self, job: Job) -> bool:
        return (job.folder / PROJECT).is_file() and super().available(job)

    def can(self, board: Board) -> bool:
        """Whether the board file names PlatformIO's board."""
        return board.platformio is not None

    def steps(self, job: Job, start: tuple[str, ...]) -> list[Step]:
        if job.probe:
            raise FlashError(
                "PlatformIO's upload cannot be told which debug probe to use",
                where=self.name,
                fix="Leave --probe out, or use another method.",
            )
        port = ["--upload-port", job.port] if job.port else []
        words = ("run", "--project-dir", str(job.folder), "--environment", job.board.name, *port)
        # Without the second it empties the folder first (platformio/run/helpers.py, clean_build_dir).
        as_it_is = ("--target", "nobuild", "--disable-auto-clean") if job.compiled else ()
        return [Step("uploading", (*start, *words, *as_it_is, "--target", "upload"))]

    def _place(self, job: Job) -> Path:
        """The path at which PlatformIO expects the built program."""
        return job.folder / ".pio" / "build" / job.board.name

    def _files(self, job: Job) -> list[str]:
        return [job.elf, job.binary]

    def shown(self, job: Job) -> list[str]:
        if not job.compiled:
            return super().shown(job)
        place = str(self._place(job))
        copy = [["mkdir", "-p", place], ["cp", *self._files(job), place]]
        return [*map(shlex.join, copy), *super().shown(job)]

    def flash(self, job: Job, echo: Echo) -> None:
        """Puts the firmware where PlatformIO looks for it, and uploads.

        Raises:
            FlashError: the build has no platformio.ini, PlatformIO is missing, or it failed.
        """
        if not (job.folder / PROJECT).is_file():
            raise FlashError(f"there is no {PROJECT}", where=str(job.folder), fix="Use another method.")
        if self.find() is not None and job.compiled:
            place = self._place(job)
            place.mkdir(parents=True, exist_ok=True)
            for name in self._files(job):
                shutil.copyfile(name, place / Path(name).name)
        super().flash(job, echo)
