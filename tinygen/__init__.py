"""tinygen: compressed neural networks as C for microcontrollers, proved on a board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygen.api import build, inspect, run, verify
    from tinygen.frontends.ptq.options import QuantizeOptions
    from tinygen.frontends.tg import save_tg as save
    from tinygen.frontends.torch import compare, export, export_switches
    from tinygen.passes.to_streaming import to_streaming
    from tinygen.verbs.build import BuildOptions
    from tinygen.verbs.hil import HilOptions

_LAZY = {
    "BuildOptions": ("tinygen.verbs.build", "BuildOptions"),
    "HilOptions": ("tinygen.verbs.hil", "HilOptions"),
    "QuantizeOptions": ("tinygen.frontends.ptq.options", "QuantizeOptions"),
    "build": ("tinygen.api", "build"),
    "compare": ("tinygen.frontends.torch", "compare"),
    "export": ("tinygen.frontends.torch", "export"),
    "export_switches": ("tinygen.frontends.torch", "export_switches"),
    "inspect": ("tinygen.api", "inspect"),
    "run": ("tinygen.api", "run"),
    "save": ("tinygen.frontends.tg", "save_tg"),
    "to_streaming": ("tinygen.passes.to_streaming", "to_streaming"),
    "verify": ("tinygen.api", "verify"),
}
__all__ = [
    "BuildOptions",
    "HilOptions",
    "QuantizeOptions",
    "build",
    "compare",
    "export",
    "export_switches",
    "inspect",
    "run",
    "save",
    "to_streaming",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Imports what is asked for only then: reading models needs NumPy, exporting them needs torch."""
    import importlib

    from tinygen.extras import optional_imports

    if name not in _LAZY:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module, attribute = _LAZY[name]
    with optional_imports(f"tinygen.{name}"):
        return getattr(importlib.import_module(module), attribute)
