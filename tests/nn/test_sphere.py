"""Training on a sphere (thesis, chapter 7): Algorithm 4 against NumPy, norms, and the MHE regulariser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tinygen.nn as tnn
from tests.nn.test_weight_quantizers import weights_of
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn import sphere

torch.set_num_threads(1)


def layer_of(seed: int) -> tnn.QuantConv2d:
    torch.manual_seed(seed)
    return tnn.QuantConv2d(2, 5, 3, bias=False, weight_quantizer=tnn.BinaryConnect())


def norms(weight: torch.Tensor, granularity: str) -> np.ndarray:
    rows = weight.detach().double().flatten(1) if granularity == "filter" else weight.detach().double().reshape(1, -1)
    return rows.norm(dim=1).numpy()


@pytest.mark.parametrize("granularity", ["filter", "layer"])
@pytest.mark.parametrize("retraction", ["normalise", "exponential"])
@pytest.mark.parametrize("adam", [False, True])
def test_norms_stay_one_and_the_loss_falls(granularity: str, retraction: str, adam: bool) -> None:
    layer = layer_of(1)
    inner = torch.optim.Adam(layer.parameters(), 0.01) if adam else torch.optim.SGD(layer.parameters(), 0.02, 0.9)
    optimizer = tnn.OnSphere(inner, [layer.weight], granularity=granularity, retraction=retraction)
    np.testing.assert_allclose(norms(layer.weight, granularity), 1.0, atol=1e-6)
    x = weights_of(2, (16, 2, 6, 6), 1.0)
    target = layer_of(3)(x).detach()
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (layer(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        np.testing.assert_allclose(norms(layer.weight, granularity), 1.0, atol=1e-6)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("retraction", ["normalise", "exponential"])
def test_a_step_is_algorithm_4(retraction: str) -> None:
    weight = nn.Parameter(weights_of(4, (3, 8)).double())
    optimizer = tnn.OnSphere(torch.optim.SGD([weight], 0.3, momentum=0.5), [weight], retraction=retraction)
    point = weight.detach().numpy().copy()
    velocity = np.zeros_like(point)
    for step in range(3):
        gradient = weights_of(5 + step, (3, 8), 1.0).double()
        weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.5 * velocity + gradient.numpy()
        tangent = velocity - point * (point * velocity).sum(1, keepdims=True)
        delta = -0.3 * tangent
        length = np.linalg.norm(delta, axis=1, keepdims=True)
        if retraction == "normalise":
            point = (point + delta) / np.linalg.norm(point + delta, axis=1, keepdims=True)
        else:
            point = point * np.cos(length) + delta / length * np.sin(length)
        np.testing.assert_allclose(weight.detach().numpy(), point, atol=1e-12)


def test_adam_normalises_before_the_projection() -> None:
    weight = nn.Parameter(weights_of(8, (2, 6)).double())
    optimizer = tnn.OnSphere(torch.optim.Adam([weight], 0.1), [weight])
    point = weight.detach().numpy().copy()
    gradient = weights_of(9, (2, 6), 1e-3).double()
    weight.grad = gradient.clone()
    optimizer.step()
    # Adam's first step is -rate * g / (|g| + eps).
    delta = -0.1 * gradient.numpy() / (np.abs(gradient.numpy()) + 1e-8)
    delta -= point * (point * delta).sum(1, keepdims=True)
    expected = (point + delta) / np.linalg.norm(point + delta, axis=1, keepdims=True)
    np.testing.assert_allclose(weight.detach().numpy(), expected, atol=1e-12)


def test_projection_is_tangent_and_leaves_tangents_alone() -> None:
    point = nn.functional.normalize(weights_of(10, (4, 7)).double(), dim=1)
    tangent = sphere.project(point, weights_of(11, (4, 7), 1.0).double())
    assert float((tangent * point).sum(1).abs().max()) < 1e-14
    torch.testing.assert_close(sphere.project(point, tangent), tangent, atol=1e-15, rtol=0)


def test_a_step_of_zero_goes_nowhere() -> None:
    point = nn.functional.normalize(weights_of(12, (4, 7)).double(), dim=1)
    for retract in (sphere.retract_by_normalising, sphere.retract_by_exponential_map):
        torch.testing.assert_close(retract(point, torch.zeros_like(point)), point, atol=1e-15, rtol=0)


def test_the_exponential_map_moves_along_the_sphere_by_the_step_s_length() -> None:
    point = nn.functional.normalize(weights_of(13, (4, 7)).double(), dim=1)
    tangent = 0.2 * sphere.project(point, weights_of(14, (4, 7), 1.0).double())
    moved = sphere.retract_by_exponential_map(point, tangent)
    torch.testing.assert_close(torch.arccos((moved * point).sum(1)), tangent.norm(dim=1), atol=1e-10, rtol=1e-8)


def test_other_parameters_move_as_the_optimiser_says() -> None:
    on, off = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    inner = torch.optim.SGD([{"params": [on]}, {"params": [off], "weight_decay": 0.5}], 0.1)
    optimizer = tnn.OnSphere(inner, [on])
    on.grad, off.grad = torch.ones(2, 2), torch.ones(2, 2)
    optimizer.step()
    torch.testing.assert_close(off.detach(), torch.full((2, 2), 0.85))
    # The gradient at (1, 1)/sqrt 2 is radial: nothing is left of it.
    torch.testing.assert_close(on.detach(), torch.full((2, 2), 0.5**0.5))


def test_closures_and_schedulers_work() -> None:
    layer = layer_of(2)
    inner = torch.optim.SGD(layer.parameters(), 0.1)
    optimizer = tnn.OnSphere(inner, layer.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(inner, 1, 0.5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = layer(torch.ones(1, 2, 3, 3)).square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > 0
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.05
    optimizer.load_state_dict(optimizer.state_dict())


def test_what_has_no_place_on_a_sphere_is_refused() -> None:
    weight, other = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    zeros = nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(UnsupportedError, match="weight_decay=0"):
        tnn.OnSphere(torch.optim.AdamW([weight]), [weight])
    with pytest.raises(UnsupportedError, match="not the optimiser's"):
        tnn.OnSphere(torch.optim.SGD([weight], 0.1), [other])
    with pytest.raises(ModelError, match="no direction"):
        tnn.OnSphere(torch.optim.SGD([zeros], 0.1), [zeros])
    with pytest.raises(UnsupportedError, match="granularity"):
        tnn.OnSphere(torch.optim.SGD([weight], 0.1), [weight], granularity="network")
    with pytest.raises(UnsupportedError, match="retraction"):
        tnn.OnSphere(torch.optim.SGD([weight], 0.1), [weight], retraction="none")


def test_energy_is_equation_7_7() -> None:
    weights = weights_of(15, (5, 2, 3, 3), 2.0)
    filters = weights.numpy().astype(np.float64).reshape(5, -1)
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    pairs = [1 / np.arccos(filters[i] @ filters[j]) for i in range(5) for j in range(5) if i != j]
    assert float(tnn.hyperspherical_energy(weights)) == pytest.approx(np.mean(pairs), rel=1e-5)


def test_energy_of_equal_opposite_zero_and_single_filters_is_finite() -> None:
    filters = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], requires_grad=True)
    energy = tnn.hyperspherical_energy(filters)
    energy.backward()
    assert bool(torch.isfinite(energy)) and bool(torch.isfinite(filters.grad).all())
    assert float(tnn.hyperspherical_energy(filters[:1]).detach()) == 0.0


def test_descending_the_energy_spreads_filters() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, 0.0], [0.9, 0.4], [0.9, -0.4]]))
    optimizer = tnn.OnSphere(torch.optim.SGD([weight], 0.5), [weight])
    for _ in range(300):
        optimizer.zero_grad()
        tnn.hyperspherical_energy(weight).backward()
        optimizer.step()
    cosines = (weight @ weight.T).detach()[[0, 0, 1], [1, 2, 2]]
    torch.testing.assert_close(cosines, torch.full((3,), -0.5), atol=0.02, rtol=0)
