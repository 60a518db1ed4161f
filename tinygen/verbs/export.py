"""`tinygen export`: the model alone, as a library for a project of the user's."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygen.builds.expected_detections import expected_detections
from tinygen.builds.folder import Folder, Record, sha256_of
from tinygen.builds.manifest import TensorEntry
from tinygen.builds.plain import to_plain
from tinygen.builds.program import describe_tensor
from tinygen.builds.vectors import make_vectors
from tinygen.emit.model import EmittedModel, emit_model, interface_of
from tinygen.emit.sharing import weight_bytes
from tinygen.errors import FitError, TinygenError, ToolchainError
from tinygen.files import temporary_folder
from tinygen.frontends.memory import MemoryModel
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.select import CMSIS_NN, ESP_NN
from tinygen.passes.dependence import death_notes
from tinygen.passes.pipeline import simplify_network
from tinygen.paths import resource
from tinygen.project.choices import WeightMemory, chosen
from tinygen.project.exports.forms import FORMS, FormName
from tinygen.project.exports.library import Form, Library, Written, host_example
from tinygen.project.exports.listener import Listener, check_listener, make_listener
from tinygen.project.wakeword import WakewordApp
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_executable, find_toolchain
from tinygen.targets.toolchains.base import LIBC_FOLDER, OPTIMIZE
from tinygen.targets.toolchains.compiling import compile_all
from tinygen.targets.toolchains.fit import check_weights
from tinygen.targets.toolchains.sizes import sections_of_object
from tinygen.targets.vendor_library import library_functions
from tinygen.targets.vendors import Vendor
from tinygen.verbs.gating import require_counts
from tinygen.verbs.job import Job, build_id_of, library_entry, read_source
from tinygen.verbs.options import BuildOptions
from tinygen.version import VERSION

Progress = Callable[[str, int, int], None]
RECORD = Record("tinygen-export.json", "export")
_SECONDS = 120
_NUMBER, _PART = r"(?:0|[1-9]\d*)", r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SEMANTIC = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PART})?(?:\+{_PART})?", re.ASCII)
_URL = re.compile(r"https?://[!-~]+")
_MAIN = "tinygen_example_main.c"


@dataclass(frozen=True)
class ExportReport:
    """A finished export: its folder and its record."""

    folder: Path
    content: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The content of tinygen-export.json."""
        return self.content


@dataclass(frozen=True)
class _Sizes:
    """Bytes of the library's objects in flash, and in RAM with the static arena."""

    flash: int
    ram: int


def export(
    model: Path | MemoryModel,
    out: Path,
    form: FormName | str,
    options: BuildOptions,
    *,
    proof: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a model as a library, compiles it for its board, and runs its example on this computer.

    Args:
        model: the model file, or a model made in memory.
        out: the directory to write. Of an earlier export there, the files that its record lists are replaced, all
            others stay.
        form: of the library.
        options: board, kernels, memory; those of a firmware (stack, mode, limit of flash) must be what they are by
            default.
        proof: comments for Frama-C's Eva in the C, and what runs it, see `tinygen.emit.proof`; of `FormName.C`, with
            tinygen's own kernels.
        force: replace files of the earlier export that have been changed since, see `tinygen.builds.folder`.
        progress: called with (what, done, of).

    Raises:
        TinygenError: of the frontend, lowering, toolchain; the form is not for the board; or `out` holds something
            else, or cannot be written.
    """
    step = progress or (lambda what, done, total: None)
    kind = FORMS[chosen(FormName, form, "a library cannot be exported as")]
    if proof:
        _check_proof(kind, options)
    target = Folder(out, RECORD, force=force)
    target.check()
    _version(options.version, "0")
    _url(options.url)
    job = _job(model, kind, options, step)
    program = job.lowered(options.streaming)
    job = job.placed(program)
    _check_fit(job, program)
    if isinstance(options.app, WakewordApp):
        check_listener(options.app, program)
    step("writing C", 1, 3)
    with target.replaced() as temporary:
        emitted, build_id, vendor = _emit(job, program, temporary, annotated=proof)
        step("compiling", 2, 3)
        listener = _listener(job, program)
        files = {**emitted.files, **(listener.files if listener else {})}
        sizes = None if job.board.is_host or job.board.is_project_only else _compiled(job, program, files)
        library = _library(job, program, emitted, _facts(job, program, build_id, sizes), build_id, listener)
        library = replace(library, with_proof=proof)
        written = kind.write(library, temporary)
        _run_example(library, kind, temporary, written)
        content = {
            **_described(job, program, build_id, kind),
            "version": library.version,
            "library": vendor,
            "flash_bytes": sizes.flash if sizes else None,
            "ram_bytes": sizes.ram if sizes else None,
            "vectors": library.runs,
            "app": options.app.as_json() if isinstance(options.app, WakewordApp) else None,
            "warnings": (*death_notes(job.source), *job.gated.notes),
            "gated_layers": to_plain(job.gated.entries),
        }
        content = target.write_record(temporary, content)
    step("done", 3, 3)
    return ExportReport(out, content)


def _job(model: Path | MemoryModel, form: Form, options: BuildOptions, step: Progress) -> Job:
    board = load_board(options.board)
    _check_form(form, board)
    if options.flash_bytes is not None:
        raise TinygenError("only firmware has a limit of flash", where=board.name, fix="Leave it out, or build.")
    toolchain = find_toolchain(options.toolchain, load_board("host") if board.is_project_only else board)
    step("reading the model", 0, 3)
    source = read_source(model, options)
    if options.profile is not None:
        require_counts(source)
    job = Job(model, source, simplify_network(source), options, board, toolchain)
    if job.library is not None:
        _check_vendor(form, board, job.library.checkout.vendor)
    return job


def _check_form(form: Form, board: Board) -> None:
    """
    Raises:
        TinygenError: the form is not for the board; says which are.
    """
    why = form.misfit(board)
    if why:
        fitting = ", ".join(one.name for one in FORMS.values() if not one.misfit(board))
        fix = f"{why} For {board.name}: --as {fitting}."
        raise TinygenError(f"--as {form.name} is not for this board", where=board.name, fix=fix)


def _check_proof(form: Form, options: BuildOptions) -> None:
    """
    Raises:
        TinygenError: Eva could not analyse the library.
    """
    if form.name != FormName.C:
        raise TinygenError("--proof is for --as c", where=f"--as {form.name}", fix="Export the C, prove that.")
    if options.kernels in (CMSIS_NN, ESP_NN):
        what = "--proof is for tinygen's own kernels"
        raise TinygenError(what, where=f"--kernels {options.kernels}", fix="Leave out --kernels, or --proof.")
    if options.app is not None:
        raise TinygenError("--proof is for a model alone", where="--app", fix="Leave out --app.")


def _check_vendor(form: Form, board: Board, vendor: Vendor) -> None:
    """
    Raises:
        TinygenError: the form cannot bring a vendor's kernels.
    """
    why = form.vendor_misfit(vendor)
    if why:
        forms = [one for one in FORMS.values() if not one.misfit(board) and not one.vendor_misfit(vendor)]
        able = ", ".join(one.name for one in forms)
        what = f"--as {form.name} cannot bring {vendor.title}: {why}"
        fix = f"Leave out --kernels, or take one of: {able}."
        raise TinygenError(what, where=f"--kernels {vendor.family}", fix=fix)


def _check_fit(job: Job, program: NetworkProgram) -> None:
    """
    Raises:
        FitError: the weights alone are larger than the board's flash, or the arena than its RAM.
    """
    board = job.board
    if board.is_host or board.is_project_only:
        return
    check_weights(board, weight_bytes(program))
    if program.arena_bytes > board.ram_bytes:
        raise FitError(
            f"the arena has {program.arena_bytes:,} bytes, and the board {board.ram_bytes:,} of RAM",
            where=board.name,
            fix="Give --stream, or --arena BYTES with what your project leaves.",
            excess={"RAM": program.arena_bytes - board.ram_bytes},
        )


def _emit(
    job: Job, program: NetworkProgram, folder: Path, *, annotated: bool
) -> tuple[EmittedModel, str, dict[str, str] | None]:
    """The C, its build id (that of the C without comments for Eva), and the entry of a vendor's library."""
    in_ram = job.options.weights == WeightMemory.RAM
    emitted = emit_model(program, job.model.name, weights_in_ram=in_ram)
    with temporary_folder() as elsewhere:
        vendor = library_entry(job, program, elsewhere)
    build_id = build_id_of(job.options, job.model, emitted, vendor)
    if annotated:
        emitted = emit_model(program, job.model.name, weights_in_ram=in_ram, annotated=True)
    said = None if vendor is None else {"name": vendor.name, "commit": vendor.commit, "sha256": vendor.sha256}
    return emitted.identified(build_id), build_id, said


def _listener(job: Job, program: NetworkProgram) -> Listener | None:
    app = job.options.app
    if not isinstance(app, WakewordApp):
        return None
    return make_listener(app, program, expected_detections(app, job.source, program))


def _library(
    job: Job,
    program: NetworkProgram,
    emitted: EmittedModel,
    facts: list[tuple[str, str]],
    build_id: str,
    listener: Listener | None,
) -> Library:
    functions = tuple(sorted(library_functions(program.programs))) if job.library else ()
    return Library(
        name=program.name,
        board=job.board,
        files=emitted.files,
        interface=interface_of(program, job.model.name),
        vectors=make_vectors(job.source, program, emitted),
        build_id=build_id,
        version=_version(job.options.version, build_id),
        url=_url(job.options.url),
        facts=facts,
        vendor=job.library.checkout if job.library and functions else None,
        functions=functions,
        listener=listener,
    )


def _version(wanted: str | None, build_id: str) -> str:
    """The version of a library; by default 0.0.N, N made of the build id: CMake and Arduino take numbers alone.

    Raises:
        TinygenError: the wanted one is not a semantic version.
    """
    if wanted is None:
        return f"0.0.{int(build_id[:7], 16)}"
    if _SEMANTIC.fullmatch(wanted) is None:
        fix = "Give MAJOR.MINOR.PATCH, as 1.2.0 or 1.2.0-rc.1; see semver.org."
        raise TinygenError(f"'{wanted}' is not a semantic version", where="--version", fix=fix)
    return wanted


def _url(wanted: str | None) -> str:
    """The address of a library's page; "" for none.

    Raises:
        TinygenError: it is no address of a page.
    """
    if wanted is not None and _URL.fullmatch(wanted) is None:
        fix = "Give the address of a page, as https://example.com/keywords."
        raise TinygenError(f"'{wanted}' is not a URL", where="--url", fix=fix)
    return wanted or ""


def _facts(job: Job, program: NetworkProgram, build_id: str, sizes: _Sizes | None) -> list[tuple[str, str]]:
    """The rows of the README's table."""
    compiler = f"by {job.toolchain.name} {job.toolchain.version}, {OPTIMIZE}"
    flash = [("flash", f"{sizes.flash:,} B, {compiler}")] if sizes else []
    facts = [
        *flash,
        ("arena", f"{program.arena_bytes:,} B, aligned to {program.alignment}"),
        ("weights", f"{weight_bytes(program):,} B, in {job.options.weights}"),
        ("kernels", f"{job.options.kernels}, for {job.board.core}"),
        ("build", build_id),
    ]
    if program.is_switchable:
        facts.insert(0, ("switches", ", ".join(program.names)))
    return facts


def _described(job: Job, program: NetworkProgram, build_id: str, form: Form) -> dict[str, Any]:
    options, first = job.options, program.first
    tensors = {"inputs": first.inputs, "outputs": first.outputs}
    return {
        "tinygen": VERSION,
        "as": form.name,
        "model": program.name,
        "source": job.model.name,
        "source_sha256": sha256_of(job.model.read_bytes()),
        "build_id": build_id,
        "board": job.board.name,
        "toolchain": job.toolchain.name,
        "compiler": job.toolchain.version,
        "kernels": str(options.kernels),
        "weights": str(options.weights),
        "arithmetic": str(options.arithmetic),
        "io": str(options.io),
        "switches": list(program.names) if program.is_switchable else [],
        "arena_bytes": program.arena_bytes,
        "arena_align": program.alignment,
        "kept_bytes": program.kept_bytes,
        "weight_bytes": weight_bytes(program),
        **{kind: [_tensor(describe_tensor(first, tensor)) for tensor in those] for kind, those in tensors.items()},
    }


def _tensor(entry: TensorEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "dtype": entry.dtype,
        "shape": list(entry.shape),
        "bytes": entry.bytes,
        "scale": entry.scale,
        "zero_point": entry.zero_point,
    }


def _compiled(job: Job, program: NetworkProgram, files: Mapping[str, str]) -> _Sizes:
    """Compiles the library for its board.

    Raises:
        ToolchainError: the C is wrong.
    """
    with temporary_folder() as temporary:
        folder = temporary
        (folder / "model").mkdir()
        for name, text in files.items():
            (folder / "model" / name).write_text(text, encoding="utf-8", newline="\n")
        if job.library is not None:
            job.library.add_to(program.programs, folder)
        shutil.copytree(resource("firmware") / "libc", folder / LIBC_FOLDER)
        place = job.library.place if job.library else None
        paths = sorted(folder.glob("model/*.c")) + (sorted(folder.glob(f"{place.folder}/**/*.c")) if place else [])
        sources = [path.relative_to(folder).as_posix() for path in paths]
        flags = ["-Imodel", "-isystem", f"{LIBC_FOLDER}/include", *job.toolchain.device_flags()]
        for include in place.includes if place else ():
            flags += ["-isystem", include]
        objects = compile_all(job.toolchain, folder, sources, flags, folder)
        sections = [section for path in objects.values() for section in sections_of_object(path)]
        kept = [one for one in sections if not one[0].startswith(".ARM.")]  # for unwinding: no firmware needs them
        return _Sizes(sum(size for _, size, stored, _ in kept if stored), sum(size for _, size, _, ram in kept if ram))


def _run_example(library: Library, form: Form, folder: Path, written: Written) -> None:
    """Builds the library and its example for this computer, and runs it.

    Raises:
        ToolchainError: the C is wrong, or an output is.
    """
    with temporary_folder() as temporary:
        copy = temporary / "library"
        shutil.copytree(folder, copy)
        (copy / _MAIN).write_text(host_example(library, form), encoding="utf-8")
        sources, includes = written.sources, written.vendor_includes
        if library.vendor is not None and not includes:  # the ecosystem would fetch it
            sources += library.vendor.copy(library.functions, copy)
            includes = library.vendor.vendor.place.includes
        folders = (written.layout.header, written.layout.example)
        code = HostCode(copy, (*sources, _MAIN), folders, system_include_dirs=includes)
        program = build_executable(code, temporary / "example", find_toolchain(None, load_board("host")))
        try:
            done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ToolchainError(f"the example did not end within {_SECONDS} s", where=library.name) from error
    if done.returncode:
        raise ToolchainError(f"the example says: {done.stdout.strip() or done.returncode}", where=library.name)
