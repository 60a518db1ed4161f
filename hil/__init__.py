"""Hardware in the loop: talking to a device that runs tinygen's firmware, real or emulated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.answers import DeviceInfo, Inference, Marks, Window
    from hil.client import DeviceClient
    from hil.transports import SerialTransport, Transport

_PLACES = {
    "DeviceClient": "hil.client",
    "DeviceInfo": "hil.answers",
    "Inference": "hil.answers",
    "Marks": "hil.answers",
    "SerialTransport": "hil.transports",
    "Transport": "hil.transports",
    "Window": "hil.answers",
}
__all__ = ["DeviceClient", "DeviceInfo", "Inference", "Marks", "SerialTransport", "Transport", "Window"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for only then: pytest imports this package wherever its plugin is installed."""
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)
