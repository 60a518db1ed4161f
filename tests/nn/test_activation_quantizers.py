"""Activation quantizers: formulas, gradients, and boundaries that count exactly to the codes of training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.test_weight_quantizers import bad, real, weights_of
from tinygen.errors import ModelError
from tinygen.ir.encodings import Affine, Binary, Codebook, Levels, PowerOfTwo
from tinygen.nn import quantizers as q

torch.set_num_threads(1)

ALL: dict[str, Callable[[], q.ActivationQuantizer]] = {
    **{f"relu {b}": (lambda b=b: q.ReLUQuant(b)) for b in (2, 3, 4, 8)},
    "relu 4 to 0.7": lambda: q.ReLUQuant(4, 0.7),
    "sign": q.Sign,
    **{f"tanh {b}": (lambda b=b: q.TanhQuantActivation(b)) for b in (1, 2, 4, 8)},
    **{f"log {b}": (lambda b=b: q.LogQuantActivation(b)) for b in (1, 3, 6)},
    "log 4 two-sided": lambda: q.LogQuantActivation(4, two_sided=True),
    "log int 3": lambda: q.LogQuantActivation(3, integer_exponents=True),
    "log int 4 two-sided": lambda: q.LogQuantActivation(4, two_sided=True, integer_exponents=True),
    "log sqrt2 4": lambda: q.LogQuantActivation(4, "sqrt2", integer_exponents=True),
    "log sqrt2 3 two-sided": lambda: q.LogQuantActivation(3, "sqrt2", True, True),
    "affine8": q.Affine8,
    "affine8 relu": lambda: q.Affine8(relu=True),
    "affine8 relu6": lambda: q.Affine8(relu=True, limit=6.0),
}


def trained(name: str, seed: int, spread: float = 1.0) -> q.ActivationQuantizer:
    quantizer = ALL[name]()
    for step in range(2):
        quantizer(weights_of(seed + step, (3, 4, 5), spread))
    return quantizer.eval()


def around(boundaries: np.ndarray) -> np.ndarray:
    """Float32 values on, just below and just above each boundary."""
    nearest = boundaries.astype(np.float32)
    return np.concatenate([nearest, np.nextafter(nearest, np.float32(-9e9)), np.nextafter(nearest, np.float32(9e9))])


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), spread=st.sampled_from((1e-3, 0.3, 1.0, 20.0)))
def test_codes_count_boundaries_and_stand_for_the_output(name: str, seed: int, spread: float) -> None:
    quantizer = trained(name, seed, spread)
    boundaries, encoding = quantizer.boundaries()
    assert boundaries.dtype == np.float64 and np.all(np.diff(boundaries) > 0)
    special = np.float32([0.0, -0.0, 3e38, -3e38, np.inf, -np.inf])
    values = np.concatenate([around(boundaries), weights_of(seed + 9, (500,), spread).numpy(), special])
    output = quantizer(torch.from_numpy(values))
    codes, same = quantizer.codes(torch.from_numpy(values))
    assert same == encoding and codes.dtype == encoding.dtype
    counted = (values[:, None].astype(np.float64) >= boundaries).sum(1) + quantizer.lowest_code
    assert np.array_equal(codes, counted)
    assert np.array_equal(output.numpy(), real(codes, encoding))
    assert np.all(np.diff(output.numpy()[np.argsort(values)]) >= 0)


@pytest.mark.parametrize(
    ("name", "count", "kind"),
    [
        ("relu 2", 3, Levels),
        ("relu 8", 255, Levels),
        ("sign", 1, Binary),
        ("tanh 1", 1, Binary),
        ("tanh 4", 15, Levels),
        ("log int 3", 7, PowerOfTwo),
        ("log sqrt2 4", 15, Codebook),
        ("log int 4 two-sided", 30, Codebook),
        ("log 3", 8, Codebook),
        ("affine8", 255, Affine),
    ],
)
def test_numbers_of_boundaries_and_encodings(name: str, count: int, kind: type) -> None:
    boundaries, encoding = trained(name, 1).boundaries()
    assert len(boundaries) == count and isinstance(encoding, kind)


@pytest.mark.parametrize("name", ALL)
def test_float64_inputs_stay_as_they_are(name: str) -> None:
    quantizer = trained(name, 3)
    x = weights_of(4, (50,), 1.0).double()
    before = x.clone()
    assert quantizer(x).dtype == torch.float64 and torch.equal(x, before)
    codes, encoding = quantizer.codes(x)
    scale = float(encoding.scale[0])
    np.testing.assert_allclose(quantizer(x).numpy(), encoding.integers(codes) * scale, rtol=1e-15)


def test_relu_formula_and_ties() -> None:
    x = torch.tensor([-1.0, 0.0, 1 / 6 - 1e-7, 0.5, 0.7, 5.0])
    np.testing.assert_allclose(q.ReLUQuant(2)(x).numpy(), [0, 0, 0, 2 / 3, 2 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(q.ReLUQuant(2).boundaries()[0], [1 / 6, 0.5, 5 / 6], rtol=1e-15)
    many = torch.linspace(-0.5, 1.5, 4001)
    for bits in range(2, 9):
        steps = 2**bits - 1
        expected = np.floor(steps * np.clip(many.numpy().astype(np.float64), 0, 1) + 0.5) / steps
        np.testing.assert_allclose(q.ReLUQuant(bits)(many).numpy(), expected, atol=1e-7)


def test_relu_gradient_passes_in_range() -> None:
    x = torch.tensor([-0.1, 0.0, 0.3, 1.0, 1.1], requires_grad=True)
    q.ReLUQuant(3)(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_sign_of_zero_and_its_gradient() -> None:
    x = torch.tensor([-1.5, -1.0, -0.0, 0.0, 1.0, 1.5], requires_grad=True)
    output = q.Sign()(x)
    assert output.tolist() == [-1.0, -1.0, 1.0, 1.0, 1.0, 1.0]
    output.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert q.Sign().boundaries()[0].tolist() == [0.0]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_tanh_takes_the_batch_maximum_in_training_and_the_running_one_after(bits: int) -> None:
    quantizer = q.TanhQuantActivation(bits, momentum=0.25)
    first, second = weights_of(1, (50,), 0.3), weights_of(2, (50,), 0.8)
    steps = 2**bits - 1

    def formula(x: torch.Tensor, top: float) -> np.ndarray:
        scaled = np.clip(np.tanh(x.numpy().astype(np.float64)) / (2 * top) + 0.5, 0, 1)
        return 2 * np.floor(steps * scaled + 0.5) / steps - 1

    tops = [np.abs(np.tanh(x.numpy().astype(np.float64))).max() for x in (first, second)]
    np.testing.assert_allclose(quantizer(first).numpy(), formula(first, tops[0]), atol=1e-6)
    np.testing.assert_allclose(quantizer(second).numpy(), formula(second, tops[1]), atol=1e-6)
    quantizer.eval()
    running = tops[0] + 0.25 * (tops[1] - tops[0])
    expected = formula(second, running)
    np.testing.assert_allclose(quantizer(second).numpy(), expected, atol=1e-6)
    # Evaluation sees each value alone: no input changes what another becomes.
    np.testing.assert_allclose(quantizer(second[:3]).numpy(), expected[:3], atol=1e-6)


def test_tanh_gradient() -> None:
    quantizer = q.TanhQuantActivation(3)
    quantizer(torch.tensor([0.5, -0.2]))
    x = torch.tensor([0.1, -0.4, 0.6], requires_grad=True)
    quantizer.eval()(x).sum().backward()
    top = np.tanh(0.5)
    expected = [(1 - np.tanh(0.1) ** 2) / top, (1 - np.tanh(0.4) ** 2) / top, 0.0]
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5)


def test_log_activation_by_hand() -> None:
    quantizer = q.LogQuantActivation(2, integer_exponents=True)
    quantizer(torch.tensor([0.0, 0.9, -5.0, 0.3]))  # One-sided: -5 does not count, the top is 2^0.
    boundaries, encoding = quantizer.eval().boundaries()
    np.testing.assert_allclose(boundaries, 2.0 ** np.array([-2.5, -1.5, -0.5]), rtol=1e-15)
    assert encoding == PowerOfTwo((0.25,), exponents=3)
    assert quantizer(torch.tensor([-3.0, 0.1, 0.2, 0.4, 0.8, 9.0])).tolist() == [0, 0, 0.25, 0.5, 1, 1]


def test_log_activation_thesis_form() -> None:
    quantizer = q.LogQuantActivation(2, two_sided=True)
    x = torch.tensor([1.0, -0.125, 0.3, -0.6, 0.0])
    expected = np.float32([1.0, -0.125, 0.25, -0.5, 0.0])
    np.testing.assert_allclose(quantizer(x).numpy(), expected, atol=1 / 65534)
    # Anything but zero has a magnitude, the smallest at least.
    tiny = quantizer.eval()(torch.tensor([1e-30, -1e-30, 0.0]))
    np.testing.assert_allclose(tiny.numpy(), [0.125, -0.125, 0.0], atol=1 / 65534)


def test_log_activation_of_a_batch_of_zeros_keeps_the_range() -> None:
    quantizer = q.LogQuantActivation(3)
    quantizer(torch.tensor([0.5, 2.0]))
    before = quantizer.running_range.clone()
    assert quantizer(torch.zeros(4)).tolist() == [0.0] * 4
    assert torch.equal(quantizer.running_range, before) and int(quantizer.batches) == 1


def test_affine8_by_hand() -> None:
    quantizer = q.Affine8(momentum=0.5)
    quantizer(torch.tensor([-1.0, 1.55]))
    codes, encoding = quantizer.eval().codes(torch.tensor([-1.0, 0.0, 0.0051, 1.55, 9.0, -9.0]))
    assert encoding == Affine("int8", (float(np.float32(0.01)),), (-28,))
    assert codes.tolist() == [-128, -28, -27, 127, 127, -128]
    quantizer.train()(torch.tensor([-2.0, 1.55]))
    np.testing.assert_allclose(quantizer.running_range.numpy(), [-1.5, 1.55], rtol=1e-6)


def test_affine8_in_the_place_of_a_relu() -> None:
    quantizer = q.Affine8(relu=True, limit=6.0)
    quantizer(torch.tensor([-3.0, 20.0]))
    codes, encoding = quantizer.eval().codes(torch.tensor([-1.0, 0.0, 6.0, 20.0]))
    assert codes.tolist() == [-128, -128, 127, 127] and isinstance(encoding, Affine)
    assert encoding.zero_point == (-128,) and encoding.scale[0] == np.float32(6 / 255)
    x = torch.tensor([-1.0, 3.0, 7.0], requires_grad=True)
    quantizer(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("name", [name for name in ALL if isinstance(ALL[name](), q.RangedQuantizer)])
def test_an_unknown_range_is_refused_and_a_known_one_is_saved(name: str) -> None:
    fresh = ALL[name]().eval()
    with pytest.raises(ModelError, match="calibrate"):
        fresh(torch.ones(2))
    with pytest.raises(ModelError, match="calibrate"):
        fresh.boundaries()
    fresh.load_state_dict(trained(name, 5).state_dict())
    assert np.array_equal(fresh.boundaries()[0], trained(name, 5).boundaries()[0])


def test_bad_arguments_are_named() -> None:
    bad(lambda: q.ReLUQuant(1))
    bad(lambda: q.ReLUQuant(4, -1.0))
    bad(lambda: q.TanhQuantActivation(0))
    bad(lambda: q.LogQuantActivation(6, two_sided=True))
    bad(lambda: q.LogQuantActivation(7))
