"""Quantized layers, the XNOR-Net block, and helpers over whole networks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import tinygen.nn as tnn
from tests.nn.test_weight_quantizers import bad, weights_of

torch.set_num_threads(1)


def test_convolution_is_torch_s_with_quantized_weights() -> None:
    layer = tnn.QuantConv2d(6, 4, 3, stride=2, padding=1, dilation=2, groups=2, weight_quantizer=tnn.BWN())
    x = weights_of(1, (2, 6, 9, 9), 1.0)
    quantized = tnn.BWN()(layer.weight)
    expected = nn.functional.conv2d(x, quantized, layer.bias, 2, 1, 2, 2)
    assert torch.equal(layer(x), expected)
    codes, encoding = layer.weight_codes()
    scale = np.float32(encoding.scale)[:, None, None, None]
    assert np.array_equal(encoding.integers(codes).astype(np.float32) * scale, quantized.detach().numpy())
    assert layer.kernel_scales() is None


def test_linear_quantizes_its_input_first() -> None:
    layer = tnn.QuantLinear(8, 3, weight_quantizer=tnn.Ternary(), input_quantizer=tnn.Sign())
    x = weights_of(2, (5, 8))
    signs = torch.where(x >= 0, 1.0, -1.0)
    assert torch.equal(layer(x), nn.functional.linear(signs, tnn.Ternary()(layer.weight), layer.bias))
    layer(x).sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None


def test_apsq_layers_give_their_kernel_scales() -> None:
    layer = tnn.QuantConv2d(3, 4, 3, weight_quantizer=tnn.APSQ(1, scale_bits=7))
    codes, encoding = layer.weight_codes()
    scales = layer.kernel_scales()
    assert scales is not None and scales.shape == (4, 3) and scales.max() == 127
    whole = encoding.integers(codes) * scales[:, :, None, None].astype(np.int64)
    assert np.array_equal(whole.astype(np.float32) * np.float32(encoding.scale[0]), layer.quantized_weight().detach())


def test_codebook_layers_keep_their_state() -> None:
    first, second = (tnn.QuantLinear(7, 5, weight_quantizer=tnn.CodebookQuant(3)) for _ in range(2))
    x = weights_of(3, (2, 7))
    output = first(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(x), output)


def test_padding_other_than_zeros_is_refused() -> None:
    bad(lambda: tnn.QuantConv2d(1, 1, 3, padding=1, padding_mode="reflect", weight_quantizer=tnn.BWN()))


@pytest.mark.parametrize(("activation", "last"), [(None, tnn.QuantConv2d), ("relu", nn.ReLU), ("prelu", nn.PReLU)])
def test_xnor_block_has_xnor_net_s_order(activation: str | None, last: type) -> None:
    block = tnn.xnor_block(8, 6, 3, padding=1, activation=activation)
    kinds = [type(module) for module in block]
    assert kinds[:3] == [nn.BatchNorm2d, tnn.Sign, tnn.QuantConv2d] and kinds[-1] is last
    convolution = block[2]
    assert convolution.bias is None and isinstance(convolution.weight_quantizer, tnn.XNORNet)
    x = weights_of(4, (3, 8, 5, 5), 2.0)
    signs = torch.where(block[0](x) >= 0, 1.0, -1.0)
    inner = convolution(signs)
    assert torch.equal(block[:3](x), inner)
    # Zeros beyond the border add nothing: a corner sums 4 of 9 taps of +-1.
    sums = torch.round(inner.detach()[:, :, 0, 0] / convolution.quantized_weight().detach().abs()[:, 0, 0, 0])
    assert float(sums.abs().max()) <= 4 * 8 and bool((sums % 2 == 0).all())


def test_xnor_block_refuses_other_activations() -> None:
    bad(lambda: tnn.xnor_block(4, 4, 3, activation="gelu"))


def test_clip_weights_reaches_quantized_layers_only() -> None:
    network = nn.Sequential(nn.Linear(4, 4), tnn.QuantLinear(4, 4, weight_quantizer=tnn.BinaryConnect()))
    with torch.no_grad():
        for layer in network:
            layer.weight.fill_(3.0)
            layer.weight[0] = -3.0
    tnn.clip_weights(network)
    assert [(layer.weight.min().item(), layer.weight.max().item()) for layer in network] == [(-3.0, 3.0), (-1.0, 1.0)]


def apsq_network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        tnn.QuantConv2d(1, 4, 3, weight_quantizer=tnn.APSQ(1)),
        tnn.QuantConv2d(4, 3, 3, weight_quantizer=tnn.APSQ(2, lazy=False)),
        tnn.QuantConv2d(3, 3, 3, weight_quantizer=tnn.BWN()),
    )


def test_angle_regulariser_is_the_mean_over_kernels_of_the_network() -> None:
    network = apsq_network()
    penalties = [float(layer.weight_quantizer.penalty(layer.weight).detach()) for layer in network[:2]]
    value = tnn.angle_regulariser(network)
    # 4 filters of one input channel (one scaling each), 3 x 4 kernels.
    assert float(value.detach()) == pytest.approx((4 * penalties[0] + 12 * penalties[1]) / 16, rel=1e-5)
    value.backward()
    assert network[0].weight.grad is not None and network[2].weight.grad is None
    assert float(tnn.angle_regulariser(nn.ReLU())) == 0.0


def test_angle_regulariser_brings_the_angle_down() -> None:
    network = apsq_network()
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    start = float(tnn.angle_regulariser(network).detach())
    for _ in range(100):
        optimizer.zero_grad()
        tnn.angle_regulariser(network).backward()
        optimizer.step()
    assert float(tnn.angle_regulariser(network).detach()) < 0.1 * start


def test_freeze_weights_trains_the_rest_with_quantized_weights() -> None:
    network = apsq_network()
    x = weights_of(5, (2, 1, 9, 9), 1.0)
    expected = network.eval()(x)
    network.train()
    assert not torch.equal(network(x), expected)
    tnn.freeze_weights(network)
    assert torch.equal(network(x), expected)
    network(x).sum().backward()
    assert network[0].weight.grad is None and network[0].bias.grad is not None


def test_the_example_in_the_package_s_docstring_runs() -> None:
    text = tnn.__doc__ or ""
    lines = text[text.index("    from torch") : text.index("Weight quantizers")].splitlines()
    scope: dict[str, nn.Module] = {}
    exec("\n".join(line.removeprefix("    ") for line in lines), scope)
    network = scope["network"]
    network(weights_of(6, (4, 1, 8, 8)))
    assert network.eval()(weights_of(7, (2, 1, 8, 8))).shape == (2, 10)


def test_tinygen_itself_does_not_import_torch() -> None:
    subprocess.run([sys.executable, "-c", "import tinygen.cli, sys; assert 'torch' not in sys.modules"], check=True)
