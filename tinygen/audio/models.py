"""The wake-word models that the package `pymicro-wakeword` ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tinygen.errors import TinygenError


def bundled() -> dict[str, tuple[Path, Path]]:
    """Name -> (TFLite file, its JSON beside it) of each model, sorted by name.

    Raises:
        TinygenError: `pymicro-wakeword` is not installed, or brings no models.
    """
    package = importlib.util.find_spec("pymicro_wakeword")  # found, not imported: that would load its library
    if package is None or not package.submodule_search_locations:
        raise TinygenError(
            "the wake-word models come with the package pymicro-wakeword, which is not installed",
            fix="pip install 'tinygen[audio]', or give a model file of your own.",
        )
    folder = Path(package.submodule_search_locations[0]) / "models"
    models = {path.stem: (path.with_suffix(".tflite"), path) for path in sorted(folder.glob("*.json"))}
    complete = {name: files for name, files in models.items() if files[0].is_file()}
    if not complete:
        raise TinygenError("pymicro-wakeword brings no models", where=str(folder), fix="Install it again.")
    return complete
