"""How to build: the options of `tinygen build`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tinygen.errors import TinygenError
from tinygen.frontends.layouts import Layout
from tinygen.lowering.dense_gates import Gates
from tinygen.lowering.program import Io
from tinygen.lowering.scratch_search import Prefer
from tinygen.lowering.select import CMSIS_NN, ESP_NN, Family
from tinygen.lowering.streaming import Streaming
from tinygen.passes.litert_arithmetic import Arithmetic
from tinygen.project.application import Application
from tinygen.project.choices import Mode, WeightMemory, chosen
from tinygen.targets.board import Board

_CHOICES: tuple[tuple[str, type[StrEnum], str], ...] = (
    ("kernels", Family, "there is no kernel family"),
    ("weights", WeightMemory, "weights cannot lie in"),
    ("mode", Mode, "a firmware cannot begin in mode"),
    ("arithmetic", Arithmetic, "there is no arithmetic"),
    ("io", Io, "inputs and outputs cannot lie in"),
    ("gates", Gates, "there is no choice of gates"),
    ("prefer", Prefer, "nothing to prefer is called"),
)


@dataclass(frozen=True)
class BuildOptions:
    """How to build. Enumerated values may be given by name.

    Raises:
        TinygenError: there is none of that name.

    Attributes:
        board: name or YAML file.
        toolchain: "zig", "gcc", or None for what the board prefers.
        kernels: kernel family.
        name: C name of the model; None takes the file's name.
        stack_bytes: None takes the board's.
        cmsis_nn, esp_nn: folders of CMSIS-NN and ESP-NN, for the families of those names; None takes the one that
            CMSIS_NN_PATH or ESP_NN_PATH names.
        stream: compute the first layers in stripes of rows, for the smallest arena; with `arena_bytes`, one within it.
        arena_bytes: the largest arena allowed; stripes are used where that needs them. None: what the board holds.
        flash_bytes: the largest firmware allowed; the fastest kernels are used that fit. None: what the board holds.
        weights: "flash", or "ram": copied there at start-up, where reading them is faster; "auto": see
            `tinygen.verbs.weights`.
        calibration: inputs to quantize a float PyTorch or ONNX model with, see `load_model`.
        layout: how images lie in them, see `load_network`.
        trust_pickle: read a .pt2 file that may run code when it is read.
        in_float: compute a hybrid .tflite model in float32, see `load_network`.
        mode: how the firmware begins: "performance", or "energy": 9600 baud, and measurements marked by the timestamp
            pin.
        app: what the firmware does besides answering commands; `tinygen.project.wakeword.WakewordApp` listens for
            words.
        arithmetic: of a .tflite model: "reference", or "optimized": rounded as LiteRT's optimised kernels do, see
            `tinygen.passes.litert_arithmetic`.
        io: where inputs and outputs lie: in the "arena", or in buffers of the "caller", which each inference is given.
        gates: which gated layers compute live channels alone: those where that saves cycles ("auto"), all ("always"),
            or none ("never").
        prefer: "speed" gives kernels all the scratch that helps them, "ram" as little as is bearable, "balance" is
            between. Where there are `stream` or `arena_bytes`, these decide.
        profile: inputs over which the expected cost of a network with branches is meant, and the number of live
            channels where it depends on the input; see `load_samples`.
        version: of an exported library, as semantic versioning has them; None derives one from the build id.
        url: of an exported library's page.
        layer_kernels: (layer, kernel) of layers that are not to have the fastest one; see `lower`.
    """

    board: str = "f746zg"
    toolchain: str | None = None
    kernels: Family | str = Family.TINYGEN
    name: str | None = None
    stack_bytes: int | None = None
    cmsis_nn: Path | None = None
    esp_nn: Path | None = None
    stream: bool = False
    arena_bytes: int | None = None
    flash_bytes: int | None = None
    weights: WeightMemory | str = WeightMemory.AUTO
    calibration: Path | None = None
    layout: Layout | None = None
    trust_pickle: bool = False
    in_float: bool = False
    mode: Mode | str = Mode.PERFORMANCE
    app: Application | None = None
    arithmetic: Arithmetic | str = Arithmetic.REFERENCE
    io: Io | str = Io.ARENA
    gates: Gates | str = Gates.AUTO
    prefer: Prefer | str = Prefer.BALANCE
    profile: Path | None = None
    version: str | None = None
    url: str | None = None
    layer_kernels: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name, kind, what in _CHOICES:
            object.__setattr__(self, name, chosen(kind, getattr(self, name), what))
        if self.arena_bytes is not None and self.arena_bytes < 0:
            raise TinygenError(f"an arena of {self.arena_bytes} bytes cannot be", fix="Give --arena at least 0 bytes.")
        if self.flash_bytes is not None and self.flash_bytes < 0:
            raise TinygenError(
                f"a firmware of {self.flash_bytes} bytes cannot be", fix="Give --flash at least 0 bytes."
            )

    @property
    def library_path(self) -> Path | None:
        """Folder of the library that the kernels call."""
        return {CMSIS_NN: self.cmsis_nn, ESP_NN: self.esp_nn}.get(Family(self.kernels))

    @property
    def streaming(self) -> Streaming | None:
        """The arena that lowering aims for: within the limit, the smallest, or any."""
        if self.arena_bytes is not None:
            return Streaming(self.arena_bytes)
        return Streaming() if self.stream else None

    def for_board(self, board: str) -> BuildOptions:
        """The same options for another board; the host uses its own compiler and stack, and has no flash."""
        if board == self.board:
            return self
        flash = None if board == "host" else self.flash_bytes
        return replace(self, board=board, toolchain=None, stack_bytes=None, flash_bytes=flash)


@dataclass(frozen=True)
class GatesOn:
    """Where gated layers are to be computed.

    Attributes:
        board: name or YAML file.
        kernels, gates, profile: see `BuildOptions`.
    """

    board: str
    kernels: Family | str = Family.TINYGEN
    gates: Gates | str = Gates.AUTO
    profile: Path | None = None

    @property
    def options(self) -> BuildOptions:
        """With its names looked up.

        Raises:
            TinygenError: there is none of a name.
        """
        return BuildOptions(board=self.board, kernels=self.kernels, gates=self.gates, profile=self.profile)


def check_flash(board: Board, limit: int | None) -> None:
    """
    Raises:
        TinygenError: the board has no flash, less of it, or nothing is linked for it here.
    """
    if limit is None:
        return
    if board.is_host or board.is_project_only:
        what = "this computer has none" if board.is_host else "the ESP-IDF links the firmware, not tinygen"
        raise TinygenError(
            f"flash cannot be limited: {what}",
            where=board.name,
            fix="Leave out --flash; --kernels compact keeps weights from becoming instructions.",
        )
    if limit > board.flash_bytes:
        raise TinygenError(
            f"the board has {board.flash_bytes:,} bytes of flash, not {limit:,}",
            where=f"--flash {limit}",
            fix=f"Give --flash at most {board.flash_bytes}, or leave it out.",
        )
