"""Hardware in the loop: talking to a device that runs tinygen's firmware, real or emulated."""

from hil.client import DeviceClient, DeviceInfo, Inference
from hil.transports import SerialTransport, Transport

__all__ = ["DeviceClient", "DeviceInfo", "Inference", "SerialTransport", "Transport"]
