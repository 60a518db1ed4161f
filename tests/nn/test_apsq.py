"""APSQ (thesis, chapter 6): scalings, the angle regulariser, lazy and not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.nn.test_weight_quantizers import weights_of
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Binary, Levels
from tinygen.nn import quantizers as q

torch.set_num_threads(1)


def test_one_bit_kernels_have_the_mean_magnitude() -> None:
    weights = weights_of(1, (4, 3, 3, 3))
    array = weights.numpy().astype(np.float64)
    alpha = np.abs(array).mean((2, 3), keepdims=True)
    output = q.APSQ(1, scale_bits=None)(weights).numpy()
    np.testing.assert_allclose(output, alpha * np.where(array >= 0, 1, -1), rtol=1e-6)


@pytest.mark.parametrize("bits", [2, 4])
def test_k_bit_kernels_are_scaled_by_their_maximum(bits: int) -> None:
    weights = weights_of(2, (4, 3, 3, 3))
    array = weights.numpy().astype(np.float64)
    alpha = np.abs(array).max((2, 3), keepdims=True)
    steps = 2**bits - 1
    inner = np.tanh(array / alpha) / (2 * np.tanh(1.0)) + 0.5
    expected = alpha * (2 * np.floor(steps * inner + 0.5) / steps - 1)
    np.testing.assert_allclose(q.APSQ(bits, scale_bits=None)(weights).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("scale_bits", [6, 7, 8, 9])
def test_scalings_are_quantized(scale_bits: int) -> None:
    weights = weights_of(3, (5, 4, 3, 3), 0.6)
    alpha = np.abs(weights.numpy().astype(np.float64)).mean((2, 3))
    steps = 2**scale_bits - 1
    for normaliser in (None, 1.0, 0.45):
        top = alpha.max() if normaliser is None else normaliser
        quantizer = q.APSQ(1, scale_bits, normaliser=normaliser)
        scales = quantizer.kernel_scales(weights)
        expected = np.floor(steps * np.clip(alpha / top, 0, 1) + 0.5)
        assert scales is not None and np.array_equal(scales, expected)
        np.testing.assert_allclose(quantizer(weights)[:, :, 0, 0].abs().numpy(), expected * top / steps, rtol=1e-6)
        assert quantizer.codes(weights)[1] == Binary((float(np.float32(top / steps)),))


@pytest.mark.parametrize("shape", [(4, 6, 1, 1), (4, 6), (4, 1, 3, 3)])
def test_kernels_without_gain_are_scaled_per_channel(shape: tuple[int, ...]) -> None:
    weights = weights_of(4, shape)
    quantizer = q.APSQ(2)
    codes, encoding = quantizer.codes(weights)
    assert quantizer.kernel_scales(weights) is None and codes.shape == shape
    assert isinstance(encoding, Levels) and encoding.axis == 0
    np.testing.assert_allclose(encoding.scale, weights.abs().flatten(1).amax(1).numpy() / 3, rtol=1e-6)


def test_penalty_is_equation_6_7() -> None:
    weights = weights_of(5, (3, 2, 3, 3), 0.4)
    for bits in (1, 2, 3):
        quantizer = q.APSQ(bits, scale_bits=None)
        vectors = weights.numpy().astype(np.float64).reshape(6, 9)
        reference = quantizer(weights).numpy().astype(np.float64).reshape(6, 9)
        cosines = (vectors * reference).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(reference, axis=1)
        assert float(quantizer.penalty(weights)) == pytest.approx((1 - cosines).mean(), rel=1e-4)


def test_one_bit_penalty_is_equation_6_8() -> None:
    weights = weights_of(6, (3, 2, 3, 3), 0.4)
    vectors = weights.numpy().astype(np.float64).reshape(6, 9)
    expected = np.mean(1 - np.abs(vectors).sum(1) / (np.linalg.norm(vectors, axis=1) * 3))
    assert float(q.APSQ(1).penalty(weights)) == pytest.approx(expected, rel=1e-5)


def test_penalty_gradient_is_equation_6_17() -> None:
    weights = weights_of(7, (1, 2, 3, 3), 0.4).double().requires_grad_()
    quantizer = q.APSQ(2, scaling="channel")
    quantizer.penalty(weights).backward()
    v = weights.detach().numpy().ravel()
    r = quantizer.quantized(weights).numpy().ravel()
    cosine = v @ r / np.linalg.norm(v) / np.linalg.norm(r)
    slope = r / (np.linalg.norm(v) * np.linalg.norm(r)) - cosine * v / (v @ v)
    np.testing.assert_allclose(weights.grad.numpy().ravel(), -slope, rtol=1e-6, atol=1e-12)
    # Orthogonal to the weights: the angle does not depend on their length.
    assert abs(float((weights.grad * weights.detach()).sum())) < 1e-12


def test_penalty_of_a_zero_kernel_is_finite() -> None:
    weights = weights_of(8, (2, 2, 3, 3))
    weights[0, 1] = 0.0
    weights.requires_grad_()
    q.APSQ(1).penalty(weights).backward()
    assert bool(torch.isfinite(weights.grad).all()) and bool((weights.grad[0, 1] == 0).all())


def test_lazy_takes_the_gradient_at_the_quantized_weights_and_non_lazy_at_the_real_ones() -> None:
    weights = weights_of(9, (2, 2, 3, 3))
    for lazy in (True, False):
        quantizer = q.APSQ(1, scale_bits=8, lazy=lazy)
        leaf = weights.clone().requires_grad_()
        (quantizer(leaf) ** 2).sum().backward()
        at = quantizer.eval()(weights) if lazy else weights
        np.testing.assert_allclose(leaf.grad.numpy(), 2 * at.numpy(), rtol=1e-6)
    assert not torch.equal(q.APSQ(1, lazy=False)(weights), q.APSQ(1)(weights))


def test_evaluation_and_frozen_training_quantize_without_gradient() -> None:
    weights = weights_of(10, (2, 2, 3, 3)).requires_grad_()
    quantizer = q.APSQ(1, lazy=False)
    hard = q.APSQ(1)(weights)
    assert torch.equal(quantizer(weights), weights) and torch.equal(quantizer.eval()(weights), hard)
    quantizer.train().freeze()
    assert torch.equal(quantizer(weights), hard) and not quantizer(weights).requires_grad


def test_real_kernel_scalings_cannot_be_exported() -> None:
    with pytest.raises(UnsupportedError, match="scale_bits"):
        q.APSQ(1, scale_bits=None).codes(weights_of(11, (2, 2, 3, 3)))
