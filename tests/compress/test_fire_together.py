"""Labels of fire together, wire together: what the text of the thesis says, not what its algorithm prints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tinygen.compress.fire_together import (
    FiringProfile,
    MaskedLayer,
    firing_labels,
    maxima,
    prediction_loss,
    winning_labels,
)
from tinygen.errors import ModelError, UnsupportedError


def _by_hand(row: list[float], mass: float) -> list[bool]:
    """Filter by filter, the largest first, of equal ones the first, until the mass is there."""
    kept, reached = [False] * len(row), 0.0
    for place in sorted(range(len(row)), key=lambda c: (-row[c], c)):
        if row[place] == 0 or reached >= mass * sum(row):
            break
        kept[place] = True
        reached += row[place]
    return kept


def test_labels_are_places_of_filters() -> None:
    rows = torch.tensor([[1.0, 5.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [4.0, 4.0, 4.0, 4.0], [9.0, 0.5, 0.25, 0.25]])
    assert firing_labels(rows, 0.6).tolist() == [
        [False, True, False, False],
        [False, False, False, False],
        [True, True, True, False],
        [True, False, False, False],
    ]
    for seed in range(20):
        drawn = torch.from_numpy(np.random.default_rng(seed).integers(0, 5, (6, 9))).float()
        for mass in (0.05, 0.5, 0.8, 0.99):
            wanted = [_by_hand(row, mass) for row in drawn.double().tolist()]
            assert firing_labels(drawn, mass).tolist() == wanted


def test_a_mass_of_one_prunes_what_does_not_fire_and_nothing_else() -> None:
    """Sums of float32 may go beyond 1 before the last filters: these are kept all the same."""
    rows = torch.rand(200, 64, generator=torch.Generator().manual_seed(0)) + 1e-7
    rows[:, 7] = 0
    labels = firing_labels(rows, 1.0)
    assert not labels[:, 7].any() and labels.sum() == 200 * 63


def test_signatures_of_fixed_length() -> None:
    rows = torch.tensor([[3.0, 3.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    assert winning_labels(rows, 2).tolist() == [[True, True, False, False]] * 2
    with pytest.raises(UnsupportedError, match="5 of 4 filters"):
        winning_labels(rows, 5)
    with pytest.raises(UnsupportedError, match="a mass of 0"):
        firing_labels(rows, 0)


def test_maxima_are_of_magnitudes() -> None:
    outputs = torch.tensor([[[[-3.0, 1.0]], [[0.5, 2.0]]]], requires_grad=True)
    found = maxima(outputs)
    assert found.tolist() == [[3.0, 2.0]] and not found.requires_grad


def test_the_loss_is_a_sum_over_filters() -> None:
    """Of two layers; doubling the batch does not change it."""
    logits = [torch.tensor([[0.0, 2.0]]), torch.tensor([[-1.0, 0.0, 1.0]])]
    labels = [torch.tensor([[True, True]]), torch.tensor([[False, False, True]])]
    wanted = np.log(2) + np.log1p(np.exp(-2)) + 2 * np.log1p(np.exp(-1)) + np.log(2)
    assert float(prediction_loss(logits, labels)) == pytest.approx(wanted, rel=1e-6)
    twice = [torch.cat([a, a]) for a in logits], [torch.cat([a, a]) for a in labels]
    assert float(prediction_loss(*twice)) == pytest.approx(wanted, rel=1e-6)


def _profile() -> FiringProfile:
    rng = torch.Generator().manual_seed(1)
    layers = {"a": MaskedLayer(64, 9, 3, 16), "b": MaskedLayer(16, 9, 16, 32, source="a")}
    peaks = {name: torch.rand(50, layer.outputs, generator=rng) for name, layer in layers.items()}
    return FiringProfile(layers, peaks)


def test_mac_of_a_mass() -> None:
    profile = _profile()
    live = {name: firing_labels(peaks, 0.7).sum(dim=1).numpy() for name, peaks in profile.peaks.items()}
    heads = 3 * 16 + 16 * 32
    wanted = np.mean(64 * 9 * 3 * live["a"] + 16 * 9 * live["a"] * live["b"]) + heads
    assert profile.macs(0.7) == pytest.approx(wanted)
    outputs_only = np.mean(64 * 9 * 3 * live["a"] + 16 * 9 * 16 * live["b"]) + heads
    assert profile.macs(0.7, skip_inputs=False) == pytest.approx(outputs_only)


def test_a_mass_is_found_before_training() -> None:
    profile = _profile()
    for wanted in (0.3, 0.5, 0.8):
        mass = profile.mass_for(wanted)
        assert profile.reduction(mass) >= wanted > profile.reduction(mass + 2**-20)
    assert profile.reduction(1.0) < 0  # everything fires, and predictors cost
    with pytest.raises(ModelError, match=r"no mass spares 100\.0 %"):
        profile.mass_for(1.0)
