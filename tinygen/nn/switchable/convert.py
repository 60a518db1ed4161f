"""Trained float networks to switchable ones, and switchable ones to the plain network of one switch."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import partial

from torch import nn

from tinygen.errors import TinygenError, UnsupportedError
from tinygen.nn.convert import check_float, replaced
from tinygen.nn.layers import InputQuant
from tinygen.nn.pruned import bake_masks, copy_network, mask_of
from tinygen.nn.quantizers import ActivationQuantizer, Affine8, Symmetric8, WeightQuantizer
from tinygen.nn.switchable.base import Switchable, switches_of
from tinygen.nn.switchable.family import Family, family_of
from tinygen.nn.switchable.layers import SwitchableConv2d, SwitchableLinear
from tinygen.nn.switchable.private import SwitchableActivation, SwitchableBatchNorm1d, SwitchableBatchNorm2d
from tinygen.nn.switchable.runs import Run
from tinygen.nn.switchable.spec import FLOAT_BITS, SwitchSpec, check_switches, chosen
from tinygen.nn.switchable.trace import Layer, Structure, trace


def switchable(
    network: nn.Module,
    switches: Sequence[SwitchSpec],
    family: str | Family = "tanh",
    *,
    eight_bit: Collection[str] | None = None,
) -> nn.Module:
    """A switchable copy of a trained float network (SP-Net; thesis, chapter 5), set to the first switch.

    Weights are shared; every switch has its own batch norms, initialised with the network's, and its own activation
    ranges. The float switch (32, 32) computes exactly the same as the network. The first and the last layer have int8
    weights in all switches, the first quantizes its input to int8 (by one quantizer, so that all switches take the same
    input), and the last takes int8 activations; the thesis leaves those two unquantized.

    Masks of torch.nn.utils.prune on the weights of layers hold in all switches (narrower ones use their part of each
    mask); other masked tensors start with their zeros.

    The order of layers is the network's own, one for all switches, as in the thesis. In the usual order (convolution,
    batch norm, ReLU) one-sided quantizers take the place of ReLUs. In XNOR-Net's (convolution, ReLU, batch norm, with
    pools anywhere between) ReLUs stay and two-sided quantizers stand behind the batch norms: activations of 1 bit are
    possible only there, and all other switches then have signed activations too.

    A width keeps the first ceil(K width) of K filters of every layer; layers whose outputs are added keep the same
    ones, concatenated ones the first of each. The model's inputs and outputs stay whole.

    Args:
        network: of nn.Conv2d, nn.Linear, nn.BatchNorm, nn.ReLU, nn.ReLU6, pools, sums and concatenations.
        switches: in the order of their indices on the board; boards start with the first.
        family: the quantizers, a name in FAMILIES or a Family of your own.
        eight_bit: names of the layers with int8 weights; the first and the last in use unless given.

    Raises:
        UnsupportedError: no switches, or equal ones; an unknown family, or bits that it does not have; 1-bit
            activations in the usual order; modules or functions that are not known.
    """
    specs = check_switches(switches)
    check_float(network)
    network = copy_network(network)
    masks = {layer: mask for layer in network.modules() if (mask := mask_of(layer)) is not None}
    bake_masks(network)
    structure = trace(network)
    if structure.behind == () or any(path not in structure.to_last for path in structure.relus):
        _check_signs(network, specs, structure)
    made = _Maker(network, structure, specs, family_of(family), eight_bit).replacements()
    for layer, mask in masks.items():
        new = made.get(layer)  # none for a layer that is never called
        if isinstance(new, (SwitchableConv2d, SwitchableLinear)):
            new.set_weight_mask(mask)
    return replaced(network, made)


def extract(network: nn.Module, switch: SwitchSpec | str) -> nn.Module:
    """The plain network of one switch, of tinygen.nn's layers or (in float) torch's; in the same mode.

    It computes the same values and shares nothing with the switchable one. It is for evaluation and export: its weights
    are quantized as part of the full width's, which further training would not update.

    Raises:
        UnsupportedError: the network has no such switch, or none at all.
    """
    spec = chosen(switches_of(network), switch, type(network).__name__)
    network = copy.deepcopy(network)
    found = [module for module in network.modules() if isinstance(module, Switchable)]
    return replaced(network, {module: module.at(spec) for module in found})


def _check_signs(network: nn.Module, specs: Sequence[SwitchSpec], structure: Structure) -> None:
    """1-bit activations are two-sided."""
    signs = [spec.name for spec in specs if spec.activation_bits == 1]
    if signs:
        path = next((path for path in structure.relus if path not in structure.to_last), type(network).__name__)
        raise UnsupportedError(
            f"1-bit activations ({', '.join(signs)}) in the place of a ReLU",
            where=path,
            fix="Put batch norm behind the ReLU (convolution, ReLU, BatchNorm) and train the float network so.",
        )


class _Maker:
    """Makes the switchable modules."""

    def __init__(
        self,
        network: nn.Module,
        structure: Structure,
        specs: tuple[SwitchSpec, ...],
        family: Family,
        eight_bit: Collection[str] | None,
    ) -> None:
        self.parts = dict(network.named_modules())
        self.structure, self.specs, self.family = structure, specs, family
        names = [layer.path for layer in structure.layers]
        self.eight = {names[0], names[-1]} if eight_bit is None else set(eight_bit)
        if unknown := sorted(self.eight - set(names)):
            where = type(network).__name__
            raise UnsupportedError(f"no layer {', '.join(unknown)}", where=where, fix=f"Layers: {', '.join(names)}.")
        self.entry = InputQuant()

    def replacements(self) -> dict[nn.Module, nn.Module]:
        """The replacement of each module."""
        made: dict[nn.Module, nn.Module] = {}
        for layer in self.structure.layers:
            made[self.parts[layer.path]] = _named(layer.path, partial(self._layer, layer))
        for path in self.structure.relus:
            made[self.parts[path]] = _named(path, partial(self._relu, path))
        for path, channels in self.structure.norms.items():
            made[self.parts[path]] = _named(path, partial(self._norm, path, channels))
        for old, new in made.items():
            new.train(old.training)
        return made

    def _layer(self, layer: Layer) -> nn.Module:
        old = self.parts[layer.path]
        weights: Callable[[int], WeightQuantizer] = self.family.weights
        options = {
            "switches": self.specs,
            "weight_quantizer": (lambda _: Symmetric8()) if layer.path in self.eight else weights,
            "input_quantizer": self.entry if layer.reads_input else None,
            "inputs": layer.inputs,
            "outputs": layer.outputs,
            "bias": old.bias is not None,
            "device": old.weight.device,
            "dtype": old.weight.dtype,
        }
        new: nn.Module
        if isinstance(old, nn.Conv2d):
            new = SwitchableConv2d(
                old.in_channels,
                old.out_channels,
                old.kernel_size,
                stride=old.stride,
                padding=old.padding,
                dilation=old.dilation,
                groups=old.groups,
                padding_mode=old.padding_mode,
                **options,
            )
        else:
            new = SwitchableLinear(old.in_features, old.out_features, **options)
        new.weight, new.bias = old.weight, old.bias
        return new

    def _relu(self, path: str) -> nn.Module:
        real = self.parts[path]
        limit = 6.0 if isinstance(real, nn.ReLU6) else float("inf")
        last = path in self.structure.to_last
        return self._activation(real, (lambda _: Affine8(relu=True, limit=limit)) if last else self.family.one_sided)

    def _activation(self, real: nn.Module, make: Callable[[int], ActivationQuantizer]) -> SwitchableActivation:
        """A quantizer per switch; `real` where activations are not quantized."""
        return SwitchableActivation(
            self.specs,
            lambda spec: copy.deepcopy(real) if spec.activation_bits == FLOAT_BITS else make(spec.activation_bits),
        )

    def _norm(self, path: str, channels: Sequence[Run]) -> nn.Module:
        old = self.parts[path]
        kind = SwitchableBatchNorm2d if isinstance(old, nn.BatchNorm2d) else SwitchableBatchNorm1d
        norm = kind(old, self.specs, channels)
        if path not in self.structure.behind:
            return norm
        last = path in self.structure.to_last
        quantizer = self._activation(nn.Identity(), (lambda _: Affine8()) if last else self.family.two_sided)
        return nn.Sequential(OrderedDict(norm=norm, quantizer=quantizer))


def _named(path: str, make: Callable[[], nn.Module]) -> nn.Module:
    """The result of `make`; its errors name the place in the network."""
    try:
        return make()
    except TinygenError as error:
        error.where = f"{path} ({error.where})" if error.where else path
        raise
