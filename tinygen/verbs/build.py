"""`tinygen build`: model file to C project, firmware, manifest and report."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hil.client import DeviceClient
from hil.transports import ProcessTransport
from tinygen.emit.benchmark import benchmark_of
from tinygen.emit.model import EmittedModel, emit_app_model, emit_model
from tinygen.emit.wakeword import WakewordApp, WakewordPlan, check_microphone, emit_wakeword, plan_wakeword
from tinygen.errors import DeviceError, FitError, TinygenError
from tinygen.frontends.load import load_network
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.network import Network
from tinygen.lowering.code_budget import CODE_BYTES
from tinygen.lowering.network import NetworkProgram, lower_network
from tinygen.lowering.select import CMSIS_NN, FAMILIES
from tinygen.lowering.streaming import Streaming
from tinygen.passes.litert_arithmetic import Arithmetic, optimized_arithmetic
from tinygen.passes.pipeline import simplify, simplify_network
from tinygen.targets.board import Board, load_board
from tinygen.targets.cmsis_nn import CmsisNn, find_checkout
from tinygen.targets.firmware_project import write_firmware_project
from tinygen.targets.idf_project import UNTESTED, build_for_host, host_folder, write_idf_project
from tinygen.targets.images import write_images
from tinygen.targets.platformio_project import write_platformio_project
from tinygen.targets.toolchain import BuildResult, build_elf, find_toolchain
from tinygen.targets.toolchains.base import Toolchain
from tinygen.targets.uart_rates import uart_rates
from tinygen.verbs.governor import write_governor
from tinygen.verbs.manifest import MANIFEST, describe_program, describe_simplification, keep_model
from tinygen.verbs.profiled import add_profiles
from tinygen.verbs.report import render_report
from tinygen.verbs.switches import describe_network, describe_switches
from tinygen.version import VERSION

Progress = Callable[[str, int, int], None]
_ARENA_ALIGNMENT = 16
"""Of the arena's section in the linker script: a smaller arena saves so many bytes less, at worst."""
WEIGHTS = ("flash", "ram")
MODES = ("performance", "energy")


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    Attributes:
        board: name or YAML file.
        toolchain: "zig", "gcc", or None for what the board prefers.
        kernels: kernel family, see `FAMILIES`.
        name: C name of the model; None takes the file's name.
        stack_bytes: None takes the board's.
        cmsis_nn: folder of CMSIS-NN, for the family of that name; None takes the one CMSIS_NN_PATH names.
        stream: compute the first layers in stripes of rows, for the smallest arena.
        arena_bytes: the largest arena allowed; stripes are used where that needs them. None: what the board holds.
        weights: "flash", or "ram": copied there at start-up, where reading them is faster.
        calibration: inputs to quantize a float PyTorch model with, see `load_model`.
        mode: how the firmware begins: "performance", or "energy": 9600 baud, and measurements marked by the timestamp
            pin.
        app: what the firmware does besides answering commands: `WakewordApp` listens for words.
        arithmetic: of a .tflite model: "reference", or "optimized": rounded as LiteRT's optimised kernels do, see
            `tinygen.passes.litert_arithmetic`.
    """

    board: str = "f746zg"
    toolchain: str | None = None
    kernels: str = "tinygen"
    name: str | None = None
    stack_bytes: int | None = None
    cmsis_nn: Path | None = None
    stream: bool = False
    arena_bytes: int | None = None
    weights: str = "flash"
    calibration: Path | None = None
    mode: str = "performance"
    app: WakewordApp | None = None
    arithmetic: str = Arithmetic.REFERENCE

    @property
    def streaming(self) -> Streaming | None:
        """What lowering is asked for: an arena within the limit, or else the smallest, or nothing."""
        if self.arena_bytes is not None:
            return Streaming(self.arena_bytes)
        return Streaming() if self.stream else None

    def for_board(self, board: str) -> BuildOptions:
        """The same options on another board; the host takes its own compiler and stack."""
        if board == self.board:
            return self
        return replace(self, board=board, toolchain=None, stack_bytes=None)


@dataclass(frozen=True)
class BuildReport:
    """A finished build: where it lies and what its manifest says."""

    folder: Path
    manifest: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return self.manifest


def build(
    model: Path | MemoryModel,
    out: Path,
    options: BuildOptions,
    *,
    profile: bool = True,
    progress: Progress | None = None,
) -> BuildReport:
    """Builds a model for a board.

    Everything is made in a temporary folder beside `out` and moved there when it is whole.

    Args:
        model: the model file, or a model made in memory.
        out: the directory to write; replaced when an earlier build stands there, but for the reports of `tinygen hil`:
            those on another build go to hil-BUILD.
        options: board, toolchain, kernels.
        profile: run one inference in the emulated board, for the report.
        progress: called with (what, done, of).

    Raises:
        TinygenError: of the frontend, lowering, toolchain; or `out` holds something else.
    """
    step = progress or (lambda what, done, total: None)
    _check_target(out)
    board = load_board(options.board)
    _check_options(options)
    if options.app is not None:
        check_microphone(options.app, board)
    toolchain = find_toolchain(options.toolchain, load_board("host") if board.is_project_only else board)
    step("reading the model", 0, 4)
    source = read_source(model, options)
    job = _Job(model, source, simplify_network(source), options, board, toolchain)
    program = job.lowered(options.streaming)
    if options.app is not None:
        plan_wakeword(options.app, program)  # which says what does not fit, before anything is written
    step("writing C", 1, 4)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / "build"
        step("compiling", 2, 4)
        program, manifest = job.fitted(program, folder)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        step("measuring", 3, 4)
        if profile and not board.is_host and not board.is_project_only:
            add_profiles(manifest, folder, program, board)
            write_governor(manifest, folder)
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        (folder / "report.html").write_text(render_report(manifest), encoding="utf-8")
        if out.exists():
            _keep_reports(out, folder, manifest["build_id"])
            shutil.rmtree(out)
        folder.rename(out)
    step("done", 4, 4)
    return BuildReport(out, manifest)


def read_source(model: Path | MemoryModel, options: BuildOptions) -> Network:
    """The model, with the arithmetic that it is built with.

    Raises:
        TinygenError: of the frontend; or it is no TFLite model, and another arithmetic than its own is wanted.
    """
    source = load_network(model, options.name, options.calibration)
    if options.arithmetic == Arithmetic.REFERENCE:
        return source
    if isinstance(model, MemoryModel) or model.suffix.lower() != ".tflite":
        raise TinygenError(
            "only .tflite models can be built with LiteRT's optimised arithmetic", where=model.name,
            fix="Leave out --arithmetic; a .tg file holds its own.",
        )  # fmt: skip
    return optimized_arithmetic(source)


class _Job:
    """One model for one board: what stays the same when it is lowered again, with a smaller arena."""

    def __init__(
        self, model: Path | MemoryModel, source: Network, network: Network, options: BuildOptions, board: Board,
        toolchain: Toolchain,
    ) -> None:  # fmt: skip
        self.model, self.source, self.network = model, source, network
        self.options, self.board, self.toolchain = options, board, toolchain
        calls = options.kernels == CMSIS_NN
        self.library = CmsisNn(find_checkout(options.cmsis_nn), board, toolchain) if calls else None

    def lowered(self, streaming: Streaming | None, network: Network | None = None) -> NetworkProgram:
        family, isa = self.options.kernels, isa_of(self.board)
        # Half of a board's flash, at most, for weights as code.
        code = CODE_BYTES if self.board.is_host else self.board.flash_bytes // 2
        return lower_network(
            network or self.network, family=family, isa=isa, library=self.library, streaming=streaming, code_bytes=code
        )

    def fitted(self, program: NetworkProgram, folder: Path) -> tuple[NetworkProgram, dict[str, Any]]:
        """Compiles what fits: where RAM lacks, without the buffer for the benchmark's inputs; then a smaller arena.

        Raises:
            FitError: that does not fit either.
        """
        try:
            return program, self.compiled(program, folder)
        except FitError as error:
            if not error.excess.get("RAM"):
                raise
        shutil.rmtree(folder)
        try:
            return program, self.compiled(program, folder, has_db=False)
        except FitError as error:
            program = self.smaller(program, error)
        shutil.rmtree(folder)
        return program, self.compiled(program, folder, has_db=False)

    def compiled(self, program: NetworkProgram, folder: Path, *, has_db: bool = True) -> dict[str, Any]:
        """Writes the project into `folder` and builds it; gives the manifest."""
        content, emitted = _write_sources(program, self.model, folder, self.options, self.library, has_db)
        content["model_copy"] = keep_model(self.source, folder)
        if self.board.is_project_only:
            return self._project(program, folder, content, emitted)
        options = self.options
        project = write_firmware_project(self.board, folder, stack_bytes=options.stack_bytes, mode=options.mode)
        result = build_elf(project, self.toolchain)
        content["simplified"] = describe_simplification(self.source.first, self.network.first)
        content["switches"] = describe_switches(program, emitted, self.source, self.network, result)
        if program.is_switchable:
            # Anew from the source: alone, a switch has no codes to share.
            alone = [Network.of(simplify(switch.graph)) for switch in self.source]
            apart = [self.lowered(self.options.streaming, network) for network in alone]
            content["network"] = describe_network(program, emitted, self.source, apart)
        _add_cost_of_app(content, result)
        content["images"] = write_images(self.board, result.elf, folder)
        content["platformio"] = list(write_platformio_project(project))
        return content | _board_part(self.board, result, self.options, project.stack_bytes)

    def _project(
        self, program: NetworkProgram, folder: Path, content: dict[str, Any], emitted: EmittedModel
    ) -> dict[str, Any]:
        """Writes an ESP-IDF project; the model and the application are compiled for this computer, and run once."""
        write_idf_project(self.board, folder, program.name, self.options.mode)
        with host_folder() as temporary:
            result = build_for_host(folder, self.toolchain, Path(temporary))
            outputs = run_once(result.elf, content["build_id"])
            content["simplified"] = describe_simplification(self.source.first, self.network.first)
            content["switches"] = describe_switches(program, emitted, self.source, self.network, result)
            if program.is_switchable:
                alone = [Network.of(simplify(switch.graph)) for switch in self.source]
                apart = [self.lowered(self.options.streaming, network) for network in alone]
                content["network"] = describe_network(program, emitted, self.source, apart)
        unknown = {"flash_bytes": None, "ram_bytes": None, "firmware": None, "target_note": UNTESTED}
        part = _board_part(self.board, result, self.options, _stack_of(self.options, self.board))
        return content | part | unknown | {"images": {}, "memory": [], "arena_memory": {}, "host_outputs": outputs}

    def smaller(self, program: NetworkProgram, error: FitError) -> NetworkProgram:
        """The program with an arena that is smaller by what the linker missed: with less scratch, or in stripes.

        Raises:
            FitError: RAM is not what lacks, or the arena cannot be so small.
        """
        missing = error.excess.get("RAM", 0)
        if not missing:
            raise error
        limit = max(program.arena_bytes - missing - _ARENA_ALIGNMENT, 0)
        try:
            return self.lowered(Streaming(limit))
        except FitError as best:
            what = f"{error.what}; {best.what}"
            raise FitError(what, where=error.where, fix=error.fix, excess=error.excess) from best


def _stack_of(options: BuildOptions, board: Board) -> int:
    return board.stack_bytes if options.stack_bytes is None else options.stack_bytes


def run_once(program: Path, build_id: str) -> int:
    """Runs a host build: one inference on zeros; gives how many outputs came back.

    Raises:
        DeviceError: it does not answer, or is another model.
    """
    client = DeviceClient(ProcessTransport([str(program)]), nonce=0)
    try:
        client.wait_for_boot()
        info = client.info()
        if info.build != build_id:
            raise DeviceError(f"runs build {info.build}, not {build_id}", where=str(program))
        for index, size in enumerate(info.inputs):
            client.load(index, bytes(size))
        client.run()
        return sum(len(client.read(index)) == size for index, size in enumerate(info.outputs))
    finally:
        client.close()


def _check_options(options: BuildOptions) -> None:
    if options.kernels not in FAMILIES:
        raise TinygenError(f"there is no kernel family '{options.kernels}'", fix=f"Families: {', '.join(FAMILIES)}.")
    if options.weights not in WEIGHTS:
        raise TinygenError(f"weights cannot lie in '{options.weights}'", fix=f"Memories: {', '.join(WEIGHTS)}.")
    if options.mode not in MODES:
        raise TinygenError(f"a firmware cannot begin in mode '{options.mode}'", fix=f"Modes: {', '.join(MODES)}.")
    if options.arithmetic not in tuple(Arithmetic):
        raise TinygenError(
            f"there is no arithmetic '{options.arithmetic}'", fix=f"One of: {', '.join(Arithmetic)}."
        )
    if options.arena_bytes is not None and options.arena_bytes < 0:
        raise TinygenError(f"an arena of {options.arena_bytes} bytes cannot be", fix="Give --arena at least 0 bytes.")


def isa_of(board: Board) -> tuple[str, ...]:
    """What kernels may use: the host also runs the SIMD forms, through their portable twins."""
    return (*board.isa, "c99", "dsp") if board.is_host else board.isa


def _keep_reports(out: Path, folder: Path, build: str) -> None:
    """Moves what `tinygen hil` found, perhaps on a real board, from an earlier build's directory to the new one."""
    for reports in (*out.glob("hil"), *out.glob("hil-*")):
        try:
            of_build = str(json.loads((reports / "hil-report.json").read_text())["build_id"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        name = "hil" if of_build == build else f"hil-{of_build}"
        if not (folder / name).exists():
            reports.rename(folder / name)


def _check_target(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise TinygenError("is a file", where=str(out), fix="Name a directory for --out.")
    if any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise TinygenError(
            "holds files that are not an earlier build", where=str(out), fix="Choose an empty or new directory."
        )


def _write_sources(
    program: NetworkProgram, model: Path | MemoryModel, folder: Path, options: BuildOptions, library: CmsisNn | None,
    has_db: bool,
) -> tuple[dict[str, Any], EmittedModel]:  # fmt: skip
    """Writes the generated C, and the library's where it is called; gives the manifest's part about the model."""
    emitted = emit_model(program, model.name, weights_in_ram=options.weights == "ram")
    sources = folder / "model"
    sources.mkdir(parents=True)
    for name, text in emitted.files.items():
        (sources / name).write_text(text, encoding="utf-8", newline="\n")
    digest = hashlib.sha256(model.read_bytes())
    # Where files lie does not matter: what is in the library counts, and what calibration makes of the C.
    unplaced = replace(options, cmsis_nn=None, calibration=None)
    chosen = asdict(unplaced)
    if options.arithmetic == Arithmetic.REFERENCE:
        del chosen["arithmetic"]  # which earlier builds had not
    digest.update(json.dumps(chosen, sort_keys=True).encode())
    for name, text in sorted(emitted.files.items()):
        digest.update(f"{name}\n{text}".encode())
    used = None if library is None else library.add_to(program.programs, folder)
    digest.update((used["sha256"] if used else "").encode())
    build_id = digest.hexdigest()[:16]
    binding = emit_app_model(program, model.name, build_id, has_db=has_db)
    benchmark = benchmark_of(program)
    app = _write_app(options, program, folder)
    (folder / "app_model.c").write_text(binding, encoding="utf-8", newline="\n")
    content = {
        **describe_program(program.first, emitted.switches[0]),
        "model": program.name,
        "source": model.name,
        **({} if options.arithmetic == Arithmetic.REFERENCE else {"arithmetic": options.arithmetic}),
        "source_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "build_id": build_id,
        "version": VERSION,
        "library": used,
        "mode": options.mode,
        "benchmark": {
            "model": benchmark["id"],
            "input": benchmark["kind"],
            "db_bytes": benchmark["db_bytes"] if has_db else 0,
        },
        "app": app,
    }
    return content, emitted


def _write_app(options: BuildOptions, program: NetworkProgram, folder: Path) -> dict[str, Any] | None:
    """Writes the application's part of the project; gives the manifest's."""
    if options.app is None:
        return None
    plan = plan_wakeword(options.app, program)
    bauds = uart_rates(load_board(options.board))
    emit_wakeword(options.app, plan, program.first.inputs[0].encoding, bauds, folder)
    return options.app.as_json() | _describe_plan(options.app, plan) | {"bauds": list(bauds)}


def _describe_plan(app: WakewordApp, plan: WakewordPlan) -> dict[str, Any]:
    return {
        "labels": list(plan.labels),
        "frames": plan.frames,
        "step_frames": plan.step,
        "cutoff_sums": [list(sums) for sums in plan.cutoff_sums],
        "sample_rate_hz": app.features.sample_rate_hz,
        "hop_samples": app.features.hop_samples,
        "window_samples": app.features.window_samples,
        "channels": app.features.channels,
    }


def _add_cost_of_app(content: dict[str, Any], result: BuildResult) -> None:
    """What front end and listening take beside model and protocol."""
    if content["app"] is not None:
        sizes = result.sizes
        content["app"] |= {
            "flash_bytes": sizes.flash_by_group["wake word"],
            "ram_bytes": sizes.ram_by_group["wake word"],
        }


def _board_part(
    board: Board, result: BuildResult, options: BuildOptions, stack_bytes: int
) -> dict[str, Any]:
    return {
        "board": board.name if board.path.parent.name == "boards" else str(board.path),
        "board_title": board.title,
        "toolchain": result.toolchain,
        "compiler": result.toolchain_version,
        "kernels": options.kernels,
        "flash_bytes": result.flash_bytes,
        "flash_model_bytes": result.flash_model_bytes,
        "ram_bytes": result.ram_bytes,
        "stack_bytes": stack_bytes,
        "clock_hz": board.clock.hclk_hz if board.clock else None,
        "weights": options.weights,
        "arena_memory": dict(result.sizes.arena_by_memory),
        "memory": _memory(board, result),
    }


def _memory(board: Board, result: BuildResult) -> list[dict[str, Any]]:
    if board.is_host:
        return []
    return [
        {"name": "flash", "size": board.flash_bytes, "parts": dict(result.sizes.flash_by_group)},
        {"name": "RAM", "size": board.ram_bytes, "parts": dict(result.sizes.ram_by_group)},
    ]
