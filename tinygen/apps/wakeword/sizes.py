"""Memory and cycles of trained networks on boards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.builds.manifest import Manifest
from tinygen.project.wakeword_json import wakeword_app_from_json
from tinygen.verbs.build import BuildOptions, build


@dataclass(frozen=True)
class Size:
    """Cost of one precision on a board.

    Attributes:
        board, name: names of the board and the precision.
        flash, ram: bytes of the firmware; for a switch, of the firmware with all switches.
        weights: bytes of constants of this precision alone.
        cycles: of an inference, predicted; clock_hz: of the board.
    """

    board: str
    name: str
    flash: int
    ram: int
    weights: int
    cycles: int
    clock_hz: int

    @property
    def milliseconds(self) -> float:
        return 1000 * self.cycles / self.clock_hz

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "milliseconds_predicted": self.milliseconds}


def sizes_in(
    work: Path, files: Sequence[str], boards: Sequence[str], progress: Callable[[str, int, int], None] | None
) -> tuple[Size, ...]:
    """Sizes of firmware with a front end.

    Args:
        work: folder of the networks and their JSON; builds are written there as well.
        files: names of networks.
        boards: for which they are built.
    """
    sizes: list[Size] = []
    for done, board in enumerate(boards):
        if progress:
            progress("building for sizes", done, len(boards))
        for file in files:
            app = wakeword_app_from_json(work / f"{file}.json")
            options = BuildOptions(board=board, kernels="compact", app=app)
            sizes += _sizes_of(build(work / f"{file}.tg", work / "builds" / board / file, options).manifest, board)
    return tuple(sizes)


def _sizes_of(manifest: Manifest, board: str) -> list[Size]:
    assert manifest.flash_bytes is not None and manifest.ram_bytes is not None and manifest.clock_hz is not None
    flash, ram, clock = manifest.flash_bytes, manifest.ram_bytes, manifest.clock_hz
    if manifest.network is None:
        weights = {"int8": sum(layer.weight_bytes for layer in manifest.layers)}
        profiles = {"int8": manifest.profile}
    else:
        weights = dict(manifest.network.constant_bytes_apart)
        profiles = {one.name: one.profile for one in manifest.switches}
    return [
        Size(board, name, flash, ram, weights[name], profile.cycles_predicted, clock)
        for name, profile in profiles.items()
        if profile is not None
    ]
