"""`tinygen build`: model file to C project, firmware, manifest and report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygen.builds.decisions import SettingEntry
from tinygen.builds.firmware_entry import FirmwareEntry, Region
from tinygen.builds.folder import Folder, Record, sha256_of
from tinygen.builds.kept_model import keep_model
from tinygen.builds.manifest import MANIFEST, AppEntry, BenchmarkEntry, Manifest, ModelEntry, NetworkEntry
from tinygen.builds.predicted import predicted_energy
from tinygen.builds.program import describe_program, describe_simplification
from tinygen.builds.report import render_report
from tinygen.builds.switches import describe_network, describe_switches
from tinygen.emit.benchmark import benchmark_of
from tinygen.emit.model import EmittedModel, emit_app_model, emit_model
from tinygen.emit.sharing import weight_bytes
from tinygen.errors import FitError
from tinygen.files import writing
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.network import Network
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Io
from tinygen.lowering.select import Family
from tinygen.lowering.streaming import Streaming
from tinygen.passes.dependence import death_notes
from tinygen.passes.litert_arithmetic import Arithmetic
from tinygen.passes.pipeline import simplify, simplify_network
from tinygen.project.application import Application
from tinygen.project.choices import Mode, WeightMemory
from tinygen.project.esp_idf import UNTESTED, build_for_host, host_folder, write_idf_project
from tinygen.project.firmware import write_firmware_project
from tinygen.project.governor import Basis, Setting, SwitchSetting, write_governor, write_threshold_governor
from tinygen.project.platformio import write_platformio_project
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.images import write_images
from tinygen.targets.toolchain import BuildResult, build_elf, find_toolchain
from tinygen.targets.toolchains.fit import check_weights
from tinygen.targets.vendor_library import library_functions
from tinygen.verbs.branch_costs import read_data_sets, with_costs
from tinygen.verbs.compiled import Compiled
from tinygen.verbs.flash_budget import within_flash
from tinygen.verbs.job import Job, build_id_of, isa_of, library_entry, read_source
from tinygen.verbs.on_host import run_once
from tinygen.verbs.options import BuildOptions, check_flash
from tinygen.verbs.profiled import with_profiles
from tinygen.version import VERSION

__all__ = ["BuildOptions", "BuildReport", "build", "isa_of", "read_source"]

Progress = Callable[[str, int, int], None]
_ARENA_ALIGNMENT = 16
"""Alignment of the arena's section in the linker script: at worst, a smaller arena saves this many bytes less."""
RECORD = Record(MANIFEST, "build")


@dataclass(frozen=True)
class BuildReport:
    """A finished build: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    def as_json(self) -> dict[str, Any]:
        """The content of manifest.json."""
        return self.manifest.to_json()


def build(
    model: Path | MemoryModel,
    out: Path,
    options: BuildOptions,
    *,
    profile: bool = True,
    force: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Builds a model for a board.

    Everything is made in a temporary folder and moved to `out` when it is complete.

    Args:
        model: the model file, or a model made in memory.
        out: the directory to write. Of an earlier build there, the files that its manifest lists are replaced, all
            others stay; reports of `tinygen hil` on another build go to hil-BUILD.
        options: board, toolchain, kernels.
        profile: run one inference in the emulated board, for the report.
        force: replace files of the earlier build that have been changed since, see `tinygen.builds.folder`.
        progress: called with (what, done, of).

    Raises:
        TinygenError: of the frontend, lowering, toolchain; or `out` holds something else, or cannot be written.
    """
    step = progress or (lambda what, done, total: None)
    target = Folder(out, RECORD, force=force)
    target.check()
    board = load_board(options.board)
    if options.app is not None:
        options.app.check(board)
    toolchain = find_toolchain(options.toolchain, load_board("host") if board.is_project_only else board)
    check_flash(board, options.flash_bytes)
    step("reading the model", 0, 4)
    source = read_source(model, options)
    data = read_data_sets(source, options.profile)
    job = _Job(model, source, simplify_network(source), options, board, toolchain)
    program = job.lowered(options.streaming)
    if options.flash_bytes is None and not board.is_host and not board.is_project_only:
        check_weights(board, weight_bytes(program))
    job = job.placed(program)
    if options.app is not None:
        options.app.check_model(program)
    step("writing C", 1, 4)
    with target.replaced() as temporary:
        step("compiling", 2, 4)
        compiled = job.fitted(program, temporary, step)
        notes = (*death_notes(source), *job.gated.notes)
        program, manifest = (
            compiled.program,
            replace(compiled.manifest, warnings=notes, gated_layers=job.gated.entries),
        )
        step("measuring", 3, 4)
        if profile and not board.is_host and not board.is_project_only:
            manifest = with_profiles(manifest, temporary, program, board)
            manifest = with_costs(manifest, temporary, program, data, emulate=True)
            write_governor(temporary, manifest.model, manifest.board_title, _settings(manifest))
        else:
            manifest = with_costs(manifest, temporary, program, data, emulate=False)
        _write_settings(temporary, manifest, board)
        (temporary / "report.html").write_text(render_report(manifest), encoding="utf-8")
        manifest = Manifest.from_json(target.write_record(temporary, manifest.to_json()))
    _move_reports(out, manifest.build_id)
    step("done", 4, 4)
    return BuildReport(out, manifest)


class _Job(Job):
    """One model for one board: what stays the same when it is lowered again, with a smaller arena."""

    @property
    def identity(self) -> Hashable:
        """Identity of everything that the firmware depends on, except the flash limit."""
        model = MemoryModel(self.source, self.source.name).read_bytes()
        options = replace(self.options, flash_bytes=None)
        return model, options, self.board, self.toolchain.name, self.toolchain.version

    def fitted(self, program: NetworkProgram, folder: Path, step: Progress) -> Compiled:
        """Compiles a firmware that fits: if RAM is too small, without the benchmark's input buffer, and with an arena
        that is smaller by what is then still missing.

        Raises:
            FitError: neither fits.
        """
        flash = self.options.flash_bytes

        def attempt(program: NetworkProgram, streaming: Streaming | None, has_db: bool) -> Compiled:
            if flash is not None:
                return within_flash(self, flash, streaming, folder, step, has_db=has_db)
            return self.compiled(program, folder, has_db=has_db)

        streaming = self.options.streaming
        try:
            return attempt(program, streaming, True)
        except FitError as error:
            missing = error.excess.get("RAM", 0)
            if not missing:
                raise
            missing -= benchmark_of(program)["db_bytes"]
            if missing > 0:
                streaming = Streaming(max(program.arena_bytes - missing - _ARENA_ALIGNMENT, 0))
                program = self.smaller(streaming, error)
        shutil.rmtree(folder)
        return attempt(program, streaming, False)

    def compiled(self, program: NetworkProgram, folder: Path, *, has_db: bool = True, alone: bool = True) -> Compiled:
        """Writes the project into `folder` and builds it.

        Args:
            has_db: include the buffer for the benchmark's inputs.
            alone: record in the manifest the sizes of all switches together, and of each as a firmware of its own.
        """
        emitted, model = _write_sources(self, program, folder, has_db)
        if self.board.is_project_only:
            return self._project(program, folder, model, emitted)
        options = self.options
        project = write_firmware_project(self.board, folder, stack_bytes=options.stack_bytes, mode=options.mode)
        result = build_elf(project, self.toolchain)
        firmware = replace(
            _firmware(self.board, result, options, project.stack_bytes),
            images=write_images(self.board, result.elf, folder),
            platformio=tuple(write_platformio_project(project)),
        )
        model = _with_cost_of_app(model, self.options.app, result)
        manifest = self._manifest(program, emitted, model, firmware, result, alone=alone)
        return Compiled(program, emitted, result, manifest)

    def _project(self, program: NetworkProgram, folder: Path, model: ModelEntry, emitted: EmittedModel) -> Compiled:
        """Writes an ESP-IDF project; the model and the application are compiled for this computer, and run once."""
        calls = self.library is not None and library_functions(program.programs)
        components = self.library.checkout.components if self.library and calls else None
        write_idf_project(self.board, folder, program.name, self.options.mode, components)
        with host_folder() as temporary:
            if self.library is not None:
                self.library.add_to(program.programs, Path(temporary))
            result = build_for_host(folder, self.toolchain, Path(temporary))
            outputs = run_once(result.elf, model.build_id)
            stack = self.board.stack_bytes if self.options.stack_bytes is None else self.options.stack_bytes
            known = _firmware(self.board, result, self.options, stack)
            firmware = replace(
                known,
                flash_bytes=None,
                ram_bytes=None,
                firmware=None,
                target_note=UNTESTED,
                memory=(),
                arena_memory={},
                host_outputs=outputs,
            )
            manifest = self._manifest(program, emitted, model, firmware, result)
            return Compiled(program, emitted, result, manifest)

    def _manifest(
        self,
        program: NetworkProgram,
        emitted: EmittedModel,
        model: ModelEntry,
        firmware: FirmwareEntry,
        result: BuildResult,
        *,
        alone: bool = True,
    ) -> Manifest:
        return Manifest.of(
            describe_program(program.first, emitted.switches[0]),
            model,
            firmware,
            describe_simplification(self.source.first, self.simplified.first),
            describe_switches(program, emitted, self.source, self.simplified, result),
            self.together(program, emitted) if alone else None,
        )

    def together(self, program: NetworkProgram, emitted: EmittedModel) -> NetworkEntry | None:
        """Sizes of all switches together, compared with a firmware for each."""
        if not program.is_switchable:
            return None
        # Lowered again from the source: a switch alone shares no codes.
        networks = [Network.of(simplify(switch.graph)) for switch in self.source]
        apart = [self.as_switch(network) for network in networks]
        return describe_network(program, emitted, self.source, apart)

    def smaller(self, wanted: Streaming, error: FitError) -> NetworkProgram:
        """The program within an arena of this size: with less scratch, or in stripes.

        Raises:
            FitError: the arena cannot be so small.
        """
        try:
            return self.lowered(wanted)
        except FitError as best:
            what = f"{error.what}; {best.what}"
            raise FitError(what, where=error.where, fix=error.fix, excess=error.excess) from best


def _move_reports(out: Path, build: str) -> None:
    """Keeps reports of `tinygen hil`, which may come from a real board: in `hil` if of this build, else in
    `hil-BUILD`.
    """
    for reports in (*out.glob("hil"), *sorted(out.glob("hil-*"))):
        try:
            of_build = str(json.loads((reports / "hil-report.json").read_text())["build_id"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        name = "hil" if of_build == build else f"hil-{of_build}"
        if of_build.isalnum() and not os.path.lexists(out / name):
            with writing(reports):
                reports.rename(out / name)


def _settings(manifest: Manifest) -> list[SwitchSetting]:
    """The cost of each switch; empty if the cost of any is unknown."""
    profiles = {entry.name: entry.profile for entry in manifest.switches}
    settings = [
        SwitchSetting(name, p.cycles_predicted, p.microjoules_predicted)
        for name, p in profiles.items()
        if p is not None
    ]
    return settings if len(settings) == len(profiles) else []


def _write_settings(folder: Path, manifest: Manifest, board: Board) -> None:
    """Writes the governor of a network with thresholds, if costs were measured over a data set; not on the host."""
    costs = manifest.costs
    if costs is None or board.is_host:
        return
    settings = [
        Setting(one.thresholds, one.expected.cycles, _microjoules(one, board), one.worst_cycles, one.accuracy)
        for one in costs.settings
    ]
    write_threshold_governor(folder, manifest.model, Basis(manifest.board_title, costs.source, costs.inputs), settings)


def _microjoules(setting: SettingEntry, board: Board) -> float | None:
    """Energy of a mean inference; None if the board's clock or current is unknown."""
    energy = predicted_energy(setting.expected.cycles / board.core_hz, board) if board.core_hz else None
    return None if energy is None else energy[0]


def _write_sources(job: _Job, program: NetworkProgram, folder: Path, has_db: bool) -> tuple[EmittedModel, ModelEntry]:
    """Writes the generated C, and a called library's; returns the manifest's entry of the model."""
    options, model = job.options, job.model
    emitted = emit_model(program, model.name, weights_in_ram=options.weights == WeightMemory.RAM)
    library = library_entry(job, program, folder)
    build_id = build_id_of(options, model, emitted, library)
    sources = folder / "model"
    sources.mkdir(parents=True)
    for name, text in emitted.identified(build_id).files.items():
        (sources / name).write_text(text, encoding="utf-8", newline="\n")
    benchmark = benchmark_of(program)
    app = None if options.app is None else AppEntry(**options.app.write(program, job.board, folder))
    binding = emit_app_model(program, model.name, build_id, has_db=has_db)
    (folder / "app_model.c").write_text(binding, encoding="utf-8", newline="\n")
    entry = ModelEntry(
        model=program.name,
        source=model.name,
        source_sha256=sha256_of(model.read_bytes()),
        build_id=build_id,
        version=VERSION,
        library=library,
        mode=Mode(options.mode),
        benchmark=BenchmarkEntry(benchmark["id"], benchmark["kind"], benchmark["db_bytes"] if has_db else 0),
        app=app,
        model_copy=keep_model(job.source, folder),
        arithmetic=Arithmetic(options.arithmetic),
        io=Io(options.io),
    )
    return emitted, entry


def _with_cost_of_app(model: ModelEntry, app: Application | None, result: BuildResult) -> ModelEntry:
    """The entry with the flash and RAM that the application adds to model and protocol."""
    if model.app is None or app is None:
        return model
    flash, ram = (sizes[app.size_group] for sizes in (result.sizes.flash_by_group, result.sizes.ram_by_group))
    return replace(model, app=replace(model.app, flash_bytes=flash, ram_bytes=ram))


def _firmware(board: Board, result: BuildResult, options: BuildOptions, stack_bytes: int) -> FirmwareEntry:
    return FirmwareEntry(
        board=board.name if board.path.parent.name == "boards" else str(board.path),
        board_title=board.title,
        toolchain=result.toolchain,
        compiler=result.toolchain_version,
        kernels=Family(options.kernels),
        flash_bytes=result.flash_bytes,
        flash_model_bytes=result.flash_model_bytes,
        ram_bytes=result.ram_bytes,
        stack_bytes=stack_bytes,
        clock_hz=board.clock.hclk_hz if board.clock else None,
        weights=WeightMemory(options.weights),
        arena_memory=dict(result.sizes.arena_by_memory),
        memory=_memory(board, result),
    )


def _memory(board: Board, result: BuildResult) -> tuple[Region, ...]:
    if board.is_host:
        return ()
    return (
        Region("flash", board.flash_bytes, dict(result.sizes.flash_by_group)),
        Region("RAM", board.ram_bytes, dict(result.sizes.ram_by_group)),
    )
