"""Packages that an installation may lack, and the extra of tinygen that brings each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tinygen.errors import ToolchainError

EXTRA_OF = {
    "unicorn": "emulator",
    "capstone": "emulator",
    "labwired": "labwired",
    "ai_edge_litert": "litert",
    "torch": "torch",
    "sklearn": "compress",
    "skopt": "compress",
    "scipy": "compress",
    "threadpoolctl": "compress",
    "matplotlib": "plot",
    "onnx": "onnx",
    "platformio": "platformio",
    "pyocd": "flash",
    "esptool": "flash",
    "ppk2_api": "power",
    "joulescope": "power",
    "labgrid": "labgrid",
    "grpc": "labgrid",
    "pymicro_wakeword": "audio",
    "espeakng_loader": "audio",
    "sounddevice": "mic",
    "mlxtend": "classify",
    "PIL": "classify",
}
"""Extras by the name that Python imports."""


def install_text(extra: str) -> str:
    """The command that adds an extra."""
    return f"pip install 'tinygen[{extra}]'"


@contextmanager
def optional_imports(where: str = "") -> Iterator[None]:
    """Around imports of what an extra brings.

    Args:
        where: what needs it, or the file that it would read.

    Raises:
        ToolchainError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRA_OF:
            raise
        what = f"the package {module} is not installed"
        raise ToolchainError(what, where=where, fix=install_text(EXTRA_OF[module])) from error
