"""Trained float networks to quantized layers, by a named recipe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import nn

from tinygen.errors import UnsupportedError
from tinygen.nn.layers import InputQuant, QuantConv2d, QuantLinear
from tinygen.nn.pruned import bake_masks, copy_network, mask_of
from tinygen.nn.quantizers import (
    APSQ,
    BWN,
    ActivationQuantizer,
    Affine8,
    CodebookQuant,
    LogQuant,
    ReLUQuant,
    Sign,
    Symmetric8,
    TanhQuant,
    Ternary,
    WeightQuantizer,
    XNORNet,
)


@dataclass(frozen=True)
class Recipe:
    """The quantizers that `convert` uses.

    Attributes:
        weights: the weight quantizer of a layer that is neither first nor last.
        activation: makes the module that replaces a ReLU, from its upper limit (infinite, or 6 for a ReLU6).
    """

    weights: Callable[[], WeightQuantizer]
    activation: Callable[[float], ActivationQuantizer]


def _int8_relu(limit: float) -> ActivationQuantizer:
    return Affine8(relu=True, limit=limit)


RECIPES: Mapping[str, Recipe] = {
    "int8": Recipe(Symmetric8, _int8_relu),
    "w4a4": Recipe(lambda: TanhQuant(4), lambda _: ReLUQuant(4)),
    "w2a2": Recipe(lambda: TanhQuant(2), lambda _: ReLUQuant(2)),
    "ternary": Recipe(Ternary, _int8_relu),
    "binary-weights": Recipe(BWN, _int8_relu),
    "xnor": Recipe(XNORNet, lambda _: Sign()),
    "log": Recipe(lambda: LogQuant(3, integer_exponents=True), _int8_relu),
    "apsq": Recipe(lambda: APSQ(1, scale_bits=8), _int8_relu),
    "codebook-16": Recipe(lambda: CodebookQuant(4, table_bits=8), _int8_relu),
}
"""Recipes by name; "log" is 4-bit codes of shifts, "codebook-16" 16 shared values of 8 bits, "xnor" signs for ReLUs."""

_LEFT_ALONE = (nn.Softmax, nn.LogSoftmax)


def convert(
    network: nn.Module, recipe: str | Recipe, *, eight_bit: Collection[str] | None = None, quantize_input: bool = True
) -> nn.Module:
    """A copy of `network` with its Conv2d, Linear and ReLU modules quantized, initialised with the float weights.

    The first and the last layer have int8 weights, and the first quantizes its input to int8. They are found by the
    order in which modules were registered; if that is not the order of use, name them in `eight_bit`. Train the copy
    further; or, for "int8", run `calibrate`. Recipes with TanhQuant (w4a4, w2a2) rescale weights to a maximum of 1, and
    need batch normalisation after each layer. Masks of torch.nn.utils.prune on weights become the quantized layers'
    `weight_mask`. "xnor" replaces each ReLU by a sign, so that convolution, batch norm, ReLU, convolution becomes
    XNOR-Net's batch norm, sign, convolution.

    Args:
        network: of nn.Conv2d, nn.Linear, nn.ReLU and nn.ReLU6 modules, and others without weights or nonlinearity.
        recipe: a name in RECIPES, or a recipe of your own.
        eight_bit: names of the layers with int8 weights; the first and the last unless given.
        quantize_input: an InputQuant is put in front of the first layer.

    Raises:
        UnsupportedError: the recipe is not known; the network has quantized layers already, none to quantize, layers
            or activations of another kind, or no ReLU module between its layers.
    """
    chosen = _recipe(recipe)
    network = copy_network(network)
    masks = {layer: mask for layer in network.modules() if (mask := mask_of(layer)) is not None}
    bake_masks(network)
    layers = _layers(network)
    names = list(layers)
    eight = {names[0], names[-1]} if eight_bit is None else set(eight_bit)
    if unknown := sorted(eight - set(names)):
        where = type(network).__name__
        raise UnsupportedError(f"no layer {', '.join(unknown)}", where=where, fix=f"Layers: {', '.join(names)}.")
    replacements: dict[nn.Module, nn.Module] = {
        relu: _like(relu, chosen.activation(6.0 if isinstance(relu, nn.ReLU6) else float("inf")))
        for relu in network.modules()
        if isinstance(relu, (nn.ReLU, nn.ReLU6))
    }
    if not replacements and len(names) > 1:
        raise UnsupportedError(
            "no nn.ReLU between the layers",
            where=type(network).__name__,
            fix="Make activations modules (self.relu = nn.ReLU()) rather than calls of torch.relu.",
        )
    for name, layer in layers.items():
        weights = Symmetric8() if name in eight else chosen.weights()
        first = quantize_input and name == names[0]
        quantized = _quantized(layer, weights, InputQuant() if first else None)
        quantized.set_weight_mask(masks.get(layer))
        replacements[layer] = _like(layer, quantized)
    return replaced(network, replacements)


def _recipe(recipe: str | Recipe) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise UnsupportedError(f"recipe {recipe!r}", where="convert", fix=f"Use one of {', '.join(RECIPES)}.")
    return RECIPES[recipe]


def check_float(network: nn.Module) -> None:
    """
    Raises:
        UnsupportedError: the network has quantized layers already, none to quantize, or layers or activations of
            another kind than Conv2d, Linear and ReLU.
    """
    _layers(network)


def _layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers to quantize by name, in the order of registration."""
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        where = f"{type(network).__name__}.{name}" if name else type(network).__name__
        kind = type(module).__name__
        if isinstance(module, (QuantConv2d, QuantLinear, WeightQuantizer, ActivationQuantizer)):
            raise UnsupportedError(f"{kind} is quantized already", where=where, fix="Convert the float network.")
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            found[name] = module
        elif isinstance(module, nn.modules.conv._ConvNd) or _is_other_activation(module):
            raise UnsupportedError(f"{kind} has no quantized form", where=where, fix="Use Conv2d, Linear and ReLU.")
    if not found:
        raise UnsupportedError("no Conv2d or Linear module", where=type(network).__name__, fix="Nothing to convert.")
    return found


def _is_other_activation(module: nn.Module) -> bool:
    if isinstance(module, (nn.ReLU, nn.ReLU6, *_LEFT_ALONE)):
        return False
    return type(module).__module__ == nn.ReLU.__module__


def _quantized(
    layer: nn.Module, weights: WeightQuantizer, entry: ActivationQuantizer | None
) -> QuantConv2d | QuantLinear:
    """`layer` with quantized weights, sharing its parameters."""
    place = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    has_bias = layer.bias is not None
    result: QuantConv2d | QuantLinear
    if isinstance(layer, nn.Conv2d):
        result = QuantConv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            groups=layer.groups,
            bias=has_bias,
            padding_mode=layer.padding_mode,
            weight_quantizer=weights,
            input_quantizer=entry,
            **place,
        )
    else:
        result = QuantLinear(
            layer.in_features,
            layer.out_features,
            bias=has_bias,
            weight_quantizer=weights,
            input_quantizer=entry,
            **place,
        )
    result.weight = layer.weight
    result.bias = layer.bias
    return result


def _like(old: nn.Module, new: nn.Module) -> nn.Module:
    return new.train(old.training)


def replaced(network: nn.Module, replacements: dict[nn.Module, nn.Module]) -> nn.Module:
    """`network` with modules replaced wherever they are registered."""
    if network in replacements:
        return replacements[network]
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child in replacements:
                setattr(parent, name, replacements[child])
    return network
