"""calibrate(): every range of every module, from the whole set, whatever batches it comes in."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tinygen
from tests.nn.calibrated import MODULES, SAMPLES, accuracy, calibrated, exported_accuracy, fit, loaded, trained
from tests.nn.test_convert import digits, small_network
from tests.support.command import tinygen as command
from tests.support.deciding import conv
from tests.support.in_float import float_weights
from tinygen.errors import ModelError, TinygenError
from tinygen.nn import (
    RECIPES,
    Affine8,
    CondConv2d,
    GatedConv2d,
    InputQuant,
    LogQuantActivation,
    Recipe,
    Symmetric8,
    TanhQuantActivation,
    calibrate,
    convert,
)
from tinygen.nn.quantizers import FollowedRange
from tinygen.nn.switchable import Family, SwitchSpec, calibrate_switches, extract, switchable

torch.set_num_threads(1)

POINTS = 1.0
"""That 8 bits may cost."""
_FEW, _QUICK = ("mixed, sigmoid", "gated, experts"), 300


def ranges(network: nn.Module) -> dict[str, Tensor]:
    parts = ((name, part) for name, part in network.named_modules() if isinstance(part, FollowedRange))
    return {name: getattr(part, part.stored).clone() for name, part in parts}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def samples(count: int = SAMPLES) -> Tensor:
    return digits()[0][:count]


@pytest.mark.parametrize("name", _FEW)
def test_float_weights_loaded_calibrated_and_exported(name: str) -> None:
    assert exported_accuracy(calibrated(name), _QUICK) >= accuracy(trained(name), _QUICK) - POINTS


@pytest.mark.long
@pytest.mark.parametrize("name", MODULES)
def test_every_module_of_float_weights(name: str) -> None:
    assert exported_accuracy(calibrated(name), 1000) >= accuracy(trained(name), 1000) - POINTS


@pytest.fixture(scope="module")
def start() -> nn.Module:
    return fit(small_network())


@pytest.mark.long
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_of_float_weights(start: nn.Module, recipe: str) -> None:
    """Weights of fewer bits need training; but what is exported is the network that was calibrated."""
    network = convert(small_network(), recipe)
    network.load_state_dict(float_weights(start), strict=False)
    calibrate(network, samples().split(64))
    found = exported_accuracy(network, 1000)
    assert found == pytest.approx(accuracy(network, 1000), abs=0.2)
    if recipe == "int8":
        assert found >= accuracy(start, 1000) - POINTS
    assert all(int(part.batches) == 1 for part in network.modules() if isinstance(part, FollowedRange))


@pytest.mark.long
@pytest.mark.parametrize("bits", [3, 4])
def test_logarithmic_activations_leave_out_what_is_tiny(start: nn.Module, bits: int) -> None:
    network = convert(start, Recipe(Symmetric8, lambda _: LogQuantActivation(bits)))
    calibrate(network, [samples()])
    assert exported_accuracy(network, 1000) >= accuracy(start, 1000) - 3 * POINTS


@pytest.mark.long
def test_every_switch(start: nn.Module) -> None:
    family = Family(lambda bits: Symmetric8(), lambda bits: Affine8(relu=True), lambda bits: Affine8())
    network = switchable(start, [SwitchSpec(8, 8), SwitchSpec(7, 8)], family)
    calibrate_switches(network.eval(), samples().split(64))
    for switch in ("w8a8", "w7a8"):
        assert exported_accuracy(extract(network, switch), 1000) >= accuracy(start, 1000) - POINTS


@pytest.mark.parametrize("name", ["gated, experts", "exits", "experts, 2", "skipped"])
def test_batches_and_order_make_no_difference(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where the set does not run at once."""
    monkeypatch.setattr("tinygen.nn.calibration._CHUNK", 64 * 24)
    torch.manual_seed(0)
    network, x = MODULES[name]().eval(), samples(96)
    network.load_state_dict({key: value + 0.1 for key, value in float_weights(network).items()}, strict=False)
    calibrate(network, [x])
    whole = ranges(network)
    for batches in (x.split(7), x.split(64)[::-1], x[torch.randperm(96)].split(1)):
        calibrate(network, batches)
        assert same(ranges(network), whole)


def test_ranges_are_the_ends_of_the_whole_set() -> None:
    torch.manual_seed(0)
    network, x = MODULES["sum"]().eval(), samples()
    calibrate(network, x.split(10))
    seen: dict[str, Tensor] = {}
    parts = {name: part for name, part in network.named_modules() if isinstance(part, Affine8)}
    for name, part in parts.items():
        part.register_forward_pre_hook(lambda part, args, name=name: seen.update({name: part.batch_range(args[0])}))
    with torch.no_grad():
        network(x)
    assert len(parts) == 4
    for name, part in parts.items():
        torch.testing.assert_close(part.running_range, seen[name], rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("kind", ["layers", "mixed, sigmoid"])
def test_it_starts_afresh_with_weights_times_ten(kind: str) -> None:
    torch.manual_seed(0)
    network, x = MODULES[kind]().eval(), samples(64)
    calibrate(network, [x])
    with torch.no_grad():
        network[1].weight *= 10.0
    again = copy.deepcopy(network)
    again.load_state_dict(MODULES[kind]().state_dict() | float_weights(network))  # of unknown ranges
    calibrate(network, [x])
    calibrate(again, [x])
    assert same(ranges(network), ranges(again))
    with torch.no_grad():
        most = float(network[2](network[1](network[0](x))).max())
    assert float(network[3].running_range[1]) == pytest.approx(most, rel=1e-5)


def test_the_smallest_exponents_are_left_out() -> None:
    quantizer = LogQuantActivation(4)
    x = torch.cat((torch.full((1000,), 1.0), torch.full((5,), 2.0**-40), torch.full((1,), 8.0), torch.zeros(50)))
    calibrate(quantizer, x[:, None].split(100))
    assert quantizer.running_range.tolist() == [0.0, 3.0]


def test_training_goes_on_from_the_calibrated_range() -> None:
    quantizer = Affine8()
    calibrate(quantizer, [torch.tensor([[-1.0], [3.0]])])
    quantizer.train()(torch.tensor([[-1.0], [13.0]]))
    assert quantizer.running_range.tolist() == pytest.approx([-1.0, 4.0]) and int(quantizer.batches) == 2


@pytest.mark.parametrize(
    ("name", "path", "what"),
    [
        ("mixed, sigmoid", r"5 \(CondConv2d\)", "mixed weights"),
        ("gated, experts", r"5.convolution \(CondConv2d\)", "mixed weights"),
        ("layers", r"7 \(Affine8\)", "activations"),
    ],
)
def test_what_has_seen_nothing_is_not_exported(name: str, path: str, what: str) -> None:
    """Not even where everything else has."""
    network, x = MODULES[name]().eval(), samples(4)
    calibrate(network, [x])
    module = network.get_submodule(path.split()[0].removesuffix("\\"))
    module.batches.zero_()
    # A file keeps what is known and what is not.
    other = MODULES[name]().eval()
    other.load_state_dict(network.state_dict())
    for part in (network, other):
        with pytest.raises(ModelError, match=rf"(?s)^{path}: the range of the {what} is not known.*calibrate"):
            tinygen.export(part, x[:1])


def test_zeros_alone_are_no_range() -> None:
    network = nn.Sequential(InputQuant(), conv(1, 2), TanhQuantActivation(4)).eval()
    calibrate(network, [torch.ones(2, 1, 4, 4)])
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.zero_()
    calibrate(network, [torch.ones(2, 1, 4, 4)])
    with pytest.raises(ModelError, match=r"^2 \(TanhQuantActivation\): the range"):
        tinygen.export(network, torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("fresh", [lambda: Affine8(), lambda: CondConv2d(2, 2, 3)])
def test_states_without_the_number_of_batches(fresh) -> None:
    """A trained range is known; that of a new module is not."""
    old = fresh()
    state = {name: value for name, value in old.state_dict().items() if not name.endswith("batches")}
    new = fresh()
    new.load_state_dict(state)
    assert int(new.batches) == 0
    new.load_state_dict(state | {old.stored: getattr(old, old.stored) + 2.0})
    assert int(new.batches) == 1


def test_an_error_leaves_ranges_as_they_were() -> None:
    network = MODULES["layers"]().eval()
    calibrate(network, [samples(8)])
    before = ranges(network)
    with pytest.raises(RuntimeError):
        calibrate(network, [torch.ones(4, 2, 8, 8)])
    assert same(ranges(network), before) and network(samples(2)).shape == (2, 10)
    with pytest.raises(TinygenError, match="no batch"):
        calibrate(network, [samples(8)[:0]])


def test_a_trained_network_needs_no_calibration() -> None:
    def new() -> nn.Module:
        return nn.Sequential(InputQuant(), GatedConv2d(1, 4, 3, density=0.5, experts=4), nn.AdaptiveAvgPool2d(1))

    network, other = new(), new()
    network.train()(samples(16))
    other.load_state_dict(network.state_dict())
    assert tinygen.export(other.eval(), samples(1)).ops


@pytest.mark.long
def test_from_a_file_of_weights_to_verify(tmp_path: Path) -> None:
    torch.save(float_weights(trained("gated, experts")), tmp_path / "float.pt")
    network = MODULES["gated, experts"]()
    network.load_state_dict(torch.load(tmp_path / "float.pt"), strict=False)
    calibrate(network, samples().split(50))
    torch.save(network.state_dict(), tmp_path / "calibrated.pt")
    network = MODULES["gated, experts"]()
    network.load_state_dict(torch.load(tmp_path / "calibrated.pt"))
    tinygen.save(tinygen.export(network, samples(1), name="net"), tmp_path / "net.tg")
    images, labels = digits()
    np.savez(tmp_path / "x.npz", x=images[-100:].numpy().transpose(0, 2, 3, 1), y=labels[-100:].numpy())
    built = command("build", "net.tg", "--board", "host", "--out", "net", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    done = command("verify", "net.tg", "--board", "host", "--inputs", "x.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_weights_of_a_file_are_what_calibration_sees() -> None:
    """Loading keeps ranges unknown."""
    assert not any(int(part.batches) for part in loaded("gated, experts").modules() if isinstance(part, FollowedRange))
