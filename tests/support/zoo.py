"""Public model files, which belong to others and lie in no registry: `TINYGEN_ZOO` names folders of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_VARIABLE = "TINYGEN_ZOO"
_REASON = f"{_VARIABLE} does not name folders of public model files (docs/testing.md)"

needs_zoo = pytest.mark.skipif(not os.environ.get(_VARIABLE), reason=_REASON)


def zoo(suffix: str = ".tflite") -> list[Path]:
    """The files, each once."""
    folders = [Path(name) for name in os.environ.get(_VARIABLE, "").split(os.pathsep) if name]
    return sorted({path.name: path for folder in folders for path in folder.glob(f"*{suffix}")}.values())
