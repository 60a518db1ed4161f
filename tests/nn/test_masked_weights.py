"""Masked weights in every quantizer: exact zeros in output and codes, and all else as if they had been removed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tinygen.nn as tnn
from tests.nn.test_weight_quantizers import EXACT, real, weights_of
from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import Affine, Binary, Codebook, Levels, PowerOfTwo, Ternary
from tinygen.nn import quantizers as q
from tinygen.nn.quantizers.zeros import with_zeros

torch.set_num_threads(1)


def rows_and_columns(shape: tuple[int, ...]) -> tuple[list[int], list[int], torch.Tensor]:
    """Output and input channels that stay, and the mask that keeps just these."""
    rows, columns = [0, 2, 3, 5], [1, 2, 4]
    kept = torch.zeros(shape, dtype=torch.bool)
    kept[np.ix_(rows, columns)] = True
    return rows, columns, kept


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("shape", [(6, 5, 3, 3), (6, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_is_as_in_the_slim_layer(name: str, shape: tuple[int, ...], seed: int) -> None:
    rows, columns, kept = rows_and_columns(shape)
    # The removed weights are the largest ones: any statistic that saw them would be another.
    whole = torch.where(kept, weights_of(seed, shape), weights_of(seed + 100, shape, 20.0)).requires_grad_()
    slim = whole.detach()[rows][:, columns].clone().requires_grad_()
    upstream = weights_of(seed + 200, shape)
    masked, small = EXACT[name](), EXACT[name]()
    masked.prepare(whole.shape)
    small.prepare(slim.shape)
    output, expected = masked(whole, kept), small(slim)
    assert torch.equal(output[rows][:, columns], expected)
    assert not output[~kept].any()
    (output * upstream).sum().backward()
    (expected * upstream[rows][:, columns]).sum().backward()
    if isinstance(masked, q.CodebookQuant):
        torch.testing.assert_close(masked.centroids.grad, small.centroids.grad)
        return
    assert not whole.grad[~kept].any()
    torch.testing.assert_close(whole.grad[rows][:, columns], slim.grad)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("kernels", [True, False])
def test_codes_of_masked_weights_stand_for_the_output(name: str, share: float, kernels: bool) -> None:
    weights = weights_of(7, (6, 5, 3, 3), zeros=0.1)
    kept = torch.rand((6, 5, 1, 1) if kernels else (6, 5, 3, 3), generator=torch.Generator().manual_seed(1)) < share
    kept = kept.expand(weights.shape)
    quantizer = EXACT[name]().eval()
    quantizer.prepare(weights.shape)
    output = quantizer(weights, kept).detach().numpy()
    try:
        codes, encoding = quantizer.codes(weights, kept)
    except UnsupportedError:
        assert name == "tanh 8" and not kernels  # 256 odd integers and 0
        return
    assert codes.dtype == encoding.dtype and codes.shape == weights.shape
    meant = encoding.integers(codes)
    scales = quantizer.kernel_scales(weights, kept) if isinstance(quantizer, q.APSQ) else None
    if scales is None:
        assert np.array_equal(real(codes, encoding), output)
    else:
        meant = meant * scales[:, :, None, None].astype(np.int64)
        assert np.array_equal(meant.astype(np.float32) * np.float32(encoding.scale[0]), output)
    assert not meant[~kept.numpy()].any() and not output[~kept.numpy()].any()


def test_a_mask_that_keeps_all_changes_nothing() -> None:
    weights = weights_of(3, (4, 3, 3, 3))
    for name, make in EXACT.items():
        plain, masked = make().eval(), make().eval()
        for quantizer in (plain, masked):
            quantizer.prepare(weights.shape)
        kept = torch.ones_like(weights, dtype=torch.bool)
        codes, encoding = plain.codes(weights)
        found, found_encoding = masked.codes(weights, kept)
        assert np.array_equal(codes, found) and encoding == found_encoding, name


def test_encodings_with_zeros() -> None:
    kept = np.array([[True, False, True, True]])
    codes = np.array([[0, 1, 1, 0]], np.uint8)
    cases = [
        (Binary((0.5,)), Ternary((0.5,)), [-1, 0, 1, -1]),
        (Levels((0.5,), bits=2, signed=True), Codebook((0.5,), table=(-3, -1, 0, 1, 3)), [-3, 0, -1, -3]),
        (Levels((0.5,), bits=2, signed=False), Levels((0.5,), bits=2, signed=False), [0, 0, 1, 0]),
        (Ternary((0.5,)), Ternary((0.5,)), [0, 0, 1, 0]),
        (PowerOfTwo((0.5,), exponents=7), PowerOfTwo((0.5,), exponents=7), [0, 0, 1, 0]),
        (Codebook((0.5,), table=(7, -9)), Codebook((0.5,), table=(7, -9, 0)), [7, 0, -9, 7]),
        (Codebook((0.5,), table=(0, -9)), Codebook((0.5,), table=(0, -9)), [0, 0, -9, 0]),
        (Affine("int8", (0.5,), (3,)), Affine("int8", (0.5,), (3,)), [-3, 0, -2, -3]),
        (Affine("int8", (0.5,), (4,), axis=0), Affine("int8", (0.5,), (4,), axis=0), [-4, 0, -3, -4]),
    ]
    for encoding, expected, integers in cases:
        found, new = with_zeros(codes.astype(encoding.dtype), encoding, kept)
        assert new == expected and new.integers(found).tolist() == [integers]


def test_eight_signed_bits_have_no_code_for_zero() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, -1)
    encoding = Levels((1.0,), bits=8, signed=True)
    kept = np.ones((2, 256), bool)
    kept[1] = False
    codes = np.concatenate((every, every))
    with pytest.raises(UnsupportedError, match=r"256 levels and 0 .* 257 entries\nUse at most 7 bits"):
        with_zeros(codes, encoding, kept)
    kept[0, 100] = False  # 256 entries
    found, table = with_zeros(codes, encoding, kept)
    assert np.array_equal(table.integers(found), np.where(kept, encoding.integers(codes), 0))


def test_pruned_kernels_of_apsq_stay_binary() -> None:
    layer = tnn.QuantConv2d(6, 4, 3, weight_quantizer=tnn.APSQ())
    kernels = torch.rand((4, 6), generator=torch.Generator().manual_seed(2)) < 0.5
    layer.set_weight_mask(kernels)
    _, encoding = layer.weight_codes()
    scales = layer.kernel_scales()
    assert isinstance(encoding, Binary) and scales is not None
    assert not scales[~kernels.numpy()].any()


def test_penalty_of_masked_apsq_layers_is_that_of_slim_ones() -> None:
    for bits in (1, 3):
        rows, columns, kept = rows_and_columns((6, 5, 3, 3))
        layer = tnn.QuantConv2d(5, 6, 3, weight_quantizer=tnn.APSQ(bits))
        slim = tnn.QuantConv2d(3, 4, 3, weight_quantizer=tnn.APSQ(bits))
        slim.weight.data = layer.weight.data[rows][:, columns].clone()
        layer.set_weight_mask(kept)
        torch.testing.assert_close(tnn.angle_regulariser(layer), tnn.angle_regulariser(slim))
        tnn.angle_regulariser(layer).backward()
        assert not layer.weight.grad[~kept].any() and layer.weight.grad[kept].any()
    empty = tnn.QuantConv2d(5, 6, 3, weight_quantizer=tnn.APSQ())
    empty.set_weight_mask(torch.zeros(6, 5, dtype=torch.bool))
    assert tnn.angle_regulariser(empty).item() == 0.0


def test_masks_are_part_of_the_state() -> None:
    first, second = (tnn.QuantConv2d(3, 4, 3, weight_quantizer=tnn.BWN()) for _ in range(2))
    kernels = torch.eye(4, 3, dtype=torch.bool)
    first.set_weight_mask(kernels)
    kernels[:] = True  # a copy was taken
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.quantized_weight(), first.quantized_weight())
    assert int((second.quantized_weight() != 0).sum()) == 27
    second.set_weight_mask(None)
    assert "weight_mask" not in second.state_dict() and bool((second.quantized_weight() != 0).all())


@pytest.mark.parametrize(
    "mask", [torch.ones(4, 3), torch.ones(4, dtype=torch.bool), torch.ones(3, 4, dtype=torch.bool)]
)
def test_masks_that_do_not_fit_are_refused(mask: torch.Tensor) -> None:
    layer = tnn.QuantConv2d(3, 4, 3, weight_quantizer=tnn.BWN())
    with pytest.raises(ModelError, match=r"a mask .* for weights \[4, 3, 3, 3\]\nGive torch.bool"):
        layer.set_weight_mask(mask)


def test_a_weight_that_is_not_kept_may_be_anything() -> None:
    layer = tnn.QuantLinear(3, 2, weight_quantizer=tnn.Symmetric8())
    layer.weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match="infinite or not a number"):
        layer.weight_codes()
    layer.set_weight_mask(torch.tensor([[False, True, True], [True, True, True]]))
    output = layer(torch.ones(1, 3))
    nn.functional.mse_loss(output, torch.zeros_like(output)).backward()
    assert bool(torch.isfinite(output).all()) and float(layer.weight.grad[0, 0]) == 0.0
    assert layer.weight_codes()[0][0, 0] == 0
