"""Hardware in the loop: talking to a device that runs tinygen's firmware, real or emulated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygen.hil.answers import DeviceInfo, Inference, Marks, Window
    from tinygen.hil.client import DeviceClient
    from tinygen.hil.transports import SerialTransport, Transport

_PLACES = {
    "DeviceClient": "tinygen.hil.client",
    "DeviceInfo": "tinygen.hil.answers",
    "Inference": "tinygen.hil.answers",
    "Marks": "tinygen.hil.answers",
    "SerialTransport": "tinygen.hil.transports",
    "Transport": "tinygen.hil.transports",
    "Window": "tinygen.hil.answers",
}
__all__ = ["DeviceClient", "DeviceInfo", "Inference", "Marks", "SerialTransport", "Transport", "Window"]


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: pytest imports this package wherever its plugin is installed."""
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)
