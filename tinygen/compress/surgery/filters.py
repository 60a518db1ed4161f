"""Removes filters from a network: coupled filters, the slim network, and the masked network that it must equal.

In the masked network every layer that reads a removed channel ignores it: its kernels for that channel are zero.
(Zero filters would not be enough: a batch norm's shift, or a quantizer without a zero, turns a zero into another
value.) Quantized layers compute their weights from the kept ones alone, as in the slim network, since the scales of
most quantizers depend on all weights of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tinygen.compress.masking import apply_masks, masks_of, whole
from tinygen.compress.masks import FilterMasks, KernelMasks, check_masks, prunable
from tinygen.compress.surgery.channels import ChannelMap, LayerChannels, kept_channels
from tinygen.compress.surgery.gates import (
    blank_gate,
    blank_masked,
    blank_mixed,
    cut_gate,
    cut_masked,
    cut_mixed,
    gate_of,
    masked_of,
    mixed_of,
)
from tinygen.compress.surgery.quantized import sliced_quantizer
from tinygen.compress.surgery.rules import channel_map
from tinygen.compress.surgery.tracing import Example
from tinygen.errors import UnsupportedError
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.pruned import bake_masks, copy_network


@dataclass(frozen=True)
class Consistent:
    """Masks that can be applied to a network's layers consistently.

    Attributes:
        masks: of every convolution and dense layer, bool [O].
        widened: by layer, bool [O], True for filters that were to go and stay.
        reasons: by layer, why some of its filters stay.
    """

    masks: dict[str, Tensor]
    widened: dict[str, Tensor]
    reasons: dict[str, str]


@dataclass(frozen=True)
class Group:
    """Layers with coupled filters.

    Attributes:
        members: by layer, the indices [n] of its filters; entry i of all members goes with entry i of the others. A
            layer may be a member more than once.
        prunable: whether the filters can be removed; if not, `reason` says why.
    """

    members: tuple[tuple[str, Tensor], ...]
    prunable: bool = True
    reason: str = ""


def consistent(network: nn.Module, example: Example, masks: FilterMasks) -> Consistent:
    """Masks that remove what `masks` remove, as far as it is removable.

    A channel is removed if all filters that compute it may be removed: those of all branches of an addition, and of the
    depthwise layers on the way. A layer that `masks` do not name keeps its filters, but a depthwise one follows its
    input. The network's outputs stay, as do inputs of operators that may mix channels, and the first filter of a layer
    that would otherwise be empty.

    Args:
        example: the network's input, or inputs, with a batch in front.
        masks: bool [O] by layer, True for what is kept.

    Raises:
        ModelError: a mask fits no layer, or the network does not take the example.
        UnsupportedError: the network cannot be traced.
    """
    check_masks(network, masks, 1)
    return _settled(network, channel_map(network, example), masks)


def _settled(network: nn.Module, channels: ChannelMap, masks: FilterMasks) -> Consistent:
    kept, reasons = kept_channels(channels, _arrays(masks))
    effective = {
        name: torch.ones(len(layer.weight), dtype=torch.bool)
        if name not in channels.layers
        else torch.from_numpy(np.isin(channels.layers[name].outputs, list(kept)))
        for name, layer in prunable(network).items()
    }
    widened = {name: effective[name] & ~mask.cpu() for name, mask in masks.items()}
    widened = {name: mask for name, mask in widened.items() if mask.any()}
    why = {}
    for name, mask in widened.items():
        layer = channels.layers.get(name)
        numbers = [] if layer is None else layer.outputs[mask.numpy()]
        given = dict.fromkeys(reasons[int(number)] for number in numbers)
        why[name] = "; ".join(given) or "the layer is not called in a way that is followed"
    return Consistent(effective, widened, why)


def unread_filters(network: nn.Module, example: Example, masks: KernelMasks) -> dict[str, Tensor]:
    """Filter masks [O] that remove the filters that no kept kernel reads, directly or through other removed filters.

    Args:
        masks: bool [O, I] by layer; layers that it does not name read all their inputs.

    Raises:
        ModelError: a mask fits no layer, or the network does not take the example.
        UnsupportedError: the network cannot be traced.
    """
    check_masks(network, masks, 2)
    channels = channel_map(network, example)
    kept = {int(number) for layer in channels.layers.values() for number in layer.outputs}
    while True:
        read = set(channels.fixed)
        for name, layer in channels.layers.items():
            if not layer.depthwise:
                rows = np.isin(layer.outputs, list(kept))
                read.update(int(number) for number in _inputs_read(layer, rows, masks.get(name)))
        if kept <= read:
            return {
                name: torch.from_numpy(np.isin(layer.outputs, list(kept))) for name, layer in channels.layers.items()
            }
        kept &= read


def _inputs_read(layer: LayerChannels, rows: np.ndarray, mask: Tensor | None) -> np.ndarray:
    """Numbers of the inputs that some kept kernel of the filters `rows` reads."""
    width = len(layer.inputs) // layer.groups
    used = np.ones((len(rows), width), bool) if mask is None else mask.cpu().numpy().copy()
    used[~rows] = False
    return layer.inputs[used.reshape(layer.groups, -1, width).any(1).ravel()]


def groups(network: nn.Module, example: Example) -> list[Group]:
    """The groups of layers whose filters go together, in the order of use; most have one layer.

    Raises:
        UnsupportedError: the network cannot be traced.
        ModelError: it does not take the example.
    """
    return list(_groups(channel_map(network, example)))


def _groups(channels: ChannelMap) -> Iterator[Group]:
    makers: dict[int, list[tuple[str, int]]] = {}
    for name, layer in channels.layers.items():
        for index, number in enumerate(layer.outputs):
            makers.setdefault(int(number), []).append((name, index))
    alike: dict[tuple[tuple[str, ...], str], list[list[int]]] = {}
    for number, made in makers.items():
        names = tuple(name for name, _ in made)
        alike.setdefault((names, channels.fixed.get(number, "")), []).append([index for _, index in made])
    for (names, reason), rows in alike.items():
        indices = torch.tensor(rows).T
        yield Group(tuple(zip(names, indices, strict=True)), not reason, reason)


def slim(network: nn.Module, example: Example, masks: FilterMasks) -> nn.Module:
    """A copy of the network without the filters that `consistent(network, example, masks)` takes away.

    It is of the same class, with narrower layers, and equals `masked(network, example, masks)` in evaluation mode.

    Args and errors as `consistent`; and

    Raises:
        UnsupportedError: a layer's weights are parametrized.
    """
    check_masks(network, masks, 1)
    channels = channel_map(network, example)
    kept = kept_channels(channels, _arrays(masks))[0]
    result, held = _unmasked(network)
    for name, layer in channels.layers.items():
        rows, columns = _rows_and_columns(layer, kept)
        _cut(_layer(result, name), layer, rows, columns)
        if name in held:
            held[name] = held[name][rows][:, columns]
    for name, numbers in channels.vectors.items():
        _cut_vectors(result.get_submodule(name), _index(numbers, kept))
    for name, numbers in channels.gates.items():
        cut_gate(gate_of(result, name), _index(numbers, kept))
    for name, layer in channels.mixed.items():
        cut_mixed(mixed_of(result, name), *_rows_and_columns(layer, kept))
    for name, layer in channels.masked.items():
        cut_masked(masked_of(result, name), *_rows_and_columns(layer, kept))
    apply_masks(result, held)
    return result


def masked(network: nn.Module, example: Example, masks: FilterMasks) -> nn.Module:
    """A copy of the network, as wide as before, that computes what `slim` computes.

    Layers that read a removed channel have zero kernels for it. The filters that make it are zero too, and so are
    gains and shifts behind them.

    Args and errors as `slim`.
    """
    check_masks(network, masks, 1)
    channels = channel_map(network, example)
    kept = kept_channels(channels, _arrays(masks))[0]
    result, held = _unmasked(network)
    for name, layer in channels.layers.items():
        _blank(_layer(result, name), *_rows_and_columns(layer, kept), held.pop(name, None))
    for name, numbers in channels.vectors.items():
        _blank_vectors(result.get_submodule(name), _index(numbers, kept))
    for name, numbers in channels.gates.items():
        blank_gate(gate_of(result, name), _index(numbers, kept))
    for name, layer in channels.mixed.items():
        blank_mixed(mixed_of(result, name), *_rows_and_columns(layer, kept))
    for name, layer in channels.masked.items():
        blank_masked(masked_of(result, name), *_rows_and_columns(layer, kept))
    apply_masks(result, held)
    return result


def _unmasked(network: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy without the masks on its weights (zeros in float layers), and those masks."""
    result = copy_network(network)
    held = masks_of(result)
    bake_masks(result)
    for layer in result.modules():
        if isinstance(layer, (QuantConv2d, QuantLinear)):
            layer.set_weight_mask(None)
    return result, held


def _arrays(masks: FilterMasks) -> dict[str, np.ndarray]:
    return {name: mask.cpu().numpy() for name, mask in masks.items()}


def _index(numbers: np.ndarray, kept: set[int]) -> Tensor:
    """Where the kept ones are, int64."""
    return torch.from_numpy(np.flatnonzero(np.isin(numbers, list(kept))))


def _rows_and_columns(layer: LayerChannels, kept: set[int]) -> tuple[Tensor, Tensor]:
    """Indices of the kept filters, and of the kept slices of each filter [I / groups]."""
    if layer.depthwise:
        return _index(layer.outputs, kept), torch.zeros(1, dtype=torch.int64)
    # Of several groups all keep the same positions.
    columns = layer.inputs[: len(layer.inputs) // layer.groups]
    return _index(layer.outputs, kept), _index(columns, kept)


def _layer(network: nn.Module, name: str) -> nn.Conv2d | nn.Linear:
    layer = network.get_submodule(name)
    assert isinstance(layer, (nn.Conv2d, nn.Linear))
    if not isinstance(layer._parameters.get("weight"), nn.Parameter):
        raise UnsupportedError(
            "weights that are computed from other parameters",
            where=name,
            fix="Remove the parametrization first (torch.nn.utils.parametrize.remove_parametrizations).",
        )
    return layer


def _same_kind(old: nn.Parameter, value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone(), requires_grad=old.requires_grad)


def _cut(layer: nn.Conv2d | nn.Linear, channels: LayerChannels, rows: Tensor, columns: Tensor) -> None:
    if isinstance(layer, (QuantConv2d, QuantLinear)):
        layer.weight_quantizer = sliced_quantizer(layer.weight_quantizer, layer.weight, rows, columns)
    layer.weight = _same_kind(layer.weight, layer.weight[rows][:, columns])
    if layer.bias is not None:
        layer.bias = _same_kind(layer.bias, layer.bias[rows])
    if isinstance(layer, nn.Conv2d):
        if channels.depthwise:
            layer.groups = layer.groups * len(rows) // len(channels.outputs)
        layer.out_channels, layer.in_channels = len(rows), len(columns) * layer.groups
    else:
        layer.out_features, layer.in_features = len(rows), len(columns)


def _blank(layer: nn.Conv2d | nn.Linear, rows: Tensor, columns: Tensor, held: Tensor | None) -> None:
    keep = torch.zeros(layer.weight.shape[:2], dtype=torch.bool, device=layer.weight.device)
    keep[rows[:, None], columns] = True
    weights = whole(keep, layer.weight)
    if held is not None:
        weights &= held
    if isinstance(layer, (QuantConv2d, QuantLinear)):
        layer.set_weight_mask(weights)
    with torch.no_grad():
        layer.weight[~weights] = 0.0
        if layer.bias is not None:
            layer.bias[~keep.any(1)] = 0.0


_OF_CHANNELS = ("weight", "bias", "running_mean", "running_var")


def _vectors(module: nn.Module) -> Mapping[str, Tensor]:
    found = {name: getattr(module, name, None) for name in _OF_CHANNELS}
    return {name: value for name, value in found.items() if value is not None}


def _cut_vectors(module: nn.Module, index: Tensor) -> None:
    for name, value in _vectors(module).items():
        setattr(module, name, _same_kind(value, value[index]) if isinstance(value, nn.Parameter) else value[index])
    setattr(module, "num_parameters" if isinstance(module, nn.PReLU) else "num_features", len(index))


def _blank_vectors(module: nn.Module, index: Tensor) -> None:
    """Gains, shifts and means of removed channels become zero; variances stay."""
    for name, value in _vectors(module).items():
        if name != "running_var":
            gone = torch.ones(len(value), dtype=torch.bool)
            gone[index] = False
            with torch.no_grad():
                value[gone.to(value.device)] = 0.0
