"""The Python interface: what the commands of the same names do.

    import tinygen

    built = tinygen.build("kws.tflite", "kws", board="f746zg")
    print(built.manifest.flash_bytes)
    answers = tinygen.run("kws", samples).outputs[0]

`build`, `run`, `verify` and `inspect` are attributes of `tinygen`, too; `survey`, `hil`, `bench` and `export` are here
alone: `tinygen.hil` and `tinygen.bench` are the packages that do the work, `tinygen.export` reads PyTorch modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygen.builds.arrays import Inputs, Reading
from tinygen.builds.oracle_names import Oracle
from tinygen.frontends.layouts import Layout
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network

if TYPE_CHECKING:  # each function imports what it needs when it runs
    from tinygen.bench.run import BenchOptions, BenchReport
    from tinygen.hil.output import HilReport
    from tinygen.hil.power import PowerMonitor
    from tinygen.verbs.build import BuildOptions, BuildReport
    from tinygen.verbs.export import ExportReport
    from tinygen.verbs.hil import HilOptions
    from tinygen.verbs.options import GatesOn
    from tinygen.verbs.run import RunResult
    from tinygen.verbs.survey import Survey
    from tinygen.verbs.verify import VerifyReport

__all__ = ["bench", "build", "export", "hil", "inspect", "run", "survey", "verify"]

Progress = Callable[[str, int, int], None]
Model: TypeAlias = str | Path | MemoryModel | Graph | Network
"""A model file, or what `tinygen.export` and `tinygen.export_switches` give."""
Arrays: TypeAlias = str | Path | np.ndarray | Mapping[str, np.ndarray]
"""A .npy or .npz file, the array of a model's only input, or arrays by name: inputs, labels `y`; a sample per row."""


def build(
    model: Model,
    out: Path | str,
    options: BuildOptions | None = None,
    *,
    board: str | None = None,
    flash: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Turns a model into a C project and firmware for a board.

    Args:
        model: a file, or a graph.
        out: the directory to write; of an earlier build there, only files that its manifest lists are replaced.
        options: compiler, kernels, memory and all else.
        board: instead of the options'; see `tinygen boards`.
        flash: instead of the options': bytes of the largest firmware.
        force: replace files of an earlier build that have been changed since.
        progress: called with (what, done, of).

    Returns:
        The folder, and the manifest with all figures.

    Raises:
        TinygenError: the model is damaged or not supported, does not fit the board, or `out` holds something else.
    """
    from tinygen.verbs.build import build as make

    return make(_model(model), Path(out), _options(options, board, flash), force=force, progress=progress)


def export(
    model: Model,
    out: Path | str,
    form: str,
    options: BuildOptions | None = None,
    *,
    board: str | None = None,
    proof: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a model as a library for a project of yours: no firmware, no test protocol.

    Args:
        model: a file, or a graph.
        out: the directory to write; of an earlier export there, only files that its record lists are replaced.
        form: what `tinygen export --as` takes: "c", "cmake", ...
        options: kernels, memory and all else that a library can have.
        board: instead of the options'.
        proof: comments for Frama-C's Eva in the C, and what runs it; of the form "c".
        force: replace files of an earlier export that have been changed since.
        progress: called with (what, done, of).

    Returns:
        The folder, and what its record says (`as_json`).

    Raises:
        TinygenError: see `build`; or the form is not for the board.
    """
    from tinygen.verbs.export import export as write

    return write(_model(model), Path(out), form, _options(options, board), proof=proof, force=force, progress=progress)


def run(
    folder: Path | str,
    inputs: Arrays,
    *,
    layout: Layout | str | None = None,
    clip: bool = False,
    switch: str | None = None,
    thresholds: Mapping[str, int] = MappingProxyType({}),
    port: str | None = None,
    outputs: Path | str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Runs one inference per row on the emulated board, or on a real one.

    Args:
        folder: of a build.
        inputs: samples.
        layout: "nchw" where images lie channels first; "nhwc", or None, as the model takes them.
        clip: take the ends of an input's range for real values beyond it, however far.
        switch: of a switchable network; None takes the first.
        thresholds: codes of gates' thresholds, by name; the others have their defaults.
        port: of a real board: "auto", or its serial port.
        outputs: a new file for the outputs, .npy or .npz.
        force: replace that file.
        progress: called with (what, done, of).

    Returns:
        Outputs (`outputs`, an array per output), instructions and cycles of each inference and layer.

    Raises:
        TinygenError: the inputs do not fit, the device is missing, or the firmware fails.
    """
    from tinygen.verbs.run import RunOptions
    from tinygen.verbs.run import run as infer

    return infer(
        Path(folder),
        _inputs(inputs),
        RunOptions(
            reading=_reading(layout, clip),
            switch=switch,
            port=port,
            outputs=None if outputs is None else Path(outputs),
            force=force,
            thresholds=thresholds,
        ),
        progress=progress,
    )


def verify(
    model: Model,
    inputs: Arrays,
    options: BuildOptions | None = None,
    *,
    board: str | None = None,
    layout: Layout | str | None = None,
    clip: bool = False,
    oracles: Sequence[Oracle] = (),
    limit: int | None = None,
    switch: str | None = None,
    thresholds: Mapping[str, int] = MappingProxyType({}),
    progress: Progress | None = None,
) -> VerifyReport:
    """Compares LiteRT, the integer semantics, C on this computer and the board, bit for bit.

    Args:
        model: a file, or a graph; LiteRT is asked about .tflite files.
        inputs: samples, and labels `y` for the accuracy.
        options, board, progress: see `build`.
        layout, clip, thresholds: see `run`.
        oracles: LiteRT's kernels to compare with; none given: those of the options' arithmetic.
        limit: use only the first samples.
        switch: of a switchable network; None takes all.

    Returns:
        What differs and where (`identical`, `comparisons`), and the accuracy of each runtime; for a .pt2 file also what
        quantization cost (`quantization`), as `tinygen.compare` says it.

    Raises:
        TinygenError: see `build` and `run`.
    """
    from tinygen.verbs.verify import VerifyOptions
    from tinygen.verbs.verify import verify as compare

    return compare(
        _model(model),
        _inputs(inputs),
        _options(options, board),
        VerifyOptions(_reading(layout, clip), oracles, limit, switch, thresholds),
        progress=progress,
    )


def inspect(
    model: Path | str,
    *,
    calibration: Path | str | None = None,
    layout: Layout | str | None = None,
    inputs: Arrays | None = None,
    on: GatesOn | None = None,
    trust_pickle: bool = False,
    in_float: bool = False,
) -> dict[str, Any]:
    """A model's tensors and operators, as `tinygen inspect --json` prints them.

    Args:
        model: a file.
        calibration: inputs for a float .pt2 or .onnx file.
        layout: how images lie in them; None: as the model takes them, "nchw".
        inputs: count over these which channels gates choose.
        on: a board; says how gated layers are computed there.
        trust_pickle: read a .pt2 file that may run code when it is read.
        in_float: read a hybrid .tflite model as float32.

    Raises:
        TinygenError: the file is damaged, or uses what tinygen does not have.
    """
    from tinygen.frontends.load import load_network
    from tinygen.verbs.inspect import inspect_model

    read = partial(
        load_network,
        calibration=None if calibration is None else Path(calibration),
        layout=_reading(layout, False).layout,
        trust_pickle=trust_pickle,
        in_float=in_float,
    )
    return inspect_model(Path(model), None if inputs is None else _inputs(inputs), on, read)


def survey(
    paths: Sequence[Path | str],
    *,
    board: str | None = None,
    kernels: str = "tinygen",
    trust_pickle: bool = False,
    in_float: bool = False,
    progress: Progress | None = None,
) -> Survey:
    """Which of several models can be read, and what stops the others, as `tinygen inspect FOLDER` shows.

    Args:
        paths: files, or folders of models.
        board: its name or file; then kernels are chosen and memory is planned, too.
        kernels: the family of kernels for it.
        trust_pickle: read .pt2 files that may run code when they are read.
        in_float: read hybrid .tflite models as float32.
        progress: called with (what, done, of).

    Raises:
        TinygenError: a path does not exist, or a folder has no models.
    """
    from tinygen.verbs.survey import model_files
    from tinygen.verbs.survey import survey as look

    return look(model_files(map(Path, paths)), board, kernels, trust_pickle, in_float, progress)


def hil(
    folder: Path | str,
    inputs: Arrays | None = None,
    options: HilOptions | None = None,
    *,
    layout: Layout | str | None = None,
    clip: bool = False,
    port: str | None = None,
    monitor: PowerMonitor | None = None,
    progress: Progress | None = None,
) -> HilReport:
    """Proves a build on its board: outputs, accuracy, latency and energy against the model.

    Args:
        folder: of a build.
        inputs: samples, and labels `y`; None draws random ones.
        options: limits, number of inputs and all else.
        layout, clip: see `run`.
        monitor: an instrument that measures energy on a real board, see `tinygen.verbs.hil.open_instrument`.
        port: "emulated" (default), "qemu", "auto", or a serial port; instead of the options'.
        progress: called with (what, done, of).

    Returns:
        Whether all checks passed (`passed`), and the whole report (`content`, `write`).

    Raises:
        TinygenError: the folder or the inputs are at fault, or there is no device.
    """
    from tinygen.verbs.hil import HilOptions
    from tinygen.verbs.hil import hil as prove

    chosen = options or HilOptions()
    if inputs is not None:
        chosen = replace(chosen, inputs=_inputs(inputs))
    if layout is not None or clip:
        chosen = replace(chosen, reading=_reading(layout, clip))
    if port is not None:
        chosen = replace(chosen, port=port)
    return prove(Path(folder), chosen, monitor=monitor, progress=progress)


def bench(
    models: Sequence[Path | str] = (),
    suites: Sequence[str] = (),
    options: BenchOptions | None = None,
    *,
    board: str | None = None,
    progress: Progress | None = None,
) -> BenchReport:
    """Measures models and suites with several kernel families and compilers, in the emulated board.

    Args:
        models: files.
        suites: names (`tinygen bench --list` has them), or Python files that register suites.
        options: what to compare.
        board: instead of the options'.
        progress: called with (what, done, of).

    Raises:
        TinygenError: nothing to measure, or an unknown name; what goes wrong with one case stands in its row.
    """
    from tinygen.bench.run import BenchOptions
    from tinygen.bench.run import bench as measure

    chosen = options or BenchOptions()
    chosen = chosen if board is None else replace(chosen, board=board)
    return measure([Path(model) for model in models], suites, chosen, progress=progress)


def _model(model: Model) -> Path | MemoryModel:
    if isinstance(model, Graph | Network):
        return MemoryModel(model, model.name)
    return Path(model) if isinstance(model, str) else model


def _options(options: BuildOptions | None, board: str | None, flash: int | None = None) -> BuildOptions:
    from tinygen.verbs.build import BuildOptions

    chosen = options or BuildOptions()
    chosen = chosen if board is None else replace(chosen, board=board)
    return chosen if flash is None else replace(chosen, flash_bytes=flash)


def _inputs(inputs: Arrays) -> Inputs:
    return Path(inputs) if isinstance(inputs, str) else inputs


def _reading(layout: Layout | str | None, clip: bool) -> Reading:
    return Reading(None if layout is None else Layout.named(layout), clip)
