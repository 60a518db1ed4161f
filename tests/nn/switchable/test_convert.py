"""Float networks made switchable: what each switch computes, what is shared, what is private."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.switchable_networks import NETWORKS, float_network, images
from tinygen.errors import UnsupportedError
from tinygen.ir.nesting import derived_codes
from tinygen.nn import Affine8, BinaryConnect, LogQuant, QuantConv2d, ReLUQuant, Sign, Symmetric8, TanhQuant
from tinygen.nn import TanhQuantActivation as TanhActivation
from tinygen.nn.switchable import (
    FAMILIES,
    SwitchableConv2d,
    SwitchableLinear,
    SwitchSpec,
    calibrate_switches,
    extract,
    is_switchable,
    set_switch,
    switchable,
    switched,
    switches_of,
)

torch.set_num_threads(1)
FLOAT, HALF_FLOAT = SwitchSpec(32, 32), SwitchSpec(32, 32, 0.5)
MIXED = [SwitchSpec(8, 8), SwitchSpec(2, 4, 0.5), SwitchSpec(4, 2), SwitchSpec(1, 32, 0.3), SwitchSpec(32, 3), FLOAT]


def made(name: str, switches: Sequence[SwitchSpec], family: str = "tanh", seed: int = 0) -> nn.Module:
    """A network whose quantizers have seen images."""
    network = switchable(float_network(name, seed), switches, family)
    calibrate_switches(network, [images(32)])
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_the_float_switch_computes_what_the_network_does(name: str) -> None:
    network, x = float_network(name), images(5)
    both = switchable(network, [FLOAT, HALF_FLOAT])
    assert torch.equal(both(x), network(x)) and not both.training
    assert is_switchable(both) and not is_switchable(network), "the network itself stays as it is"
    set_switch(both, HALF_FLOAT)
    assert both(x).shape == (5, 4) and not torch.equal(both(x), network(x))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("spec", [HALF_FLOAT, SwitchSpec(4, 4, 0.5), *MIXED])
def test_the_plain_network_of_a_switch_computes_the_same(name: str, spec: SwitchSpec) -> None:
    network = made(name, list(dict.fromkeys([*MIXED, spec])))
    plain, x = extract(network, spec), images(5)
    assert not is_switchable(plain) and plain.training is False
    with switched(network, spec.name):
        assert torch.equal(plain(x), network(x))
    assert switches_of(network)[0] == network_switch(network) == MIXED[0], "switched() puts the switch back"


def network_switch(network: nn.Module) -> SwitchSpec:
    (spec,) = {part.switch for part in network.modules() if hasattr(part, "switch")}
    return spec


def test_half_width_is_the_network_of_the_first_filters() -> None:
    """By hand, for the plain network: filters, their inputs, batch norms, columns of the flattened image."""
    network, x = float_network("usual"), images(6)
    parts = {type(part).__name__ + str(i): part for i, part in enumerate(network)}
    assert len(parts) == len(network)
    weight = {i: part.weight.detach() for i, part in enumerate(network) if hasattr(part, "weight")}

    def norm(value: Tensor, i: int, channels: int) -> Tensor:
        part = network[i]
        return nn.functional.batch_norm(
            value,
            part.running_mean[:channels],
            part.running_var[:channels],
            weight[i][:channels],
            part.bias[:channels],
            eps=part.eps,
        )

    value = torch.relu(norm(nn.functional.conv2d(x, weight[0][:5], padding=1), 1, 5))
    value = torch.relu(norm(nn.functional.conv2d(value, weight[3][:4, :5], network[3].bias[:4]), 4, 4))
    value = nn.functional.max_pool2d(value, 2).flatten(1)
    value = torch.relu(norm(nn.functional.linear(value, weight[8][:5, : 4 * 9]), 9, 5))
    value = nn.functional.linear(value, weight[12][:, :5], network[12].bias)
    half = switchable(network, [HALF_FLOAT])
    assert torch.allclose(half(x), value, rtol=1e-5, atol=1e-6)


def test_concatenated_channels_slim_each_by_themselves() -> None:
    network = switchable(float_network("side-by-side"), [FLOAT, HALF_FLOAT])
    plain = extract(network, HALF_FLOAT)
    inner = network.inner.weight.detach()
    assert torch.equal(plain.inner.weight, inner[:3][:, [0, 1, 3, 4, 5]])
    network = switchable(float_network("flattened"), [FLOAT, HALF_FLOAT])
    columns = [c * 16 + i for c in (0, 1, 3, 4, 5) for i in range(16)]
    assert torch.equal(extract(network, HALF_FLOAT).dense.weight, network.dense.weight[:, columns])


def test_added_and_depthwise_channels_stay_together() -> None:
    plain = extract(switchable(float_network("residual"), [HALF_FLOAT]), HALF_FLOAT)
    assert [layer.out_channels for layer in (plain.stem, plain.left, plain.right)] == [4, 4, 4]
    plain = extract(switchable(float_network("separable"), [HALF_FLOAT]), HALF_FLOAT)
    assert (plain[3].in_channels, plain[3].groups, plain[3].out_channels) == (3, 3, 3)
    assert plain[-1].in_features == 5


def test_what_is_added_to_the_input_stays_whole() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu, self.second = nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.second(self.relu(self.first(x)))

    plain = extract(switchable(Skip(), [HALF_FLOAT]), HALF_FLOAT)
    assert plain.first.out_channels == 4 and plain.second.out_channels == 3
    assert plain(images(2)).shape == (2, 3, 8, 8)


def test_quantizers_of_the_usual_order() -> None:
    network = switchable(float_network("usual"), [SwitchSpec(2, 4), SwitchSpec(4, 3), SwitchSpec(1, 4)])
    first, second, fourth = (extract(network, spec) for spec in switches_of(network))
    assert isinstance(first[2], ReLUQuant) and (first[2].bits, second[2].bits) == (4, 3)
    assert isinstance(first[10], Affine8) and first[10].relu, "the last layer takes int8"
    kinds = [type(layer.weight_quantizer.quantizer) for layer in (first[0], first[3], first[12], fourth[3])]
    assert kinds == [Symmetric8, TanhQuant, Symmetric8, BinaryConnect]
    assert first[0].input_quantizer is not None and first[3].input_quantizer is None


def test_quantizers_of_xnor_order() -> None:
    network = switchable(float_network("xnor-order"), [SwitchSpec(1, 1), SwitchSpec(2, 2)])
    one, two = (extract(network, spec) for spec in switches_of(network))
    assert isinstance(one[1], nn.ReLU) and isinstance(one[2].quantizer, Sign)
    assert isinstance(two[6].quantizer, TanhActivation) and two[6].quantizer.bits == 2
    assert isinstance(one[9], Affine8) and isinstance(one[8], nn.BatchNorm2d), "the usual order in front of the last"


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str) -> None:
    """Every family has 1 and 4 bits for weights; codes of half width are the first of those of the full one."""
    if family == "codebook":
        switches = [SwitchSpec(4, 4), SwitchSpec(4, 4, 0.5)]
    else:
        switches = [SwitchSpec(bits, 4, width) for bits in (1, 4) for width in (1.0, 0.5)]
    network = made("xnor-order", switches, family)
    for spec in switches:
        layer = extract(network, spec)[3]
        codes, encoding = layer.weight_codes()
        whole, same = extract(network, SwitchSpec(spec.weight_bits, 4))[3].weight_codes()
        assert np.array_equal(codes, whole[: len(codes), : codes.shape[1]])
        assert encoding.scale == same.scale[: len(encoding.scale)]


def test_log_family() -> None:
    layer = extract(made("usual", [SwitchSpec(4, 3)], "log"), "w4a3")[3]
    assert isinstance(layer.weight_quantizer.quantizer, LogQuant) and layer.weight_codes()[0].max() <= 7


def test_codes_of_fewer_bits_are_derived() -> None:
    """8-bit codes hold those of 4, 2 and 1 bits: random weights, zeros, tiny ones, and all that lie at a boundary."""
    generator = torch.Generator().manual_seed(0)
    top = torch.tensor(1.3, dtype=torch.float32)
    cuts = [(2 * j - 255) / 255 for j in range(256)] + [(2 * j - 15) / 15 for j in range(16)] + [1 / 3, -1 / 3]
    at = torch.atanh(torch.tanh(top.double()) * torch.tensor(cuts, dtype=torch.float64).clamp(-0.999, 0.999)).float()
    around = [at, torch.nextafter(at, top), torch.nextafter(at, -top)]
    tiny = torch.tensor([0.0, -0.0, 1e-30, -1e-30, -1e-45, 1e-17, -1e-17])
    weights = torch.cat([*around, tiny, top[None], -top[None], 0.4 * torch.randn(5000, generator=generator)])
    codes = {bits: TanhQuant(bits).codes(weights.clamp(-1.3, 1.3))[0] for bits in (8, 6, 4, 3, 2, 1)}
    for wide, narrow in ((8, 4), (8, 2), (8, 1), (4, 2), (4, 1), (2, 1), (6, 3), (6, 2), (3, 1)):
        assert np.array_equal(derived_codes(codes[wide], wide, narrow), codes[narrow]), (wide, narrow)
    assert np.array_equal(codes[1], BinaryConnect().codes(weights.clamp(-1.3, 1.3))[0]), "1 bit is the sign"
    assert len(np.unique(codes[8])) == 256


def test_all_switches_of_a_network_share_the_codes_of_eight_bits() -> None:
    specs = [SwitchSpec(bits, 4, width) for bits in (8, 4, 2, 1) for width in (1.0, 0.5)]
    network = made("xnor-order", specs)
    widest = extract(network, "w8a4")[3].weight_codes()[0]
    for spec in specs:
        codes = extract(network, spec)[3].weight_codes()[0]
        part = widest[: codes.shape[0], : codes.shape[1]]
        assert np.array_equal(codes, derived_codes(part, 8, spec.weight_bits)), spec.name


def test_batch_norm_and_ranges_are_private() -> None:
    """Training one switch moves the shared weights, and nothing that is another switch's."""
    specs = [SwitchSpec(4, 4), SwitchSpec(2, 2), SwitchSpec(4, 4, 0.5), FLOAT]
    network = made("xnor-order", specs).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    set_switch(network, "w2a2")
    network(images(16)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    private = {name for name in changed if ".per_switch." in name}
    assert private and all(".per_switch.w2a2." in name for name in private), private
    for name in ("2.norm.per_switch.w2a2.running_mean", "2.norm.per_switch.w2a2.weight", "3.weight", "11.bias"):
        assert name in changed, name
    assert any(name.endswith("w2a2.running_range") for name in changed)


def test_every_switch_starts_from_the_batch_norm_of_the_float_network() -> None:
    network = float_network("usual")
    both = switchable(network, [SwitchSpec(2, 2), SwitchSpec(2, 2, 0.5)])
    for spec, count in zip(switches_of(both), (10, 5), strict=True):
        norm = extract(both, spec)[1]
        for name, value in norm.state_dict().items():
            whole = network[1].state_dict()[name]
            assert torch.equal(value, whole[:count] if whole.dim() else whole)


def test_unknown_switches() -> None:
    network = switchable(float_network("usual"), [SwitchSpec(4, 4), SwitchSpec(2, 2)])
    with pytest.raises(UnsupportedError, match=r"(?s)there is no switch w3a3.*Switches: w4a4, w2a2"):
        set_switch(network, SwitchSpec(3, 3))
    with pytest.raises(UnsupportedError, match="there is no switch nonsense"):
        extract(network, "nonsense")
    with pytest.raises(UnsupportedError, match="no module of it is switchable"):
        switches_of(float_network("usual"))
    other = switchable(float_network("usual"), [SwitchSpec(4, 4)])
    with pytest.raises(UnsupportedError, match="have different switches"):
        set_switch(nn.Sequential(network, other), "w4a4")


def test_bad_networks_and_switches() -> None:
    usual, four = float_network("usual"), SwitchSpec(4, 4, 0.5)

    def bad(network: nn.Module, said: str, specs: Sequence[SwitchSpec] = (four,), **options: object) -> None:
        with pytest.raises(UnsupportedError, match=said):
            switchable(network, list(specs), **options)  # type: ignore[arg-type]

    bad(usual, "an empty list of switches", ())
    bad(usual, "w4a4_x0_5 is there twice", (four, four))
    bad(usual, r"(?s)1-bit activations \(w1a1\) in the place of a ReLU.*behind the ReLU", (SwitchSpec(1, 1),))
    bad(usual, "family 'tan'", family="tan")
    bad(usual, "no layer nothing", eight_bit=["nothing"])
    bad(usual, r"2 .LogQuantActivation.: 8 bits asked for", (SwitchSpec(4, 8),), family="log")
    bad(switchable(usual, [four]), "quantized already")
    bad(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)), "no nn.ReLU between the layers")
    bad(nn.Sequential(nn.ReLU()), "no Conv2d or Linear")
    bad(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Upsample(2), nn.ReLU(), nn.Conv2d(4, 4, 1)), "Upsample is not known")
    bad(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(5, 4, 1)), "takes 5 channels and gets 4")
    layer = nn.Conv2d(4, 4, 1)
    bad(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), layer, nn.ReLU(), layer), "is used twice")
    grouped = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2), nn.ReLU(), nn.Conv2d(4, 2, 1))
    bad(grouped, "2 groups of channels do not slim")
    assert isinstance(switchable(grouped, [SwitchSpec(4, 4)])[2], SwitchableConv2d), "without narrow switches they may"


def test_sums_of_unlike_branches_are_refused() -> None:
    class Unlike(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)
            self.relu, self.last = nn.ReLU(), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.relu(torch.cat((self.a(x), self.b(x)), 1) + self.c(x)))

    with pytest.raises(UnsupportedError, match=r"a sum of 2\+2 and 4 channels"):
        switchable(Unlike(), [HALF_FLOAT])


def test_layers_by_hand() -> None:
    """Built without a conversion: the layers alone do what they say."""
    specs = [SwitchSpec(4, 4), SwitchSpec(2, 4, 0.5)]
    layer = SwitchableLinear(6, 4, switches=specs, weight_quantizer=TanhQuant)
    layer.switch = specs[1]
    x = torch.randn(3, 3)
    expected = nn.functional.linear(x, TanhQuant(2)(layer.weight)[:2, :3], layer.bias[:2])
    assert torch.equal(layer(x), expected)
    with pytest.raises(UnsupportedError, match="padding mode"):
        SwitchableConv2d(1, 1, 3, padding=1, padding_mode="circular", switches=specs, weight_quantizer=TanhQuant)
    assert isinstance(SwitchableConv2d(2, 2, 1, switches=specs, weight_quantizer=TanhQuant).at(specs[0]), QuantConv2d)
