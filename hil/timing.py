"""A build on its board: its outputs beside the model's, its cycles beside those of its emulated twin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hil.place import Place
from tinygen.builds.arrays import random_samples
from tinygen.builds.compare import differing
from tinygen.hil.device import Device, open_device
from tinygen.hil.semantics import semantics_of
from tinygen.targets.first_light import Point

Sample = Sequence[np.ndarray]


def compare(device: Device, folder: Path, *, count: int) -> tuple[list[str], Sample]:
    """Names of the outputs that are not the model's, on random inputs; and the last input."""
    semantics = semantics_of(folder, None)
    samples = random_samples([semantics.graph.tensors[name] for name in semantics.graph.inputs], count, 0)
    wrong: list[str] = []
    for index in range(count):
        sample = samples.sample(index)
        pairs = zip(semantics.graph.outputs, semantics.outputs(sample), device.infer(sample), strict=True)
        wrong += [name for name, ours, theirs in pairs if differing(ours, theirs) is not None]
    return list(dict.fromkeys(wrong)), sample


def points_of(kind: str, place: Place, device: Device, folder: Path, sample: Sample) -> list[Point]:
    """Cycles of each layer, once caches are warm."""
    counted = _layers(device, sample) if not place.is_foreign else None
    if place.is_real or place.is_foreign:
        with open_device(folder, port="emulated", count=True) as twin:
            predicted: list[int] | None = _layers(twin, sample)
            profile = twin.measure(sample).profile
    else:
        predicted, profile = counted, device.measure(sample).profile
    assert predicted is not None and profile is not None
    layers = device.manifest.layers
    return [
        Point(
            kind,
            layer.name,
            layer.kernel,
            None if counted is None else counted[index],
            predicted[index],
            profile.layer_stalls[index],
            profile.layers[index],
        )
        for index, layer in enumerate(layers)
    ]


def _layers(device: Device, sample: Sample) -> list[int]:
    device.timed(sample)
    return device.measure_layers(sample)[0]
