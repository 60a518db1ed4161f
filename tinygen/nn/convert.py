"""Trained float networks to quantized layers, by a named recipe."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.nn.calibration import calibrate
from tinygen.nn.flow import LAYERS, RELUS, Flow, Site, relu_limit
from tinygen.nn.insert import Insertions, rewritten
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
    network: nn.Module,
    recipe: str | Recipe,
    *,
    eight_bit: Collection[str] | None = None,
    quantize_input: bool = True,
    example_input: Tensor | np.ndarray | None = None,
) -> nn.Module:
    """A copy of `network` with its Conv2d, Linear and ReLU modules quantized, initialised with the float weights.

    The first and the last layer in use have int8 weights, and the input is quantized to int8. Train the copy further;
    or, for "int8", run `calibrate`. Recipes with TanhQuant (w4a4, w2a2) rescale weights to a maximum of 1, and need
    batch normalisation after each layer. Masks of torch.nn.utils.prune on weights become the quantized layers'
    `weight_mask`. "xnor" replaces each ReLU by a sign, so that convolution, batch norm, ReLU, convolution becomes
    XNOR-Net's batch norm, sign, convolution.

    Quantizers of 8 bits (`Affine8`) stand where a layer would read real values: behind a batch norm without a ReLU, a
    sum, or an average whose sums may leave 16 bits (global ones), or 32 together (of more than 1,024 features). They
    are the layer's `input_quantizer`, or in front of the pool that reads them. ReLUs whose values are concatenated
    share a quantizer. Where forward() calls functions that need a quantizer (torch.relu, torch.cat of sums), the copy
    is a torch.fx.GraphModule of the same modules.

    Args:
        network: of nn.Conv2d, nn.Linear, batch norms, ReLU, ReLU6, pools, flattenings, sums, concatenations, dropout.
        recipe: a name in RECIPES, or a recipe of your own.
        eight_bit: names of the layers with int8 weights; the first and the last unless given.
        quantize_input: an InputQuant is put in front of the first layer.
        example_input: [N, ...] of the shape that the board will see; then everything that `tinygen.export` would refuse
            is refused now. Without it, what depends on shapes is not known.

    Raises:
        UnsupportedError: the recipe is not known; the network has quantized layers already, none to quantize, or what
            cannot be exported (names the module).
        ModelError: the network does not accept the example.
    """
    chosen = _recipe(recipe)
    network = copy_network(network)
    masks = {layer: mask for layer in network.modules() if (mask := mask_of(layer)) is not None}
    bake_masks(network)
    layers = _layers(network)
    flow = _flow(network, chosen, quantize_input)
    eight = _eight(network, {layer: name for name, layer in layers.items()}, flow, eight_bit)
    quantizers = _Quantizers(chosen, flow, network.training)
    insertions = Insertions.of(flow)
    replacements: dict[nn.Module, nn.Module] = {
        relu: _like(relu, quantizers.of(relu)) for relu in network.modules() if isinstance(relu, RELUS)
    }
    for pool, site in insertions.wrapped.items():
        replacements[pool] = _like(pool, nn.Sequential(quantizers.of(site), pool))
    for name, layer in layers.items():
        weights = Symmetric8() if name in eight else chosen.weights()
        entry = insertions.entries.get(layer)
        with _located(f"{type(network).__name__}.{name}"):
            quantized = _quantized(layer, weights, None if entry is None else quantizers.of(entry))
        quantized.set_weight_mask(masks.get(layer))
        replacements[layer] = _like(layer, quantized)
    whole = rewritten(flow, insertions.nodes, quantizers.of) if insertions.nodes or flow.calls else network
    converted = replaced(whole, replacements)
    if example_input is not None:
        _try_export(converted, torch.as_tensor(example_input), quantize_input)
    return converted


def _flow(network: nn.Module, recipe: Recipe, quantize_input: bool) -> Flow:
    """The data flow in evaluation, which is what boards compute."""
    unit = torch.tensor((0.0, 1.0), dtype=torch.float64)
    largest = int(recipe.activation(float("inf")).levels(unit)[0].abs().max())
    training = [module for module in network.modules() if module.training]
    network.eval()
    # A layer alone would be traced into.
    flow = Flow(nn.Sequential(network) if isinstance(network, LAYERS) else network, largest, quantize_input)
    for module in training:
        module.training = True
    return flow


def _eight(
    network: nn.Module, names: Mapping[nn.Module, str], flow: Flow, eight_bit: Collection[str] | None
) -> set[str]:
    """Names of the layers with int8 weights."""
    where = type(network).__name__
    if eight_bit is not None:
        if unknown := sorted(set(eight_bit) - set(names.values())):
            fix = f"Layers: {', '.join(names.values())}."
            raise UnsupportedError(f"no layer {', '.join(unknown)}", where=where, fix=fix)
        return set(eight_bit)
    if not flow.layers:
        raise UnsupportedError("forward() uses no Conv2d or Linear module", where=where, fix="Nothing to convert.")
    return {names[flow.layers[0]], names[flow.layers[-1]]}


class _Quantizers:
    """The quantizers of a network, by what needs them: made when they are asked for."""

    def __init__(self, recipe: Recipe, flow: Flow, training: bool) -> None:
        self.recipe, self.flow, self.training = recipe, flow, training
        self.made: dict[Site, ActivationQuantizer] = {flow.entry: InputQuant()}

    def of(self, site: Site) -> ActivationQuantizer:
        site = self.flow.root(site)
        if site not in self.made:
            relu = site if isinstance(site, nn.Module) else self.flow.modules.get(site)
            self.made[site] = self.recipe.activation(relu_limit(relu)) if isinstance(relu, RELUS) else Affine8()
        quantizer = self.made[site]
        quantizer.train(self.training)
        return quantizer


def _try_export(network: nn.Module, example: Tensor, quantize_input: bool) -> None:
    """
    Raises:
        UnsupportedError, ModelError: what export says of the network, with ranges of any values.
    """
    # Frontends lie above this room: the one for these networks is found by name, as tinygen's own attributes are.
    read = importlib.import_module("tinygen.frontends.torch_nn").read_quantized
    trial = copy.deepcopy(network) if quantize_input else nn.Sequential(InputQuant(), copy.deepcopy(network))
    x = torch.randn(example[:1].shape, generator=torch.Generator().manual_seed(0)).to(example)
    name = type(network).__name__
    try:
        calibrate(trial, [x])
    except RuntimeError as error:
        raise ModelError(
            f"it does not take an input of {list(x.shape)} ({str(error).splitlines()[0]})",
            where=name,
            fix="Give an example [N, ...] of the shape that the board will see.",
        ) from error
    try:
        read(trial, x)
    except TinygenError as error:
        error.where = f"{name}.{error.where if quantize_input else error.where.removeprefix('1.')}"
        raise


@contextmanager
def _located(where: str) -> Iterator[None]:
    """A context that names the module in errors."""
    try:
        yield
    except TinygenError as error:
        error.where = where
        raise


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
            raise UnsupportedError(f"{kind} has no quantized form", where=where, fix=_fix_of(module))
    if not found:
        raise UnsupportedError("no Conv2d or Linear module", where=type(network).__name__, fix="Nothing to convert.")
    return found


def _fix_of(module: nn.Module) -> str:
    if isinstance(module, nn.Conv1d):
        window = f"(1, {module.kernel_size[0]})"
        return f"Give it a height of 1: Conv2d with a kernel of {window}, and inputs [N, C, 1, L]."
    return "Use Conv2d, Linear and ReLU."


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
