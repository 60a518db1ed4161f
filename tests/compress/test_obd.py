"""Optimal Brain Damage: both diagonals against torch's own Hessians and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian

from tests.compress.test_masking import network
from tinygen.compress.masking import apply_masks
from tinygen.compress.masks import prunable
from tinygen.compress.obd import obd_scores, prune_by_obd
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn import convert

torch.set_num_threads(1)


def data(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 2, 6, 6, generator=generator), torch.randint(0, 4, (count,), generator=generator)


def test_gauss_newton_is_the_hessian_of_a_linear_network() -> None:
    """The logits are linear in the weights: the Gauss-Newton matrix is the Hessian."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 4)).double()
    images, labels = data()
    images = images.double()

    def loss(weight: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(net, {"1.weight": weight}, (images,)), labels)

    weight = net[1].weight.detach()
    diagonal = hessian(loss)(weight).reshape(288, 288).diagonal().reshape(4, 72)
    torch.testing.assert_close(obd_scores(net, images, labels)["1"], diagonal * weight**2 / 2)


def test_gauss_newton_of_a_convolution() -> None:
    """J^T (diag p - p p^T) J, from whole Jacobians of the logits."""
    net = network().eval()
    images, labels = data(3)
    expected = torch.zeros_like(net[3].weight, dtype=torch.float64)
    for image in images:

        def logits(weight: Tensor, image: Tensor = image) -> Tensor:
            return functional_call(net, {"3.weight": weight}, (image[None],))[0]

        jacobian = torch.func.jacrev(logits)(net[3].weight.detach()).double()
        p = torch.softmax(net(image[None])[0], 0).double().detach()
        curvature = torch.diag(p) - torch.outer(p, p)
        expected += torch.einsum("cokyx,cd,dokyx->okyx", jacobian, curvature, jacobian) / len(images)
    expected *= net[3].weight.detach().double() ** 2 / 2
    torch.testing.assert_close(obd_scores(net, images, labels)["3"], expected, rtol=1e-4, atol=1e-12)


def test_empirical_fisher() -> None:
    net = network().eval()
    images, labels = data(4)
    squares = {name: torch.zeros_like(layer.weight) for name, layer in prunable(net).items()}
    for image, label in zip(images, labels, strict=True):
        net.zero_grad()
        nn.functional.cross_entropy(net(image[None]), label[None]).backward()
        for name, layer in prunable(net).items():
            squares[name] += layer.weight.grad**2 / 4
    found = obd_scores(net, images, labels, curvature="fisher")
    for name, layer in prunable(net).items():
        torch.testing.assert_close(found[name].float(), squares[name] * layer.weight.detach() ** 2 / 2)
    kernels = obd_scores(net, images, labels, curvature="fisher", level="kernel")
    torch.testing.assert_close(kernels["3"], found["3"].sum((2, 3)))


def test_it_finds_weights_that_do_not_matter_where_magnitude_does_not() -> None:
    """Large weights on an input that is always 0 cost nothing."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 4))
    images, labels = data(20)
    images[:, 0] = 0.0
    net[1].weight.data[:, :36] = 10.0
    masks = prune_by_obd(net, images, labels, 0.5)
    assert not masks["1"][:, :36].any() and bool(masks["1"][:, 36:].all())


def test_masked_and_quantized_networks() -> None:
    images, labels = data(2)
    net = network()
    apply_masks(net, {"3": torch.eye(6, 2, dtype=torch.bool)})
    net.train()
    found = obd_scores(net, images, labels, level="kernel", exclude=["0"])
    assert net.training and list(found) == ["3", "8"]
    assert not found["3"][~torch.eye(6, 2, dtype=torch.bool)].any()
    quantized = convert(network(), "w4a4")
    quantized(images)
    masks = prune_by_obd(quantized, images, labels, 0.5, level="kernel", curvature="fisher", empty_filters=True)
    assert masks["3"].shape == (6, 2) and sum(int(mask.sum()) for mask in masks.values()) > 0
    # The first layer and the one in groups stay whole by default.
    assert set(prune_by_obd(quantized, images, labels, 0.5, level="kernel", curvature="fisher")) == {"8"}


def test_bad_input() -> None:
    images, labels = data(2)
    with pytest.raises(UnsupportedError, match=r"curvature 'hessian'\nUse one of gauss-newton, fisher"):
        obd_scores(network(), images, labels, curvature="hessian")
    with pytest.raises(ModelError, match="2 images and 1 labels"):
        obd_scores(network(), images, labels[:1])
    frozen = network()
    frozen[3].weight.requires_grad_(False)
    with pytest.raises(UnsupportedError, match=r"3: its weights get no gradient\nRank a network"):
        obd_scores(frozen, images, labels)
    shared = convert(network(), "codebook-16")
    shared(images)
    with pytest.raises(UnsupportedError, match="3: its weights get no gradient"):
        obd_scores(shared, images, labels)
