"""Profiles of a build: one inference of every switch on the emulated board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tinygen.builds.manifest import Manifest, ProfileEntry, Unfinished
from tinygen.builds.plain import from_plain
from tinygen.builds.predicted import profile_json
from tinygen.errors import ToolchainError
from tinygen.hil.device import open_device
from tinygen.lowering.layers import all_layers
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Program
from tinygen.targets.board import Board


def with_profiles(manifest: Manifest, folder: Path, network: NetworkProgram, board: Board) -> Manifest:
    """The manifest, and each of its switches, with instructions and predicted cycles on zero input.

    Where the emulator is not installed, `profile_note` says so instead.
    """
    try:
        profiles = [_profile(manifest, folder, index, program, board) for index, program in enumerate(network.programs)]
    except ToolchainError as error:
        return replace(manifest, profile_note=f"not predicted: {error.what}; {error.fix}")
    pairs = zip(manifest.switches, profiles, strict=bool(manifest.switches))
    switches = tuple(replace(entry, profile=profile) for entry, profile in pairs)
    return replace(manifest, profile=profiles[0], switches=switches)


def _profile(manifest: Manifest, folder: Path, index: int, program: Program, board: Board) -> ProfileEntry:
    """Right after reset, with cold caches: as if the switch were alone."""
    with open_device(Unfinished(folder, manifest), engine="unicorn", count=True) as device:
        device.select(index)
        measured = device.measure([np.zeros(tensor.shape, tensor.dtype) for tensor in program.inputs])
        assert measured.profile is not None
        content = profile_json(measured.profile, program_names(program), board) | {
            "stack_used_bytes": device.stack_used,
            "functions": dict(sorted(measured.profile.functions.items(), key=lambda item: -item[1])),
        }
        return from_plain(ProfileEntry, content)


def program_names(program: Program) -> list[str]:
    """Names of the layers that run code."""
    return [layer.name for layer in all_layers(program)]
