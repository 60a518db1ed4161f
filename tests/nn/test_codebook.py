"""Shared weights (Deep Compression): clusters, gradients of the shared values, saved state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.nn.test_weight_quantizers import real, weights_of
from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import Codebook
from tinygen.nn import quantizers as q
from tinygen.nn.quantizers.codebook import k_means

torch.set_num_threads(1)


def test_k_means_finds_separate_clusters() -> None:
    rng = np.random.default_rng(1)
    centres = np.array([-3.0, -1.0, 0.5, 2.0])
    values = (centres[:, None] + rng.uniform(-0.1, 0.1, (4, 50))).ravel()
    means = values.reshape(4, 50).mean(1)
    np.testing.assert_allclose(k_means(rng.permutation(values), 4), means, rtol=1e-12)


def test_k_means_ends_where_each_centroid_is_the_mean_of_its_own() -> None:
    values = np.random.default_rng(2).normal(size=500)
    centroids = k_means(values, 8)
    nearest = np.abs(values[:, None] - centroids).argmin(1)
    np.testing.assert_allclose(centroids, [values[nearest == i].mean() for i in range(8)], rtol=1e-9)


def test_gradient_of_a_shared_value_is_the_sum_over_its_weights() -> None:
    weights = weights_of(3, (4, 5)).requires_grad_()
    quantizer = q.CodebookQuant(2)
    upstream = weights_of(4, (4, 5))
    (quantizer(weights) * upstream).sum().backward()
    index = quantizer.codes(weights)[0]
    expected = [upstream.numpy()[index == i].sum() for i in range(4)]
    np.testing.assert_allclose(quantizer.centroids.grad.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert weights.grad is None


def test_training_moves_values_and_keeps_assignments() -> None:
    weights = weights_of(5, (6, 7))
    quantizer = q.CodebookQuant(3)
    before = quantizer(weights)
    index = quantizer.codes(weights)[0]
    optimizer = torch.optim.SGD(quantizer.parameters(), 0.05)
    (quantizer(weights) - 1.0).square().sum().backward()
    optimizer.step()
    codes, encoding = quantizer.codes(weights)
    assert np.array_equal(codes, index) and not torch.equal(quantizer(weights), before)
    assert np.array_equal(real(codes, encoding), quantizer(weights).detach().numpy())
    np.testing.assert_allclose(
        quantizer(weights).detach(), quantizer.centroids.detach()[index.astype(int)], atol=encoding.scale[0] * 0.51
    )


def test_state_is_saved_and_shapes_are_checked() -> None:
    weights = weights_of(6, (4, 3, 2, 2))
    quantizer, other = q.CodebookQuant(4), q.CodebookQuant(4)
    for each in (quantizer, other):
        each.prepare(weights.shape)
    output = quantizer(weights)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other(torch.zeros_like(weights)), output)
    with pytest.raises(ModelError, match="quantizer of its own"):
        other(torch.zeros(2, 2))


def test_tables_of_8_bits() -> None:
    weights = weights_of(7, (8, 3, 3, 3))
    quantizer = q.CodebookQuant(4, table_bits=8)
    output = quantizer(weights).detach()
    codes, encoding = quantizer.codes(weights)
    assert isinstance(encoding, Codebook) and max(map(abs, encoding.table)) == 127
    assert np.array_equal(real(codes, encoding), output.numpy())
    centroids = quantizer.centroids.detach()[codes.astype(int)]
    np.testing.assert_allclose(output, centroids, atol=encoding.scale[0] * 0.501)
    for bits in (7, 17):
        with pytest.raises(UnsupportedError, match=f"{bits} bits"):
            q.CodebookQuant(4, table_bits=bits)
