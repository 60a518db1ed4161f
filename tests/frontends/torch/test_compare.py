"""What quantization cost: answers that change, and the layers where most is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen
from tests.frontends.torch.networks import SHAPE, small
from tests.support.torch_models import need, real_outputs
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.frontends.ptq.losses import LayerLoss, Noise, QuantizationLoss
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.verify import verify

torch = need("torch")
nn = torch.nn


def data(count: int, seed: int, shape: tuple[int, ...] = SHAPE) -> Any:
    return torch.randn((count, *shape[1:]), generator=torch.Generator().manual_seed(seed))


class Coarse(nn.Module):
    """A layer whose output has one value that is far larger than all others: int8 steps are coarse there."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 5)
        self.second.bias.data[0] = 300.0
        self.last.weight.data[:, 0] *= 0.01

    def forward(self, x: Any) -> Any:
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))


def test_answers_and_accuracy() -> None:
    module, x = small(), data(30, 1)
    graph = tinygen.export(module, x[:1], x)
    with torch.no_grad():
        wanted = module(x).numpy()
    found = real_outputs(graph, x.numpy())
    labels = wanted.argmax(1)
    labels[:3] = (labels[:3] + 1) % 5
    loss = tinygen.compare(module, graph, x, labels)
    same = int((found.argmax(1) == wanted.argmax(1)).sum())
    assert (loss.samples, loss.same, loss.float_correct) == (30, same, 27)
    assert loss.integer_correct == int((found.argmax(1) == labels).sum())
    noise = 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())
    assert loss.signal_to_noise == pytest.approx(noise, abs=0.02)
    assert [layer.layer for layer in loss.layers if layer.kind == "conv_2d"] == ["first_0", "grouped"]
    last = next(layer for layer in loss.layers if layer.layer == "last")
    assert last.alone > last.so_far + 1
    # Float graphs lose nothing but what float32 rounds.
    exact = tinygen.compare(module, tinygen.export(module, x[:1], float32=True), x[:3])
    assert exact.signal_to_noise > 100 and exact.integer_correct is None and exact.same == 3


def test_names_the_layer_where_most_is_lost() -> None:
    module, x = Coarse().eval(), data(64, 3, (1, 8))
    loss = tinygen.compare(module, tinygen.export(module, x[:1], x), x)
    assert loss.worst is not None and loss.worst.layer == "last"
    by_name = {layer.layer: layer for layer in loss.layers}
    # What is lost: the last layer reads what the coarse steps have left. Before, nothing is.
    assert by_name["last"].alone < 25 < 35 < by_name["first"].alone
    assert by_name["last"].so_far <= by_name["last"].alone + 3
    text = str(loss)
    assert text.splitlines()[0].startswith(f"same answer for {loss.same} of 64 samples, ")
    assert "last   " in text and "dB" in text.splitlines()[-1]


def test_other_outputs_have_no_answers() -> None:
    module, x = nn.Sequential(nn.Conv2d(3, 2, 3), nn.GELU()).eval(), data(4, 5)
    loss = tinygen.compare(module, tinygen.export(module, x[:1], x), x)
    assert loss.same is None and 30 < loss.signal_to_noise < 60
    assert str(loss).startswith(f"{loss.signal_to_noise:.1f} dB")


def test_programs_and_several_inputs() -> None:
    class Both(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return (a * b).mean((2, 3)), a + b

    x = (data(5, 1), data(5, 2))
    program = torch.export.export(Both(), tuple(part[:1] for part in x))
    graph = tinygen.export(program, calibration=x)
    assert tinygen.compare(program, graph, x).samples == 5
    assert tinygen.compare(Both(), graph, x) == tinygen.compare(program, graph, x)


def test_low_bit_modules_have_answers_alone() -> None:
    from tinygen.nn import InputQuant, QuantLinear, TanhQuant

    torch.manual_seed(0)
    x = torch.randn(16, 6)
    module = nn.Sequential(InputQuant(), QuantLinear(6, 3, weight_quantizer=TanhQuant(4)))
    module(x)
    loss = tinygen.compare(module, tinygen.export(module.eval(), x[:1]), x)
    assert loss.same == 16 and loss.layers == () and loss.worst is None


def test_refusals() -> None:
    module, x = small(), data(6, 1)
    graph = tinygen.export(module, x[:1], x)
    with pytest.raises(TinygenError, match="3 labels for 6 samples"):
        tinygen.compare(module, graph, x, [1, 2, 3])
    with pytest.raises(TinygenError, match="the module's outputs are"):
        tinygen.compare(nn.Sequential(nn.Conv2d(3, 2, 3)), graph, x)
    with pytest.raises(TinygenError, match="x has shape"):
        tinygen.compare(module, graph, x[:, :2])


def test_switchable_modules_are_compared_one_by_one() -> None:
    from tinygen.nn.switchable import SwitchSpec, switchable

    float_network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    module = switchable(float_network, [SwitchSpec(4, 4), SwitchSpec(2, 2)])
    with pytest.raises(UnsupportedError, match="several switches"):
        tinygen.compare(module, tinygen.export(small(), data(1, 1), data(4, 1)), data(2, 1))


def test_noise() -> None:
    noise = Noise()
    noise.add(np.array([3.0, 4.0]), np.array([3.0, 4.0]))
    assert noise.decibels == 200
    noise.add(np.array([0.0]), np.array([0.5]))
    assert noise.decibels == pytest.approx(20)
    silent = Noise()
    silent.add(np.zeros(2), np.ones(2))
    assert silent.decibels == -200
    loss = QuantizationLoss(2, 1, 3.0, 1, 2, (LayerLoss("a", "conv_2d", 9.0, 8.0), LayerLoss("b", "add", 7.0, 6.0)))
    assert loss.as_json()["worst"] == "b"
    assert "accuracy: 50.00 % in float, 100.00 % in integers" in str(loss)


def test_verify_has_a_row_for_pytorch(tmp_path: Path) -> None:
    module, x = small(), data(12, 4)
    torch.export.save(torch.export.export(module, (x[:1],)), tmp_path / "net.pt2")
    with torch.no_grad():
        labels = module(x).argmax(1).numpy()
    labels[0] = (labels[0] + 1) % 5
    np.save(tmp_path / "cal.npy", x.numpy())
    np.savez(tmp_path / "x.npz", x=np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1)), y=labels)
    options = BuildOptions(board="host", calibration=tmp_path / "cal.npy")
    report = verify(tmp_path / "net.pt2", tmp_path / "x.npz", options)
    assert report.identical
    assert report.quantization is not None and report.quantization.worst is not None
    assert list(report.accuracy or {}) == ["pytorch", "semantics", "host"]
    assert (report.accuracy or {})["pytorch"] == 11
    assert report.as_json()["quantization"]["worst"] == report.quantization.worst.layer
    codes = tinygen.export(module, x[:1], x, name="net")
    assert report.quantization == tinygen.compare(module, codes, x, labels)
