"""Power instruments: what a board draws, and the energy of one inference."""

from hil.power.monitor import Edge, PowerMonitor, Trace

__all__ = ["Edge", "PowerMonitor", "Trace"]
