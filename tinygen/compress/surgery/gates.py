"""Removes channels from gated and masked convolutions and mixed weights: rules of plain layers do not cover them."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn

from tinygen.nn.fire_together import MaskedConv2d
from tinygen.nn.gated import GatedConv2d
from tinygen.nn.mask_predictors import MaskPredictor
from tinygen.nn.mixed import CondConv2d


class _NeverWins:
    """A hook on a gate's codes: those of removed channels are below all others."""

    def __init__(self, gone: Tensor) -> None:
        self.gone = gone

    def __call__(self, module: nn.Module, inputs: object, gates: Tensor) -> Tensor:
        return gates.masked_fill(self.gone.to(gates.device), -1.0)


def gate_of(network: nn.Module, name: str) -> GatedConv2d:
    gate = network.get_submodule(name)
    assert isinstance(gate, GatedConv2d)
    return gate


def cut_gate(gate: GatedConv2d, index: Tensor) -> None:
    """Keeps only the channels `index`; the number of live channels stays, if there are enough.

    Its head, convolution and norm are cut as layers of their own.
    """
    gate.beta = nn.Parameter(gate.beta.detach()[index].clone(), requires_grad=gate.beta.requires_grad)
    gate.k = min(gate.k, len(index))
    gate.density = Fraction(gate.k, len(index))
    gate.gates = gate.live = None


def blank_gate(gate: GatedConv2d, index: Tensor) -> None:
    """Keeps the width, but the gate chooses only among the channels `index`."""
    gone = torch.ones(len(gate.beta), dtype=torch.bool)
    gone[index] = False
    gate.beta.data[gone.to(gate.beta.device)] = 0.0
    gate.k = min(gate.k, len(index))
    gate.gamma_quantizer.register_forward_hook(_NeverWins(gone))


def cut_mixed(module: CondConv2d, rows: Tensor, columns: Tensor) -> None:
    """Keeps the filters `rows` and input channels `columns` of the experts; the router is cut as a layer of its own."""
    weight = module.weight.detach()[:, rows][:, :, columns].clone()
    module.weight = nn.Parameter(weight, requires_grad=module.weight.requires_grad)
    module.out_channels, module.in_channels = len(rows), len(columns)


def blank_mixed(module: CondConv2d, rows: Tensor, columns: Tensor) -> None:
    """Sets all other weights to zero. Scales are those of the largest weight, so that zeros do not change them."""
    keep = torch.zeros(module.weight.shape[1:3], dtype=torch.bool, device=module.weight.device)
    keep[rows[:, None], columns] = True
    module.weight.data[:, ~keep] = 0.0


def mixed_of(network: nn.Module, name: str) -> CondConv2d:
    module = network.get_submodule(name)
    assert isinstance(module, CondConv2d)
    return module


_NEVER = -1e3
"""A logit of filters that are never live."""


class _OfSome(nn.Module):
    """A mask predictor for some of a layer's inputs and filters; the other filters are never live.

    Args:
        inner: the predictor for these.
        rows, columns: the filters and the inputs.
        filters: of the layer.
    """

    def __init__(self, inner: MaskPredictor, rows: Tensor, columns: Tensor, filters: int) -> None:
        super().__init__()
        self.inner, self.rows, self.columns, self.filters = inner, rows, columns, filters

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, integers = self.inner(x[:, self.columns.to(x.device)])
        return self._among_all(logits, _NEVER), self._among_all(integers, -float("inf"))

    def _among_all(self, values: Tensor, other: float) -> Tensor:
        return values.new_full((len(values), self.filters), other).index_copy(1, self.rows.to(values.device), values)


def cut_masked(layer: MaskedConv2d, rows: Tensor, columns: Tensor) -> None:
    """Keeps the rows and columns of its predictor; the number of live filters stays, if there are enough.

    Its convolution and norm are cut as layers of their own.
    """
    if layer.k is not None:
        layer.k = min(layer.k, len(rows))
    layer.logits = layer.labels = layer.live = layer.peaks = None
    predictor = layer.predictor
    if not isinstance(predictor, MaskPredictor):
        predictor.order = predictor.order[rows]
        return
    for name, value in (("weight", predictor.weight[rows][:, columns]), ("bias", predictor.bias[rows])):
        wanted = predictor.get_parameter(name).requires_grad
        setattr(predictor, name, nn.Parameter(value.detach().clone(), requires_grad=wanted))


def blank_masked(layer: MaskedConv2d, rows: Tensor, columns: Tensor) -> None:
    """Keeps the width, but predicts as if only the filters `rows` and the inputs `columns` were there."""
    filters, whole = layer.convolution.out_channels, getattr(layer.predictor, "order", None)
    cut_masked(layer, rows, columns)
    predictor = layer.predictor
    if isinstance(predictor, MaskPredictor):
        layer.predictor = _OfSome(predictor, rows, columns, filters)
    else:
        assert whole is not None
        predictor.order = torch.full_like(whole, -1.0).index_copy(0, rows.to(whole.device), predictor.order)


def masked_of(network: nn.Module, name: str) -> MaskedConv2d:
    layer = network.get_submodule(name)
    assert isinstance(layer, MaskedConv2d)
    return layer
