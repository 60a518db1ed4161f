"""`tinygen inspect` of several models or of folders: which can be read, and what stops the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tinygen.errors import TinygenError
from tinygen.frontends.load import SUFFIXES, load_network
from tinygen.frontends.ptq.quantize import CalibrationMissingError
from tinygen.frontends.ptq.samples import Noise
from tinygen.ir.branch import all_graphs
from tinygen.ir.network import Network

Progress = Callable[[str, int, int], None]

_CHANGING = re.compile(r"'[^']*'|\[[^\]]*\]|-?\b\d[\d,.e+-]*\b")
"""What differs between messages of one cause: names, shapes, numbers."""


@dataclass(frozen=True)
class Surveyed:
    """A model file.

    Attributes:
        file: its path.
        file_bytes: its size.
        enters: whether it can be read, and with a board, whether there is a kernel for each layer.
        what, where, fix: why not, as the error says; empty if it enters.
        layers: operators, those in branches included.
        macs: multiply-accumulates of an inference.
        constant_bytes: weights.
        arena_bytes: the arena on the board; None without one.
    """

    file: str
    file_bytes: int
    enters: bool
    what: str = ""
    where: str = ""
    fix: str = ""
    layers: int = 0
    macs: int = 0
    constant_bytes: int = 0
    arena_bytes: int | None = None

    @property
    def cause(self) -> str:
        """The message without names, shapes and numbers: the same for all files that one thing stops."""
        return _CHANGING.sub("...", self.what)


@dataclass(frozen=True)
class Cause:
    """What stops models.

    Attributes:
        what: the message, without names, shapes and numbers.
        models: how many it stops.
        fix: what to do about it in the first of them.
    """

    what: str
    models: int
    fix: str


@dataclass(frozen=True)
class Survey:
    """Model files, in the order of their paths."""

    models: tuple[Surveyed, ...]

    @property
    def entering(self) -> int:
        """How many can be read."""
        return sum(model.enters for model in self.models)

    @property
    def causes(self) -> list[Cause]:
        """What stops models, the most frequent first."""
        refused = [model for model in self.models if not model.enters]
        count, fixes = Counter(model.cause for model in refused), {model.cause: model.fix for model in refused[::-1]}
        return [Cause(what, count[what], fixes[what]) for what in sorted(count, key=lambda what: (-count[what], what))]

    def as_json(self) -> dict[str, Any]:
        return {
            "models": [asdict(model) for model in self.models],
            "count": len(self.models),
            "entering": self.entering,
            "causes": [asdict(cause) for cause in self.causes],
        }


def model_files(paths: Iterable[Path]) -> list[Path]:
    """The files given, and all files with a model's suffix below the folders given, sorted; each once.

    Raises:
        TinygenError: a path does not exist, or there is no model below a folder.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise TinygenError("there is no such file or folder", where=str(path))
        inside = _below(path) if path.is_dir() else [path]
        if not inside:
            raise TinygenError(
                "has no models", where=str(path), fix=f"Models are {', '.join(SUFFIXES)} files, in subfolders too."
            )
        found |= dict.fromkeys(inside)
    return sorted(found)


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]


def survey(
    files: Sequence[Path],
    board: str | None = None,
    kernels: str = "tinygen",
    trust_pickle: bool = False,
    in_float: bool = False,
    progress: Progress | None = None,
) -> Survey:
    """Reads each file; with a board, also chooses kernels and plans memory.

    Args:
        files: models; float .pt2 and .onnx files are quantized with noise for calibration, to see whether they can be.
        board: its name or file.
        kernels: the family of kernels for it.
        trust_pickle: see `load_network`.
        in_float: read hybrid .tflite models as float32.
        progress: called with (what, done, of).
    """
    isa = None if board is None else _isa(board)
    found = []

    def read(file: Path) -> Network:
        hybrid = in_float and file.suffix.lower() == ".tflite"
        load = partial(load_network, file, trust_pickle=trust_pickle, in_float=hybrid)
        try:
            return load()
        except CalibrationMissingError:
            return load(calibration=Noise())

    for done, file in enumerate(files):
        if progress is not None:
            progress("models", done, len(files))
        found.append(_surveyed(file, isa, kernels, read))
    return Survey(tuple(found))


def _isa(board: str) -> tuple[str, ...]:
    from tinygen.targets.boards import load_board
    from tinygen.verbs.job import isa_of

    return isa_of(load_board(board))


def _surveyed(file: Path, isa: Collection[str] | None, kernels: str, read: Callable[[Path], Network]) -> Surveyed:
    size = file.stat().st_size if file.is_file() else 0
    try:
        network = read(file)
        arena = None if isa is None else _arena(network, isa, kernels)
    except TinygenError as error:
        return Surveyed(str(file), size, False, error.what, error.where.removeprefix(f"{file}: "), error.fix)
    graphs = [graph for switch in network for graph in all_graphs(switch.graph)]
    return Surveyed(
        file=str(file),
        file_bytes=size,
        enters=True,
        layers=sum(len(graph.ops) for graph in graphs),
        macs=max(sum(node.op.macs(node) for node in switch.graph.nodes()) for switch in network),
        constant_bytes=sum(t.nbytes for graph in graphs for t in graph.tensors.values() if t.is_constant),
        arena_bytes=arena,
    )


def _arena(network: Network, isa: Collection[str], kernels: str) -> int:
    from tinygen.lowering.network import lower_network
    from tinygen.passes.pipeline import simplify_network

    return lower_network(simplify_network(network), family=kernels, isa=isa).arena_bytes
