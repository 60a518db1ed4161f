"""The results of compiling a program: generated C, firmware, manifest."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.builds.manifest import Manifest
from tinygen.emit.model import EmittedModel
from tinygen.lowering.network import NetworkProgram
from tinygen.targets.toolchain import BuildResult


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program in a build directory."""

    program: NetworkProgram
    emitted: EmittedModel
    result: BuildResult
    manifest: Manifest
