"""What a build costs to run: one inference of every switch in the emulated board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import ToolchainError
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Program
from tinygen.targets.board import Board
from tinygen.verbs.device import Device, open_device
from tinygen.verbs.predicted import profile_json


def add_profiles(manifest: dict[str, Any], folder: Path, network: NetworkProgram, board: Board) -> None:
    """Adds `profile` to a manifest, and to each of its switches: instructions and predicted cycles on zero input.

    None when the emulator is not installed.
    """
    profiles = _profiles(folder, network, board)
    manifest["profile"] = profiles[0]
    for entry, profile in zip(manifest["switches"], profiles, strict=bool(manifest["switches"])):
        entry["profile"] = profile


def _profiles(folder: Path, network: NetworkProgram, board: Board) -> list[dict[str, Any] | None]:
    profiles: list[dict[str, Any] | None] = []
    try:
        for index, program in enumerate(network.programs):
            # Each right after reset, with cold caches: as if it were alone.
            with open_device(folder, engine="unicorn", count=True) as device:
                profiles.append(_profile(device, index, program, board))
    except ToolchainError:
        return [None] * len(network.switches)
    return profiles


def _profile(device: Device, index: int, program: Program, board: Board) -> dict[str, Any]:
    device.select(index)
    measured = device.measure([np.zeros(tensor.shape, tensor.dtype) for tensor in program.inputs])
    assert measured.profile is not None
    return profile_json(measured.profile, program_names(program), board) | {
        "stack_used_bytes": device.stack_used,
        "functions": dict(sorted(measured.profile.functions.items(), key=lambda item: -item[1])),
    }


def program_names(program: Program) -> list[str]:
    """Names of the layers that run code."""
    return [step.node.op.name for step in program.layers]
