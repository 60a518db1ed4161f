"""Every kernel of ours that the board's core can run, bit for bit, and its cycles."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.cover import Batch
from hil.foreign import gaps_of
from hil.place import Place
from hil.record import Record
from hil.timing import compare, points_of
from tinygen.builds.manifest import read_manifest
from tinygen.hil.device import open_device
from tinygen.hil.ports import EMULATED, LABWIRED
from tinygen.targets.first_light import KERNEL
from tinygen.verbs.build import BuildOptions, build


def test_kernels(place: Place, batch: Batch, folder: Path, record: Record) -> None:
    options = BuildOptions(
        board=str(place.board.path), toolchain=place.toolchain, layer_kernels=tuple(batch.kernels.items())
    )
    build(batch.model, folder, options, profile=False)
    manifest = read_manifest(folder)
    record.asked(batch.kernels.values())
    with place.device(folder) as device, gaps_of(place, folder, batch.model.content.name):
        wrong, sample = compare(device, folder, count=2)
        record.points += points_of(KERNEL, place, device, folder, sample)
    record.ran(layer.kernel for layer in manifest.layers)
    kernel_of = {output.name: layer.kernel for layer in manifest.layers for output in layer.outputs}
    names = ", ".join(kernel_of.get(name, name) for name in wrong)
    if wrong and place.port == LABWIRED and not _wrong_here(folder):
        pytest.skip(f"labwired computes otherwise than the semantics and our emulated board: {names}")
    assert not wrong, f"wrong: {names}"


def _wrong_here(folder: Path) -> list[str]:
    """Outputs of the same firmware that are wrong on our emulated board, too."""
    with open_device(folder, port=EMULATED) as device:
        return compare(device, folder, count=2)[0]
