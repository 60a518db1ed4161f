"""Arrays from .npy and .npz files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tinygen.errors import TinygenError


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name; the only one of a .npy file is `x`.

    Raises:
        TinygenError: there is no such file, or it holds something else.
    """
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"x": content}
        return {name: content[name] for name in content.files}
    except FileNotFoundError as error:
        raise TinygenError("there is no such file", where=str(path)) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TinygenError(
            f"is not a .npy or .npz file of plain arrays ({error})", where=str(path),
            fix="Write it with numpy.save or numpy.savez.",
        ) from error  # fmt: skip
