"""Weight quantizers: formulas against NumPy, gradients, and codes that stand for exactly what training saw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinygen.errors import ModelError, UnsupportedError
from tinygen.ir.encodings import Affine, Binary, Codebook, IntegerEncoding, Levels, PowerOfTwo, Ternary
from tinygen.nn import quantizers as q

torch.set_num_threads(1)

EXACT: dict[str, Callable[[], q.WeightQuantizer]] = {
    **{f"tanh {bits}": (lambda bits=bits: q.TanhQuant(bits)) for bits in range(1, 9)},
    "binary connect": q.BinaryConnect,
    "bwn channel": q.BWN,
    "bwn layer": lambda: q.BWN("layer"),
    "xnor channel": q.XNORNet,
    "xnor layer": lambda: q.XNORNet("layer"),
    "ternary channel": q.Ternary,
    "ternary layer": lambda: q.Ternary("layer"),
    "int8": q.Symmetric8,
    **{f"log int {b}": (lambda b=b: q.LogQuant(b, integer_exponents=True)) for b in (2, 3, 4)},
    **{f"log sqrt2 {b}": (lambda b=b: q.LogQuant(b, "sqrt2", integer_exponents=True)) for b in (2, 3, 4)},
    **{f"codebook {b}": (lambda b=b: q.CodebookQuant(b)) for b in (2, 4, 6)},
    **{f"apsq {b}": (lambda b=b: q.APSQ(b)) for b in (1, 2, 4, 8)},
    "apsq 9-bit scalings": lambda: q.APSQ(1, scale_bits=9),
    "apsq 6-bit scalings to 1": lambda: q.APSQ(1, scale_bits=6, normaliser=1.0),
    "apsq channel": lambda: q.APSQ(2, scaling="channel"),
}


def weights_of(seed: int, shape: tuple[int, ...], spread: float = 0.1, zeros: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    weights = spread * torch.randn(shape, generator=generator)
    return weights * (torch.rand(shape, generator=generator) >= zeros)


def real(codes: np.ndarray, encoding: IntegerEncoding) -> np.ndarray:
    """scale * integers, multiplied in float32 as training does."""
    scale = np.asarray(encoding.scale, np.float32)
    if encoding.axis is not None:
        scale = scale.reshape(-1, *(1,) * (codes.ndim - 1))
    return encoding.integers(codes).astype(np.float32) * (scale if encoding.axis is not None else scale[0])


SHAPES = st.one_of(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 6), st.integers(1, 9)),
)


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    shape=SHAPES,
    spread=st.sampled_from((1e-4, 0.1, 1.0, 30.0)),
    zeros=st.sampled_from((0.0, 0.5, 1.0)),
)
@example(seed=0, shape=(1, 1), spread=1.0, zeros=0.0)
def test_codes_stand_for_the_output(name: str, seed: int, shape: tuple[int, ...], spread: float, zeros: float) -> None:
    quantizer = EXACT[name]().eval()
    weights = weights_of(seed, shape, spread, zeros)
    output = quantizer(weights)
    codes, encoding = quantizer.codes(weights)
    assert codes.dtype == encoding.dtype and codes.shape == shape
    meant = real(codes, encoding)
    kernel_scales = quantizer.kernel_scales(weights) if isinstance(quantizer, q.APSQ) else None
    if kernel_scales is not None:
        assert kernel_scales.dtype == np.uint16 and isinstance(quantizer, q.APSQ)
        assert quantizer.scale_bits is not None and kernel_scales.max() < 2**quantizer.scale_bits
        wide = np.float32(encoding.scale[0])
        meant = (encoding.integers(codes) * kernel_scales[:, :, None, None].astype(np.int64)).astype(np.float32) * wide
    assert np.array_equal(output.detach().numpy(), meant)


@pytest.mark.parametrize("bits", range(1, 7))
@pytest.mark.parametrize("seed", range(5))
def test_log_table_rounds_by_half_a_unit(bits: int, seed: int) -> None:
    weights = weights_of(seed, (4, 3, 3, 3), zeros=0.2)
    quantizer = q.LogQuant(bits)
    codes, encoding = quantizer.codes(weights)
    assert isinstance(encoding, Codebook) and len(encoding.table) == 2 ** (bits + 1) + 1
    difference = np.abs(real(codes, encoding).astype(np.float64) - quantizer(weights).double().numpy())
    assert difference.max() <= 0.5001 * encoding.scale[0]
    assert np.array_equal(codes == 2**bits, weights.numpy() == 0.0)


@pytest.mark.parametrize("bits", range(1, 9))
def test_tanh_formula(bits: int) -> None:
    weights = weights_of(bits, (6, 5, 3, 3), 0.8)
    squashed = np.tanh(weights.numpy().astype(np.float64))
    steps = 2**bits - 1
    expected = 2 * np.floor(steps * (squashed / (2 * np.abs(squashed).max()) + 0.5) + 0.5) / steps - 1
    np.testing.assert_allclose(q.TanhQuant(bits)(weights).numpy(), expected, rtol=0, atol=1e-7)
    _, encoding = q.TanhQuant(bits).codes(weights)
    if bits == 1:
        assert encoding == Binary((1.0,))
    else:
        assert isinstance(encoding, Levels) and encoding.signed and encoding.bits == bits


def test_tanh_by_hand() -> None:
    # tanh 0.5 / tanh 1 = 0.6068: halved and moved to 0.8034, times 3 is 2.41, code 2, value 1/3.
    weights = torch.tensor([[1.0, 0.5, 0.0, -0.01, -1.0]])
    expected = np.float32([1.0, 1 / 3, 1 / 3, -1 / 3, -1.0])
    np.testing.assert_allclose(q.TanhQuant(2)(weights)[0].numpy(), expected, rtol=1e-6)


def test_tanh_gradient_includes_the_maximum() -> None:
    weights = torch.tensor([[0.3, -0.8, 0.2]], requires_grad=True)
    seen = torch.tensor([[1.0, 2.0, 3.0]])
    (q.TanhQuant(4)(weights) * seen).sum().backward()
    tanh = np.tanh([0.3, -0.8, 0.2])
    slope, top = 1 - tanh**2, np.abs(tanh).max()
    expected = np.array([1.0, 2.0, 3.0]) * slope / top
    expected[1] -= (np.array([1.0, 2.0, 3.0]) * tanh / top**2).sum() * np.sign(tanh[1]) * slope[1]
    np.testing.assert_allclose(weights.grad[0].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_sign_of_zero_is_positive() -> None:
    weights = torch.tensor([[0.0, -0.0, -1e-30, 1e-30]])
    for quantizer in (q.BinaryConnect(), q.TanhQuant(1)):
        assert quantizer(weights)[0].tolist() == [1.0, 1.0, -1.0, 1.0]


def test_binary_connect_gradient_is_cut_outside_one() -> None:
    weights = torch.tensor([[-1.5, -1.0, 0.0, 1.0, 1.1]], requires_grad=True)
    q.BinaryConnect()(weights).sum().backward()
    assert weights.grad[0].tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("scaling", ["channel", "layer"])
def test_bwn_and_xnor_scales_and_gradients(scaling: str) -> None:
    weights = weights_of(3, (4, 3, 2, 2), 0.9)
    array = weights.numpy().astype(np.float64)
    alpha = np.abs(array).mean(axis=(1, 2, 3) if scaling == "channel" else None, keepdims=True)
    expected = alpha * np.where(array >= 0, 1, -1)
    upstream = weights_of(4, (4, 3, 2, 2))
    for quantizer, count in ((q.BWN(scaling), None), (q.XNORNet(scaling), 12 if scaling == "channel" else 48)):
        leaf = weights.clone().requires_grad_()
        output = quantizer(leaf)
        np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-6)
        (output * upstream).sum().backward()
        factor = np.ones_like(array) if count is None else 1 / count + alpha * (np.abs(array) <= 1)
        np.testing.assert_allclose(leaf.grad.numpy(), upstream.numpy() * factor, rtol=1e-5)
    assert q.BWN(scaling).codes(weights)[1].axis == (0 if scaling == "channel" else None)


def test_ternary_by_hand() -> None:
    # mean|w| = 1, delta = 0.7: 0.69 goes; the others' mean is 3.31 / 3. Second row: all alike.
    weights = torch.tensor([[0.8, -1.77, 0.69, 0.74], [2.0, -2.0, 2.0, 2.0]])
    output = q.Ternary()(weights).numpy()
    third = np.float32(3.31 / 3)
    np.testing.assert_allclose(output, [[third, -third, 0.0, third], [2.0, -2.0, 2.0, 2.0]], rtol=1e-6)
    codes, encoding = q.Ternary().codes(weights)
    assert codes.tolist() == [[1, -1, 0, 1], [1, -1, 1, 1]] and isinstance(encoding, Ternary)
    # Of the layer: delta = 0.7 * 1.5 = 1.05; survivors 1.77 and four 2.0, whose mean is 1.954.
    layer = q.Ternary("layer")(weights).numpy()
    np.testing.assert_allclose(layer, [[0, -1.954, 0, 0], [1.954, -1.954, 1.954, 1.954]], rtol=1e-6)


def test_log_thesis_form_by_hand() -> None:
    # Exponents -3 .. 0 in four levels: -3, -2, -1, 0. log2 0.3 = -1.74 goes to -2; 2^-1.5 is a tie, and goes up.
    weights = torch.tensor([[1.0, -0.125, 0.3, -0.6, 0.0]])
    np.testing.assert_allclose(q.LogQuant(2)(weights)[0].numpy(), [1.0, -0.125, 0.25, -0.5, 0.0], rtol=1e-7)
    # Two levels over -2.5 .. 0.5 only: real exponents, whatever the base.
    wide = torch.tensor([[2**0.5, -(2**-2.5), 0.4]])
    for base in ("2", "sqrt2"):
        np.testing.assert_allclose(q.LogQuant(1, base)(wide)[0].numpy(), [2**0.5, -(2**-2.5), 2**-2.5], rtol=1e-6)


def test_log_integer_exponents_by_hand() -> None:
    # Largest 0.9 rounds to 2^0; three exponents: 0, -1, -2; below 2^-2.5 = 0.177 is zero.
    weights = torch.tensor([[0.9, -0.36, 0.35, 0.178, -0.176, 0.0]])
    quantizer = q.LogQuant(2, integer_exponents=True)
    assert quantizer(weights)[0].tolist() == [1.0, -0.5, 0.25, 0.25, 0.0, 0.0]
    codes, encoding = quantizer.codes(weights)
    assert codes[0].tolist() == [3, -2, 1, 1, 0, 0] and encoding == PowerOfTwo((0.25,), exponents=3)


def test_log_sqrt2_by_hand() -> None:
    # Largest rounds to 2^0; exponents 0, -1/2, -1; divided at 2^-1/4 = 0.841, 2^-3/4 = 0.595, 2^-5/4 = 0.420.
    weights = torch.tensor([[1.0, -0.85, 0.83, 0.59, -0.43, 0.41]])
    quantizer = q.LogQuant(2, "sqrt2", integer_exponents=True)
    codes, encoding = quantizer.codes(weights)
    assert codes[0].tolist() == [6, 0, 5, 4, 2, 3]
    assert encoding == Codebook((float(np.float32(1 / 32767)),), table=(-32767, -23170, -16384, 0, 16384, 23170, 32767))


def test_int8_is_symmetric_per_channel() -> None:
    weights = torch.tensor([[1.27, -0.64, 0.015], [-0.127, 0.0, 0.0], [0.0, 0.0, 0.0]])
    codes, encoding = q.Symmetric8().codes(weights)
    assert codes.tolist() == [[127, -64, 2], [-127, 0, 0], [0, 0, 0]]
    assert isinstance(encoding, Affine) and encoding.axis == 0 and encoding.zero_point == (0, 0, 0)
    np.testing.assert_allclose(encoding.scale, [0.01, 0.001, 0.01], rtol=1e-6)


@pytest.mark.parametrize("make", [q.BWN, q.Ternary, q.Symmetric8, q.APSQ, lambda: q.LogQuant(3)])
def test_straight_through_gradient(make: Callable[[], q.WeightQuantizer]) -> None:
    weights = weights_of(5, (3, 4, 3, 3), 1.0).requires_grad_()
    upstream = weights_of(6, (3, 4, 3, 3))
    (make()(weights) * upstream).sum().backward()
    assert torch.equal(weights.grad, upstream)


def test_base_quantizer() -> None:
    x = torch.tensor([0.0, 1 / 6, 0.16, 0.5, 0.84, 1.0, 1.2, -1.2], requires_grad=True)
    output = q.base_quantize(x, 2)
    np.testing.assert_allclose(output.detach().numpy()[:6], [0, 1 / 3, 0, 2 / 3, 1, 1], atol=1e-7)
    output.sum().backward()
    assert x.grad.tolist() == [1, 1, 1, 1, 1, 1, 0, 0]


def bad(build: Callable[[], object]) -> None:
    with pytest.raises(UnsupportedError, match="Use"):
        build()


def test_bad_arguments_are_named() -> None:
    bad(lambda: q.TanhQuant(9))
    bad(lambda: q.APSQ(1, scale_bits=10))
    bad(lambda: q.APSQ(1, normaliser=0.0))
    bad(lambda: q.LogQuant(5, integer_exponents=True))
    bad(lambda: q.LogQuant(3, "e"))
    bad(lambda: q.BWN("kernel"))
    bad(lambda: q.CodebookQuant(7))
    bad(lambda: q.base_quantize(torch.zeros(1), 0))


@pytest.mark.parametrize("name", EXACT)
def test_weights_that_are_not_finite_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="infinite"):
        EXACT[name]().codes(torch.tensor([[1.0, float("nan")]]))
