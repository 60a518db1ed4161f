"""Applications: what a firmware does besides answering commands."""

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
        size_group: name of its group in the sizes of an ELF, see `tinygen.targets.toolchain.Sizes`.
    """

    size_group: ClassVar[str]

    @abstractmethod
    def check(self, board: Board) -> None:
        """Checks that a board has the hardware that the application needs.

        Raises:
            BoardError: what is missing.
        """

    @abstractmethod
    def check_model(self, network: NetworkProgram) -> None:
        """Checks that the application supports a model; called before anything is written.

        Raises:
            TinygenError: what does not fit.
        """

    @abstractmethod
    def write(self, network: NetworkProgram, board: Board, folder: Path) -> dict[str, Any]:
        """Writes its generated C into a project; returns the fields of its manifest entry."""
