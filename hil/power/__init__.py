"""Power instruments: what a board draws, and the energy of one inference."""

from hil.power.device import measure_device, runs_of
from hil.power.energy import EnergyOptions, energy_of, energy_of_runs, measure_energy
from hil.power.factory import POWER_HELP, open_monitor
from hil.power.monitor import Edge, PowerMonitor, Trace
from hil.power.predicted import PredictedSource
from hil.power.result import EnergyResult, Idle, WindowEnergy
from hil.power.windows import Run, Window, windows_from_edges, windows_from_messages

__all__ = [
    "POWER_HELP",
    "Edge",
    "EnergyOptions",
    "EnergyResult",
    "Idle",
    "PowerMonitor",
    "PredictedSource",
    "Run",
    "Trace",
    "Window",
    "WindowEnergy",
    "energy_of",
    "energy_of_runs",
    "measure_device",
    "measure_energy",
    "open_monitor",
    "runs_of",
    "windows_from_edges",
    "windows_from_messages",
]
