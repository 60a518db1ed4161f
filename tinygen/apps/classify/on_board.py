"""Builds a classifier and runs a test set and pictures on its board; results of an unchanged build are reused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.apps.classify.answers import answer_of
from tinygen.apps.classify.images import Picture
from tinygen.apps.classify.pixels import pixel_codes
from tinygen.apps.classify.result import Verdict
from tinygen.apps.classify.tested import Row, run_test_set
from tinygen.builds.folder import Folder, Record
from tinygen.builds.kept_model import read_kept_model
from tinygen.builds.manifest import read_manifest
from tinygen.errors import DeviceError, TinygenError, WrongBuildError
from tinygen.files import temporary_folder
from tinygen.hil.device import open_device
from tinygen.hil.ports import EMULATED
from tinygen.hil.semantics import semantics_of
from tinygen.hil.session import same
from tinygen.paths import code_digest
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.hil import HilOptions

Progress = Callable[[str, int, int], None]
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Candidate:
    """A network to build: its name, its file, and the number of correct answers in PyTorch by switch."""

    name: str
    model: Path
    right: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Settings for building and running candidates.

    Attributes:
        folder: for all builds.
        options: of the build.
        port: of a real board; None for emulated ones, `jobs` at a time.
        pixels: see `pixel_codes`.
        anew: whether to ignore the results of earlier runs.
        force: whether to replace files of an earlier run that have been changed.
    """

    folder: Path
    options: BuildOptions
    port: str | None = None
    jobs: int = 1
    pixels: tuple[float, float] | None = None
    anew: bool = False
    force: bool = False

    @property
    def board(self) -> Board:
        return load_board(self.options.board)


class OnBoard:
    """A candidate on its board.

    Args:
        candidate: to build.
        place: settings.
        test: `x`, as pixels (uint8) or codes, and labels `y`; None without a test set.
        progress: called with (what, done, of).
    """

    def __init__(self, candidate: Candidate, place: Place, test: Arrays | None, progress: Progress) -> None:
        self.candidate, self.place, self.test = candidate, place, test
        self.folder = place.folder / candidate.name
        self.progress: Progress = lambda what, done, total: progress(f"{candidate.name}: {what}", done, total)
        self.kept = False

    def made(self) -> list[Row]:
        """Builds the candidate and runs the test set; results of an earlier run are reused if nothing has changed.

        Raises:
            TinygenError: of the build, or of the device.
        """
        record = self._record()
        if record is None:
            self._record_place.check_free([self._record_file.name])
            build(self.candidate.model, self.folder, self.place.options, force=self.place.force, progress=self.progress)
            self._keep(None)
        self._check_port()
        if self.test is None:
            rows: list[Row] = []
        elif record is not None and record["test"] == self._test_key():
            self.kept = True
            rows = [Row.from_json(row) for row in record["rows"]]
        else:
            rows = self._tested(self.test)
            if self.place.port is None:
                self._keep(rows)
        return rows

    def _check_port(self) -> None:
        """Checks that a real board runs the build that was just made.

        Raises:
            DeviceError: the board does not; the error says how to flash it.
        """
        port = self.place.port
        if port is None:
            return
        fix = f"Put it there: tinygen flash {self.folder} --port {port}. Then run the same command again."
        try:
            with open_device(self.folder, port=port):
                pass
        except WrongBuildError as error:
            raise WrongBuildError(error.what, where=error.where, fix=fix) from error
        except DeviceError as error:
            raise DeviceError(error.what, where=error.where or port, fix=f"{error.fix} {fix}".strip()) from error

    def _tested(self, test: Arrays) -> list[Row]:
        with temporary_folder() as temporary:
            path = temporary / "test.npz"
            arrays: dict[str, Any] = self._as_codes(test)
            np.savez(path, **arrays)
            return run_test_set(
                self.candidate.name,
                self.folder,
                HilOptions(port=self.place.port or EMULATED, inputs=path, jobs=self.place.jobs),
                right_torch=self.candidate.right,
                progress=self.progress,
            )

    def _as_codes(self, test: Arrays) -> dict[str, Any]:
        graph = read_kept_model(self.folder, read_manifest(self.folder)).first
        takes = pixel_codes(graph, self.place.pixels) if test["x"].dtype == np.uint8 else None
        return {**test, "x": test["x"] if takes is None else takes.codes(test["x"])}

    def verdicts(self, pictures: Sequence[Picture]) -> list[list[Verdict]]:
        """The board's answers for each picture, by each switch.

        Raises:
            TinygenError: of the device.
        """
        if not pictures:
            return []
        manifest = read_manifest(self.folder)
        network = read_kept_model(self.folder, manifest)
        takes = pixel_codes(network.first, self.place.pixels)
        switches: list[str | None] = [*manifest.switch_names] or [None]
        found: list[list[Verdict]] = [[] for _ in pictures]
        with open_device(self.folder, port=self.place.port or EMULATED, count=self.place.port is None) as device:
            for number, switch in enumerate(switches):
                semantics = semantics_of(self.folder, switch)
                device.select(number)
                for index, picture in enumerate(pictures):
                    sample = [takes.codes(picture.pixels)[None]]
                    outputs = device.infer(sample)
                    answer = answer_of(outputs[0], semantics.graph)
                    matches = same(outputs, semantics.outputs(sample))
                    found[index].append(Verdict(self.candidate.name, switch or "", answer, matches))
                    done = number * len(pictures) + index + 1
                    self.progress("pictures", done, len(switches) * len(pictures))
        return found

    @property
    def _record_file(self) -> Path:
        return self.place.folder / f"{self.candidate.name}.json"

    @property
    def _record_place(self) -> Folder:
        record = Record(self._record_file.name, "tested classifier", shares=True)
        return Folder(self.place.folder, record, force=self.place.force)

    def _record(self) -> dict[str, Any] | None:
        """The record of an earlier run; None if a new build would differ from its build."""
        if self.place.anew:
            return None
        try:
            record = json.loads(self._record_file.read_text())
            built = record["build"] == self._build_key() and (self.folder / "firmware.elf").is_file()
            if not built or record["build_id"] != read_manifest(self.folder).build_id:
                return None
            if self.place.port is not None or record["correct_torch"] != dict(self.candidate.right):
                record["test"] = ""  # results of an emulated board are not valid for a real one
            for row in record["rows"]:
                Row.from_json(row)
            return dict(record)
        except (OSError, ValueError, KeyError, TypeError, TinygenError):
            return None

    def _keep(self, rows: Sequence[Row] | None) -> None:
        """Writes the record; `rows` is None before any test."""
        record = {
            "build": self._build_key(),
            "build_id": read_manifest(self.folder).build_id,
            "test": "" if rows is None else self._test_key(),
            "correct_torch": dict(self.candidate.right),
            "rows": [row.as_json() for row in rows or ()],
        }
        self._record_place.write(record, {})

    def _build_key(self) -> str:
        """A digest of everything that a build and its predictions depend on."""
        digest = hashlib.sha256(code_digest().encode())
        digest.update(self.candidate.model.read_bytes())
        digest.update(self.place.board.path.read_bytes())
        digest.update(json.dumps(asdict(self.place.options), sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def _test_key(self) -> str:
        """A digest of the test set."""
        digest = hashlib.sha256(json.dumps(self.place.pixels).encode())
        for name, array in sorted((self.test or {}).items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
