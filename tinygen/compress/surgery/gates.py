"""Removes channels from gated convolutions and mixed weights, which the rules of plain layers do not cover."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn

from tinygen.nn.gated import GatedConv2d
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
