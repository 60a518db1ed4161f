"""What a firmware may do besides answering commands: an application that a build takes in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tinygen.lowering.network import NetworkProgram

if TYPE_CHECKING:
    from tinygen.targets.board import Board


class Application(ABC):
    """One application.

    Attributes:
        size_group: what the sizes of an ELF call its part, see `tinygen.targets.toolchain.Sizes`.
    """

    size_group: ClassVar[str]

    @abstractmethod
    def check(self, board: Board) -> None:
        """That a board has what it needs.

        Raises:
            BoardError: what is missing.
        """

    @abstractmethod
    def check_model(self, network: NetworkProgram) -> None:
        """That it can work with a model; called before anything is written.

        Raises:
            TinygenError: what does not fit.
        """

    @abstractmethod
    def write(self, network: NetworkProgram, board: Board, folder: Path) -> dict[str, Any]:
        """Writes its generated C into a project; gives the fields of the manifest's entry about it."""
