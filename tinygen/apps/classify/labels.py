"""Names of classes."""

from __future__ import annotations

from pathlib import Path

from tinygen.errors import TinygenError


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """One name per line, the first that of class 0; empty lines at the end do not count.

    Raises:
        TinygenError: the file cannot be read as text, or the number of names is not the model's number of classes.
    """
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").rstrip().splitlines())
    except FileNotFoundError as error:
        raise TinygenError("there is no such file", where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise TinygenError(f"cannot be read as text ({error})", where=str(path)) from error
    if len(names) != classes:
        raise TinygenError(
            f"has {len(names)} names, the model {classes} classes", where=str(path), fix="Write one name per line."
        )
    return names


def label_of(index: int, names: tuple[str, ...]) -> str:
    """The name of the class, or its index if there are no names."""
    return names[index] if names else str(index)
