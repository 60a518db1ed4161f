"""One case with one kernel family and one compiler: built, run in the emulated board, and checked."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.bench.bare import measure_bare
from tinygen.bench.boards import NOT_EMULATED
from tinygen.bench.case import Case
from tinygen.bench.generation import measure_generation
from tinygen.builds.compare import differing
from tinygen.builds.library import library_semantics
from tinygen.builds.manifest import Manifest, ProgramEntry, SwitchEntry
from tinygen.builds.predicted import time_and_energy
from tinygen.errors import TinygenError
from tinygen.files import temporary_folder
from tinygen.frontends.load import load_network
from tinygen.hil.device import Device, Measured, open_device
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.targets.bare_cores import BARE, board_or_core
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import Profile
from tinygen.targets.vendors import VENDORS
from tinygen.verbs.build import BuildOptions, build

Row = dict[str, Any]

FOREIGN = frozenset(VENDORS)
"""Families that call a vendor's library."""

FIGURES = (
    "instructions",
    "cycles_predicted",
    "flash_bytes",
    "flash_without_weights_bytes",
    "ram_bytes",
    "arena_bytes",
)
"""Columns that are compared with the baseline's."""


@dataclass(frozen=True)
class Job:
    """What to measure; `cmsis_nn` and `esp_nn` are the libraries' folders, see `BuildOptions`."""

    case: Case
    kernels: str
    toolchain: str
    board: str
    cmsis_nn: Path | None = None
    esp_nn: Path | None = None


def measure(job: Job) -> Row:
    """The row of a job; when something is wrong with it, its figures are None and `error` says what.

    Instructions, cycles and layers are those of the last sample: a random walk, of a trained network a test input. To a
    model that keeps something from one inference to the next, the samples are a stream.
    `max_abs_diff` is how far outputs are from the integer semantics: 0, but for a vendor's library that rounds in its
    own, documented way.
    """
    row = empty_row(job)
    try:
        board = board_or_core(job.board)
        if not job.case.runs:
            return row | measure_generation(job.case, job.kernels, board)
        if board.emulator.engine == NOT_EMULATED:
            return row
        if board.emulator.engine == BARE:
            return row | measure_bare(job.case, job.kernels, job.toolchain, board)
        with temporary_folder() as folder:
            return _measure(job, row, folder / "build")
    except TinygenError as error:
        return row | {"error": str(error).replace("\n", " ")}
    except Exception as error:  # one kernel's defect must not cost the rows of all others
        return row | {"error": f"internal error: {type(error).__name__}: {error}", "traceback": traceback.format_exc()}


def empty_row(job: Job) -> Row:
    """A row without figures."""
    case = job.case
    return {
        "suite": case.suite,
        "case": case.name,
        "shape": case.shape,
        "encoding": case.encoding,
        "kernels": job.kernels,
        "toolchain": job.toolchain,
        "board": job.board,
        "instructions": None,
        "cycles_predicted": None,
        "macs": case.macs,
        "flash_bytes": None,
        "ram_bytes": None,
        "flash_without_weights_bytes": None,
        "flash_model_code_bytes": None,
        "arena_bytes": None,
        "stack_used_bytes": None,
        "samples": 0,
        "max_abs_diff": None,
        "error": None,
        "layers": [],
        **case.trained_figures,
        **case.figures,
    }


def _measure(job: Job, row: Row, folder: Path) -> Row:
    case = job.case
    options = BuildOptions(
        board=job.board,
        toolchain=job.toolchain,
        kernels=job.kernels,
        cmsis_nn=job.cmsis_nn,
        esp_nn=job.esp_nn,
        flash_bytes=case.flash_bytes,
        gates=case.gates,
    )
    manifest = build(case.model, folder, options, profile=False).manifest
    network = load_network(case.model)
    row = row | _sizes(manifest) | {"max_abs_diff": 0}
    with open_device(folder, engine="unicorn", count=True) as device:
        if network.is_switchable and case.switch is None:
            runs = [_of_switch(job, device, manifest, switch.graph, switch.name) for switch in network]
            row = row | _together(runs)
            row["switch_cycles"] = {
                one.name: run.get("cycles_predicted") for one, run in zip(network, runs, strict=True)
            }
        else:
            graph = network.first if case.switch is None else network.switch(case.switch).graph
            row = row | _of_switch(job, device, manifest, graph, case.switch)
        if row["error"]:
            return empty_row(job) | {"max_abs_diff": row["max_abs_diff"], "error": row["error"]}
        stack = device.stack_used
    predicted = time_and_energy(row["cycles_predicted"], load_board(job.board))
    return row | {"stack_used_bytes": stack} | predicted


def _of_switch(job: Job, device: Device, manifest: Manifest, graph: Graph, switch: str | None) -> Row:
    """What running the samples shows; `error` where an output is wrong.

    Args:
        switch: None of a network that cannot be switched.
    """
    part = manifest.section(switch)
    library, stream = library_semantics(graph, part), Stream(graph)
    samples = job.case.samples(graph)
    row: Row = {"samples": len(samples), "max_abs_diff": 0} | _switch_bytes(manifest, part)
    outputs, cycles = [], []
    device.select(switch or 0)
    for sample in samples:
        measured = device.measure(sample, keep=True)
        outputs.append(measured.outputs)
        cycles.append(measured.profile.cycles if measured.profile else 0)
        semantics = stream.step(sample)
        row["max_abs_diff"] = max(row["max_abs_diff"], _largest_difference(semantics, measured.outputs))
        problem = _wrong(library.step(sample) if library else semantics, measured)
        if problem:
            return row | {"error": problem}
    assert measured.profile is not None
    board = {"board_right": job.case.trained.right(outputs)} if job.case.trained else {}
    each = {"sample_cycles": cycles} if job.case.each else {}
    return row | _work(part, measured.profile) | board | each


def _together(runs: Sequence[Row]) -> Row:
    """Of all switches of a network: sums, the largest difference, and the first error."""
    error = next((run["error"] for run in runs if run.get("error")), None)
    largest = max(run["max_abs_diff"] for run in runs)
    if error:
        return {"error": error, "max_abs_diff": largest}
    sums = {key: sum(run[key] for run in runs) for key in ("samples", "instructions", "cycles_predicted")}
    return sums | {"max_abs_diff": largest}


def _sizes(manifest: Manifest) -> Row:
    flash = next(region for region in manifest.memory if region.name == "flash")
    return {
        "flash_bytes": manifest.flash_bytes,
        "flash_without_weights_bytes": (manifest.flash_bytes or 0) - flash.parts.get("model weights", 0),
        "flash_model_code_bytes": flash.parts.get("model code", 0),
        "ram_bytes": manifest.ram_bytes,
        "arena_bytes": manifest.arena_bytes,
    }


def _switch_bytes(manifest: Manifest, part: ProgramEntry) -> Row:
    """Of a switch: what of the flash it has for itself and what others use too, and all switches' constants."""
    together = manifest.network
    if together is None or not isinstance(part, SwitchEntry):
        return {}
    return {
        "switch": {
            "constant_bytes": asdict(part.constant_bytes),
            "code_bytes": asdict(part.code_bytes),
            "constant_bytes_together": together.constant_bytes,
            "constant_bytes_apart": together.constant_bytes_apart[part.name],
            "float_bytes": together.float_bytes,
        }
    }


def _work(part: ProgramEntry, profile: Profile) -> Row:
    """
    Args:
        part: of the manifest, about the graph that was run.
    """
    counts = zip(part.layers, profile.layers, profile.layer_cycles, strict=True)
    return {
        "instructions": profile.instructions,
        "cycles_predicted": profile.cycles,
        "layers": [
            {key: getattr(layer, key) for key in ("name", "op", "kernel", "macs", "weight_bytes", "scratch_bytes")}
            | {"instructions": instructions, "cycles_predicted": cycles}
            for layer, instructions, cycles in counts
        ],
    }


def _largest_difference(wanted: list[np.ndarray], got: list[np.ndarray]) -> float | int:
    pairs = zip(wanted, got, strict=True)
    largest = float(max(np.abs(a.astype(np.float64) - b.reshape(a.shape)).max(initial=0.0) for a, b in pairs))
    return int(largest) if largest == int(largest) else largest


def _wrong(wanted: list[np.ndarray], measured: Measured) -> str:
    """What is wrong with the outputs, "" for nothing."""
    for index, (a, b) in enumerate(zip(wanted, measured.outputs, strict=True)):
        b = b.reshape(a.shape)
        place = differing(a, b)
        if place is not None:
            return (
                f"output {index} is wrong: {int(np.count_nonzero(a != b))} of {a.size} codes differ, the first at "
                f"{list(place)}: {b[place]} instead of {a[place]}"
            )
    return ""
