"""`tinygen demo classify`: compares compressed image classifiers on a board, and classifies pictures with them."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tinygen.apps.classify.choices import CHOICES, FLOAT, Settings, Store, Trained
from tinygen.apps.classify.images import Kind, Picture, need_pillow, read_picture
from tinygen.apps.classify.labels import read_labels
from tinygen.apps.classify.on_board import Arrays, Candidate, OnBoard, Place
from tinygen.apps.classify.page import render_classify
from tinygen.apps.classify.pareto import draw, need_matplotlib
from tinygen.apps.classify.pixels import PixelCodes, pixel_codes
from tinygen.apps.classify.result import Comparison, Seen, Verdict
from tinygen.apps.classify.tested import Row
from tinygen.builds.arrays import AS_IT_IS, Reading, samples_of
from tinygen.builds.compare import class_count
from tinygen.builds.folder import Folder, Record
from tinygen.errors import TinygenError
from tinygen.frontends.arrays import read_arrays
from tinygen.frontends.layouts import Rows
from tinygen.frontends.load import load_network
from tinygen.frontends.names import c_name
from tinygen.hil.device import require_runtime
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions

Progress = Callable[[str, int, int], None]
RECORD = Record("results.json", "comparison")
_DIGITS = (28, 28, 1)


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of a comparison.

    Attributes:
        board, toolchain, kernels: see `BuildOptions`. "compact" keeps low-bit weights as data: the smallest flash.
        choices: of `CHOICES`.
        settings: of the training.
        limit: number of test inputs run on the board; None for all, 0 for none.
        port: of a real board, which must already run the build; None for emulated boards.
        jobs: number of processes, for training and for emulated boards.
        retrain: whether to ignore the results of earlier runs.
        force: whether to replace files of an earlier run that have been changed.
        kind: conversion of pictures to inputs; None is DIGIT for inputs of 28x28x1, PHOTO for all others.
        pixels: real values of black and white; None derives them from the model's input.
        reading: layout of images in a test set, and handling of values beyond the input's range.
    """

    board: str = "f746zg"
    toolchain: str | None = None
    kernels: str = "compact"
    choices: Sequence[str] = tuple(CHOICES)
    settings: Settings = field(default_factory=Settings)
    limit: int | None = None
    port: str | None = None
    jobs: int = os.cpu_count() or 1
    retrain: bool = False
    force: bool = False
    kind: Kind | None = None
    pixels: tuple[float, float] | None = None
    reading: Reading = AS_IT_IS


@dataclass(frozen=True)
class Shown:
    """Inputs for a model.

    Attributes:
        images: image files.
        labels: names of the classes, one per line.
        inputs: .npz of a test set: `x`, as pixels (uint8), codes or real values, and `y`.
    """

    images: Sequence[Path] = ()
    labels: Path | None = None
    inputs: Path | None = None


def classify_digits(
    out: Path, options: ClassifyOptions, images: Sequence[Path] = (), *, progress: Progress | None = None
) -> Comparison:
    """Trains the choices on digits, builds each for the board, and runs the test digits and the pictures there.

    Args:
        out: networks/ (trained once for all boards) and a folder per board are written there.
        options: of the comparison.
        images: image files, classified by all choices.
        progress: called with (what, done, of).

    Raises:
        TinygenError: a package is missing, a file is not an image, or a build or device fails.
    """
    run = _Run(out, options, progress)
    if options.port is not None and len(options.choices) > 1:
        raise TinygenError(
            "a real board holds one firmware", where="--port", fix="Name one of the choices: --choices int8"
        )
    _need_packages(with_images=bool(images))
    pictures = [read_picture(path, _DIGITS, options.kind or Kind.DIGIT) for path in images]
    test, count = _test_digits(options.limit)
    trained = run.trained()
    rights = {name: one.right(count) for name, one in trained.items()}
    candidates = [Candidate(name, run.store.model_file(name), rights[name]) for name in options.choices]
    accuracy = rights[FLOAT][""] / count if FLOAT in rights else None
    return run.compared("Handwritten digits", candidates, test, pictures, float_accuracy=accuracy)


def classify_model(
    model: Path,
    out: Path,
    options: ClassifyOptions,
    shown: Shown,
    *,
    progress: Progress | None = None,
) -> Comparison:
    """As `classify_digits`, with an existing model: .tflite, .onnx or .tg; a switchable one has a row per switch.

    Raises:
        TinygenError: as `classify_digits`; also if the model is not an image classifier.
    """
    run = _Run(out, options, progress)
    if not shown.images and shown.inputs is None:
        raise TinygenError("nothing to classify", where=str(model), fix="Name images, or a test set by --inputs.")
    network = load_network(model)
    takes = pixel_codes(network.first, options.pixels)
    names = read_labels(shown.labels, class_count(network.first)) if shown.labels else ()
    kind = options.kind or (Kind.DIGIT if takes.shape == _DIGITS else Kind.PHOTO)
    if kind is Kind.DIGIT and takes.shape[2] != 1:
        raise TinygenError("takes colours: its images are no digits", where=str(model), fix="Leave --prepare out.")
    pictures = [read_picture(path, takes.shape, kind) for path in shown.images]
    test = None if shown.inputs is None else _test_arrays(shown.inputs, takes, class_count(network.first), options)
    if network.is_switchable:
        need_matplotlib()
    return run.compared(model.name, [Candidate(c_name(model.stem), model)], test, pictures, labels=names)


def _need_packages(*, with_images: bool) -> None:
    for package in ("torch", "mlxtend"):
        if importlib.util.find_spec(package) is None:
            raise TinygenError(f"{package} is not installed", fix="pip install 'tinygen[classify]'")
    need_matplotlib()
    if with_images:
        need_pillow()


def _test_digits(limit: int | None) -> tuple[Arrays | None, int]:
    """(first test digits as pixels and classes, their number); (None, number of all) if none are run."""
    from tinygen.apps.digits.lowbit import load_digits

    _, test = load_digits()
    pixels = np.rint(255 * test.images.transpose(0, 2, 3, 1)).astype(np.uint8)
    if limit == 0:
        return None, len(pixels)
    return {"x": pixels[:limit], "y": test.labels[:limit]}, len(pixels[:limit])


def _test_arrays(path: Path, takes: PixelCodes, classes: int, options: ClassifyOptions) -> Arrays | None:
    """A test set as codes; uint8 arrays are pixels, whatever the type of the model's input."""
    arrays = read_arrays(path)
    x, tensor, reading = arrays.get("x"), takes.tensor, options.reading
    if x is not None and x.dtype == np.uint8 and tensor.dtype != np.uint8:
        pixels = Rows("the model's images", tensor.shape).take(x, reading.layout, str(path))
        arrays["x"] = takes.codes(pixels)
        reading = replace(reading, layout=None)
    samples = samples_of(arrays, (tensor,), reading, classes=classes, where=str(path))
    found = {"x": samples.inputs[0][: options.limit]}
    if samples.labels is not None:
        found["y"] = samples.labels[: options.limit]
    return found if options.limit != 0 else None


class _Run:
    """One run of the demo.

    Raises:
        TinygenError: the board has no emulator, or the report's folder holds foreign files.
    """

    def __init__(self, out: Path, options: ClassifyOptions, progress: Progress | None) -> None:
        self.options = options
        self.progress: Progress = progress or (lambda what, done, total: None)
        self.board = load_board(options.board)
        if options.port is None:
            require_runtime(self.board)
        self.folder, self.networks = out / self.board.name, out / "networks"
        self.report = self.folder / "report"
        Folder(self.report, RECORD, force=options.force).check()
        self.seconds: dict[str, float] = {}
        self.store: Store

    def trained(self) -> dict[str, Trained]:
        """The choices and the float network by name: from an earlier run, or trained now and kept."""
        from tinygen.apps.classify import training

        self.store = Store(self.networks, self.options.settings, training.sources(), force=self.options.force)
        wanted = [FLOAT, *self.options.choices]
        kept = {} if self.options.retrain else {name: self.store.load(name) for name in wanted}
        found = {name: one for name, one in kept.items() if one is not None}
        missing = [name for name in wanted if name not in found]
        if not missing:
            return found
        for name in missing:
            self.store.check(name)
        options = self.options
        parts = training.train(missing, options.settings, options.jobs, self.progress)
        with _Timed(self.seconds, "training"), closing(parts):
            for one in parts:
                self.store.keep(one)
                found[one.name] = one
        return found

    def compared(
        self,
        title: str,
        candidates: Sequence[Candidate],
        test: Arrays | None,
        pictures: Sequence[Picture],
        *,
        float_accuracy: float | None = None,
        labels: tuple[str, ...] = (),
    ) -> Comparison:
        """Builds and runs each candidate, and writes the report."""
        options = self.options
        building = BuildOptions(board=options.board, toolchain=options.toolchain, kernels=options.kernels)
        place = Place(self.folder, building, options.port, options.jobs, options.pixels, options.retrain, options.force)
        rows: list[Row] = []
        verdicts: list[list[Verdict]] = [[] for _ in pictures]
        kept, builds = [], {}
        for candidate in candidates:
            one = OnBoard(candidate, place, test, self.progress)
            with _Timed(self.seconds, "building and testing"):
                rows += one.made()
            with _Timed(self.seconds, "pictures"):
                for all_of_picture, new in zip(verdicts, one.verdicts(pictures), strict=True):
                    all_of_picture += new
            builds[candidate.name] = one.folder
            kept += [candidate.name] if one.kept else []
        seen = tuple(Seen(picture, tuple(all_of)) for picture, all_of in zip(pictures, verdicts, strict=True))
        device = f"{self.board.name} at {options.port}" if options.port else f"{self.board.name}-emulated"
        result = Comparison(
            title,
            self.board,
            device,
            tuple(rows),
            float_accuracy,
            seen,
            labels,
            tuple(kept),
            self.report,
            builds,
            {what: round(seconds, 1) for what, seconds in self.seconds.items()},
        )
        write_report(result, force=options.force)
        return result


def write_report(result: Comparison, *, force: bool = False) -> None:
    """Writes results.json, report.html and, if there are rows to compare, pareto.png.

    An earlier report is replaced; with `force`, even if it was changed.

    Raises:
        TinygenError: the folder holds foreign files, or cannot be written.
    """
    title = f"{result.title} on {result.board.title}"
    drawn = draw(result.rows, title, result.float_accuracy) if result.has_picture else {}
    files = {
        "report.html": render_classify(result, drawn.get("svg", b"").decode()).encode(),
    }
    if drawn:
        files["pareto.png"] = drawn["png"]
    Folder(result.report, RECORD, force=force).write(result.as_json(), files)


class _Timed:
    """Adds the seconds of a block to an entry."""

    def __init__(self, seconds: dict[str, float], what: str) -> None:
        self.seconds, self.what = seconds, what

    def __enter__(self) -> None:
        self.begun = time.monotonic()

    def __exit__(self, *error: object) -> None:
        self.seconds[self.what] = self.seconds.get(self.what, 0.0) + time.monotonic() - self.begun
