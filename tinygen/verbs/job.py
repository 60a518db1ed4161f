"""From a model file to a board's program: the common part of `build` and `export`."""

from __future__ import annotations

import hashlib
import json
from copy import copy
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Self

from tinygen.builds.manifest import LibraryEntry
from tinygen.emit.model import EmittedModel
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_network
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.network import Network
from tinygen.lowering.code_budget import CODE_BYTES
from tinygen.lowering.dense_gates import Gates
from tinygen.lowering.network import NetworkProgram, lower_network
from tinygen.lowering.program import Io
from tinygen.lowering.scratch_search import Prefer
from tinygen.lowering.streaming import Streaming
from tinygen.passes.litert_arithmetic import Arithmetic, optimized_arithmetic
from tinygen.project.choices import WeightMemory
from tinygen.project.esp_idf import host_folder
from tinygen.targets.board import Board
from tinygen.targets.toolchains.base import Toolchain
from tinygen.targets.vendor_library import VendorLibrary
from tinygen.targets.vendors import VENDORS, find_checkout
from tinygen.verbs.flash_budget import Kernels
from tinygen.verbs.gating import gated_network
from tinygen.verbs.options import BuildOptions
from tinygen.verbs.weights import weight_memory


def read_source(model: Path | MemoryModel, options: BuildOptions) -> Network:
    """Reads the model, with the arithmetic to build it with.

    Raises:
        TinygenError: of the frontend; or another arithmetic is requested for a model that is not TFLite.
    """
    source = load_network(
        model, options.name, options.calibration, options.layout, options.trust_pickle, options.in_float
    )
    if options.arithmetic == Arithmetic.REFERENCE:
        return source
    if isinstance(model, MemoryModel) or model.suffix.lower() != ".tflite":
        raise TinygenError(
            "only .tflite models can be built with LiteRT's optimised arithmetic",
            where=model.name,
            fix="Leave out --arithmetic; a .tg file holds its own.",
        )
    return optimized_arithmetic(source)


class Job:
    """One model for one board, however often it is lowered."""

    def __init__(
        self,
        model: Path | MemoryModel,
        source: Network,
        network: Network,
        options: BuildOptions,
        board: Board,
        toolchain: Toolchain,
    ) -> None:
        self.model, self.source, self.simplified = model, source, network
        self.options, self.board, self.toolchain = options, board, toolchain
        self.gated = gated_network(network, self.family, self.isa, Gates(options.gates), options.profile)
        self.network = self.gated.network
        vendor = VENDORS.get(options.kernels)
        checkout = find_checkout(vendor, options.library_path) if vendor else None
        self.library = VendorLibrary(checkout, board, toolchain) if checkout else None

    @property
    def family(self) -> str:
        return self.options.kernels

    @property
    def isa(self) -> tuple[str, ...]:
        return isa_of(self.board)

    def lowered(
        self, streaming: Streaming | None, network: Network | None = None, kernels: Kernels | None = None
    ) -> NetworkProgram:
        """Lowers the network: with the smallest arena where that is asked for besides a limit, and within the limit."""
        if self.options.stream and streaming is not None and streaming.arena_bytes is not None:
            least = self._lowered(replace(streaming, arena_bytes=None), network, kernels)
            if least.arena_bytes <= streaming.arena_bytes:
                return least
        return self._lowered(streaming, network, kernels)

    def as_switch(self, network: Network) -> NetworkProgram:
        """Lowers a network alone, by the rules for a switch of several: nothing is preferred."""
        return self._lowered(self.options.streaming, network, None, searched=False)

    def _lowered(
        self, streaming: Streaming | None, network: Network | None, kernels: Kernels | None, *, searched: bool = True
    ) -> NetworkProgram:
        # Half of a board's flash, at most, for weights as code.
        given = dict(self.options.layer_kernels)
        code = CODE_BYTES if self.board.is_host else self.board.flash_bytes // 2
        return lower_network(
            network or self.network,
            family=self.family,
            isa=self.isa,
            library=self.library,
            streaming=streaming,
            code_bytes=code,
            io=Io(self.options.io),
            prefer=Prefer(self.options.prefer) if searched else None,
            kernels=[given] * len((network or self.network).switches) if given else kernels,
        )

    def placed(self, program: NetworkProgram) -> Self:
        """The job, with the memory that holds the weights decided."""
        wanted, small = WeightMemory(self.options.weights), self.options.streaming is not None
        job = copy(self)
        job.options = replace(self.options, weights=weight_memory(wanted, self.board, program, small=small))
        return job


def isa_of(board: Board) -> tuple[str, ...]:
    """What kernels may use: the host also runs the SIMD forms, through their portable twins."""
    return (*board.isa, "c99", "dsp") if board.is_host else board.isa


def library_entry(job: Job, program: NetworkProgram, folder: Path) -> LibraryEntry | None:
    """Copies what the C calls; an ESP-IDF project fetches it."""
    if job.library is None:
        return None
    with host_folder() as elsewhere:
        used = job.library.add_to(program.programs, Path(elsewhere) if job.board.is_project_only else folder)
    return LibraryEntry(**used) if used else None


_NOT_IN_FIRMWARE = frozenset({"cmsis_nn", "esp_nn", "calibration", "profile", "trust_pickle", "version", "url"})
"""Options that say where files lie, or are of an export's page: what is in the files counts, which is in the C."""


def build_id_of(
    options: BuildOptions, model: Path | MemoryModel, emitted: EmittedModel, library: LibraryEntry | None
) -> str:
    """The build id: a digest of everything that the firmware depends on."""
    digest = hashlib.sha256(model.read_bytes())
    chosen = asdict(options)
    chosen = {
        one.name: chosen[one.name]
        for one in fields(options)
        if one.name not in _NOT_IN_FIRMWARE and getattr(options, one.name) != one.default
    }
    digest.update(json.dumps(chosen, sort_keys=True).encode())
    for name, text in sorted(emitted.content.items()):
        digest.update(f"{name}\n{text}".encode())
    digest.update((library.sha256 if library else "").encode())
    return digest.hexdigest()[:16]
