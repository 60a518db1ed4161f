"""The base of switchable modules, and functions that switch a network of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from tinygen.errors import UnsupportedError
from tinygen.nn.switchable.spec import SwitchSpec, check_switches, chosen


class Switchable(nn.Module, ABC):
    """A module whose computation depends on the active switch; it starts in the first.

    Attributes:
        switches: all of them, in order.
        switch: the active one; `set_switch` sets that of a whole network.
    """

    switches: tuple[SwitchSpec, ...]
    switch: SwitchSpec

    def _switched_by(self, switches: Sequence[SwitchSpec]) -> None:
        self.switches = check_switches(switches)
        self.switch = self.switches[0]

    @abstractmethod
    def at(self, spec: SwitchSpec) -> nn.Module:
        """A plain module that computes the same as this one in the given switch, for evaluation. It may share
        parameters.
        """


def is_switchable(network: nn.Module) -> bool:
    """Whether a network has switchable modules."""
    return any(isinstance(module, Switchable) for module in network.modules())


def switches_of(network: nn.Module) -> tuple[SwitchSpec, ...]:
    """The switches of a network.

    Raises:
        UnsupportedError: it has no switchable module, or modules of different switches.
    """
    found = {module.switches: path for path, module in network.named_modules() if isinstance(module, Switchable)}
    where = type(network).__name__
    if not found:
        fix = "tinygen.nn.switchable.switchable makes it so."
        raise UnsupportedError("no module of it is switchable", where=where, fix=fix)
    if len(found) > 1:
        paths = ", ".join(path or where for path in found.values())
        raise UnsupportedError(f"{paths} have different switches", where=where, fix="Give all modules the same list.")
    return next(iter(found))


def set_switch(network: nn.Module, switch: SwitchSpec | str) -> SwitchSpec:
    """Sets all modules of a network to a switch (its name will do), and returns it.

    Raises:
        UnsupportedError: the network has no such switch, or none at all.
    """
    spec = chosen(switches_of(network), switch, type(network).__name__)
    for module in network.modules():
        if isinstance(module, Switchable):
            module.switch = spec
    return spec


@contextmanager
def switched(network: nn.Module, switch: SwitchSpec | str) -> Iterator[SwitchSpec]:
    """A context in which a switch is set; afterwards every module's switch is restored.

    Raises:
        UnsupportedError: the network has no such switch, or none at all.
    """
    before = [(module, module.switch) for module in network.modules() if isinstance(module, Switchable)]
    try:
        yield set_switch(network, switch)
    finally:
        for module, spec in before:
            module.switch = spec
