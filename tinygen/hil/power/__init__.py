"""Power instruments: what a board draws, and the energy of one inference."""

from tinygen.hil.power.device import measure_device, runs_of
from tinygen.hil.power.energy import EnergyOptions, energy_of, energy_of_runs, measure_energy
from tinygen.hil.power.factory import POWER_HELP, open_monitor, supply_warning
from tinygen.hil.power.monitor import Edge, PowerMonitor, Trace
from tinygen.hil.power.predicted import PredictedSource
from tinygen.hil.power.result import EnergyResult, Idle, WindowEnergy
from tinygen.hil.power.windows import Run, Window, windows_from_edges, windows_from_messages

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
    "supply_warning",
    "windows_from_edges",
    "windows_from_messages",
]
