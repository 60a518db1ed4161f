"""Every kernel of ours that the board's core can run, bit for bit, and its cycles."""

from __future__ import annotations

from pathlib import Path

from hil.cover import Batch
from hil.place import Place
from hil.record import Record
from hil.timing import compare, points_of
from tinygen.builds.manifest import read_manifest
from tinygen.targets.first_light import KERNEL
from tinygen.verbs.build import BuildOptions, build


def test_kernels(place: Place, batch: Batch, folder: Path, record: Record) -> None:
    options = BuildOptions(
        board=str(place.board.path), toolchain=place.toolchain, layer_kernels=tuple(batch.kernels.items())
    )
    build(batch.model, folder, options, profile=False)
    manifest = read_manifest(folder)
    record.asked(batch.kernels.values())
    record.ran(layer.kernel for layer in manifest.layers)
    with place.device(folder) as device:
        wrong, sample = compare(device, folder, count=2)
        record.points += points_of(KERNEL, place, device, folder, sample)
    kernel_of = {output.name: layer.kernel for layer in manifest.layers for output in layer.outputs}
    assert not wrong, f"wrong: {', '.join(kernel_of.get(name, name) for name in wrong)}"
