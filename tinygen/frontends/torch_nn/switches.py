"""Reads a switchable module: one graph per switch, that of the plain network with the switch's precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tinygen.errors import TinygenError, UnsupportedError
from tinygen.frontends.torch_nn.read import read_quantized
from tinygen.ir.network import Network, Switch
from tinygen.nn.switchable import SwitchSpec, extract, switches_of
from tinygen.nn.switchable.spec import check_switches, chosen


def read_switches(
    module: nn.Module,
    example_input: torch.Tensor,
    name: str = "model",
    switches: Sequence[SwitchSpec | str] | None = None,
) -> Network:
    """The network of a module made by `tinygen.nn.switchable`.

    Args:
        module: trained, or its quantizers calibrated, in every switch; read in evaluation mode.
        example_input: [N, ...] of the shape that the board will see; of a batch the first sample counts.
        name: C identifier.
        switches: to read, in this order; a board starts with the first. None: all but float ones.

    Raises:
        UnsupportedError: no switch runs on boards, or one is unknown or listed twice; and as `read_quantized`, naming
            the switch.
        ModelError: the switches have different inputs; and as `read_quantized`.
    """
    known = switches_of(module)
    wanted = [spec for spec in known if spec.runs_on_boards] if switches is None else list(switches)
    where = type(module).__name__
    if switches is None and not wanted:
        fix = "Make the network switchable with a SwitchSpec of 8 bits or fewer, too."
        raise UnsupportedError("none of its switches is quantized", where=where, fix=fix)
    specs = [chosen(known, spec, where) for spec in wanted]
    for spec in specs:
        if not spec.runs_on_boards:
            fix = "Leave it out: float switches are for training."
            raise UnsupportedError(f"switch {spec.name} is not quantized", where=where, fix=fix)
    check_switches(specs)
    graphs = []
    for spec in specs:
        try:
            graphs.append(Switch(spec.name, read_quantized(extract(module, spec), example_input, name)))
        except TinygenError as error:
            error.where = f"switch {spec.name}, {error.where}" if error.where else f"switch {spec.name}"
            raise
    network = Network(name, tuple(graphs))
    network.validate()
    return network
