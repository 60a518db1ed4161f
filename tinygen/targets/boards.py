"""The boards by name, and by file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tinygen.errors import BoardError
from tinygen.paths import resource
from tinygen.targets.board import Board
from tinygen.targets.board_file import read_board


def list_boards() -> Mapping[str, Path]:
    """Names of the boards that come with tinygen, and their files, in alphabetical order."""
    return {path.stem: path for path in sorted(resource("boards").glob("*.yaml"))}


def load_board(name_or_path: str | Path) -> Board:
    """Loads a board by its name or YAML file.

    Raises:
        BoardError: no such board, or its file is wrong (file, key, what, fix).
    """
    known = list_boards()
    if str(name_or_path) in known:
        return read_board(known[str(name_or_path)])
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return read_board(path)
        raise BoardError("there is no such file", where=str(path), fix="Name a board file that exists.")
    raise BoardError(
        f"there is no board called {name_or_path}",
        fix=f"Boards: {', '.join(known)}. A board of your own is a .yaml file; name its path.",
    )
