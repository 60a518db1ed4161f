"""Masks trained with the task: their gradient by hand, the ratio over all layers, and that slim is what was trained."""

from __future__ import annotations

import pytest

from tests.support.torch_models import need

torch = need("torch")
torch.set_num_threads(1)

from torch import nn  # noqa: E402

from tests.support.prunable_networks import NETWORKS, exact_images, exact_network, images, network  # noqa: E402
from tinygen.compress.criteria import JointMasks  # noqa: E402
from tinygen.compress.surgery import consistent, slim  # noqa: E402
from tinygen.compress.training import Shuffled, accuracy, finetune  # noqa: E402
from tinygen.errors import UnsupportedError  # noqa: E402
from tinygen.nn import QuantConv2d, Sign, Symmetric8  # noqa: E402


@pytest.mark.parametrize("name", NETWORKS)
def test_slim_is_the_network_under_its_masks(name: str) -> None:
    net, x = exact_network(name), exact_images()
    joint = JointMasks(net, x).eval()
    joint.real.data = torch.randn(joint.real.shape, generator=torch.Generator().manual_seed(1)).double()
    assert 0 < int(joint.binary().sum()) < len(joint.real)
    masks = joint.masks()
    assert consistent(net, x, masks).widened == {}
    assert torch.equal(joint(x), slim(net, x, masks)(x))
    assert torch.equal(net(x), exact_network(name)(x))


def test_gradient_by_hand() -> None:
    """Eq. 3.5: the gradient at m^b is the sum of dF^m F over positions, that at m^r has the sigmoid's slope as well."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Sigmoid(), nn.Conv2d(3, 2, 3)).double().eval()
    x = torch.rand(2, 1, 8, 8).double()
    joint = JointMasks(net, x).eval()
    joint.real.data = torch.tensor([0.7, -0.4, 0.0]).double()
    assert joint.binary().tolist() == [1.0, 0.0, 1.0]
    upstream = torch.rand(2, 2, 4, 4).double()
    ((joint(x) * upstream).sum() + joint.sparsity()).backward()
    maps = net[:3](x).detach()
    given = (maps * torch.tensor([1.0, 0.0, 1.0]).double()[:, None, None]).requires_grad_()
    (net[3](given) * upstream).sum().backward()
    at_binary = (given.grad * maps).sum((0, 2, 3))
    slope = torch.sigmoid(joint.real) * (1 - torch.sigmoid(joint.real))
    # The term of Eq. 3.2: one over the number of filters, at removed ones too.
    torch.testing.assert_close(joint.real.grad, (at_binary + 1 / 3) * slope.detach(), rtol=1e-12, atol=1e-14)


def test_sparsity_is_one_ratio_over_all_layers() -> None:
    net, x = network("plain"), images()
    joint = JointMasks(net, x)
    assert joint.sparsity().item() == 1.0
    joint.real.data[:4] = -1.0  # of the first layer's 8; 8 + 12 + 16 filters have masks, the head has none
    assert joint.sparsity().item() == pytest.approx(32 / 36)
    assert {name: int(mask.sum()) for name, mask in joint.masks().items()} == {
        "first": 4,
        "second.0": 12,
        "dense": 16,
        "head": 10,
    }
    # A mask that stands for several filters counts as often: stem and block share 8, the others stand for 3 layers.
    residual = JointMasks(network("residual"), x)
    assert residual.filters.sum() == 8 * 3 + 12 * 3 + 12 * 2
    assert residual.filters.max() == 3


def test_a_layer_keeps_the_filter_of_its_largest_mask() -> None:
    net, x = network("plain"), images()
    joint = JointMasks(net, x)
    joint.real.data[:] = -1.0
    joint.real.data[3] = -0.5
    masks = joint.masks()
    assert masks["first"].nonzero().flatten().tolist() == [3]
    assert masks["second.0"].sum() == 1 and masks["dense"].sum() == 1
    assert joint.binary().sum() == 3 and joint.sparsity().item() == pytest.approx(3 / 36)


def test_training_takes_filters_and_keeps_the_task() -> None:
    """On digits, as the thesis reports: without the sparsity loss almost nothing goes, with it most filters do."""
    datasets = need("sklearn.datasets")
    digits = datasets.load_digits()
    x = torch.from_numpy(digits.images).float()[:, None] / 16
    labels = torch.from_numpy(digits.target)
    train = Shuffled(x[:1200], labels[:1200], 50, seed=0)
    test = [(x[1200:], labels[1200:])]
    torch.manual_seed(0)
    net = network("plain").train()
    finetune(net, train, 4, 0.05)
    start = accuracy(net, test)
    kept = {}
    for name in ("task", "task and masks"):
        joint = JointMasks(slim(net, x[:1], {}), x[:1])
        penalty = joint.sparsity if name == "task and masks" else None
        finetune(joint, train, 6, 0.02, penalty=penalty, parameters=joint.parameter_groups(0.02, 2.0))
        kept[name] = joint.sparsity().item()
        small = slim(joint.network, x[:1], joint.masks())
        assert torch.allclose(small(x[:9]), joint(x[:9]), atol=1e-5)
    assert start > 0.9
    assert kept["task"] > 0.9 and kept["task and masks"] < 0.6
    assert accuracy(small, test) > start - 0.08


def test_what_cannot_be_masked_is_an_error() -> None:
    with pytest.raises(UnsupportedError, match="no filter can go"):
        JointMasks(nn.Sequential(nn.Conv2d(1, 2, 3)), images())
    net = nn.Sequential(nn.Conv2d(1, 2, 3), QuantConv2d(2, 2, 3, weight_quantizer=Symmetric8(), input_quantizer=Sign()))
    with pytest.raises(UnsupportedError, match="masked and then quantized"):
        JointMasks(net, images())
