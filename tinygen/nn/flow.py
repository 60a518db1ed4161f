"""Where a float network needs quantizers, from its data flow.

A value is the model's input, codes (behind a ReLU, which becomes a quantizer), exact (a sum of codes that 16 bits hold,
which layers read as it is) or real (sums of a layer, and what batch norms and additions make of them). Layers, average
pools and concatenations read codes; where they would get anything else, a quantizer is needed in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.nn import functional

from tinygen.errors import TinygenError, UnsupportedError
from tinygen.ir.encodings import WORD_BITS
from tinygen.nn.functions import (
    ADDITIONS,
    CONCATENATIONS,
    MEANS,
    SUBTRACTIONS,
    VIEWS,
    check_mean,
    check_module,
    module_of,
    reads_batch,
)

LAYERS = (nn.Conv2d, nn.Linear)
RELUS = (nn.ReLU, nn.ReLU6)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_AVERAGES = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_SAME = (nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d)
_LARGEST = 255
"""Largest integer of the codes of an Affine8."""
_MOST_SUMS = 1024
"""Average pools' sums of 16 bits that a layer may read: int8 weights are at most 64 on average, if spread evenly."""
_SOFTMAX: tuple[Any, ...] = (
    *(nn.Softmax, nn.LogSoftmax, "softmax", "log_softmax"),
    *(torch.softmax, torch.log_softmax, functional.softmax, functional.log_softmax),
)
_FIX = (
    "Use Conv2d, Linear, batch norms, ReLU, pools, flatten, sums and concatenations; or leave the network in float: "
    "tinygen.export(network, example, calibration) makes int8 of more."
)

Site: TypeAlias = "nn.Module | fx.Node"
"""What becomes, or needs, a quantizer: a ReLU module or a call of relu; else the value that is quantized."""


class Kind(Enum):
    """What a value is; see the module."""

    INPUT = "the model's input"
    CODES = "codes"
    EXACT = "exact"
    REAL = "real"


@dataclass(frozen=True)
class _Value:
    """A value in the network.

    Attributes:
        node: that makes it.
        channels: how many; 0 where that is not known.
        site: of the quantizer that makes codes of it; None if there is none yet.
    """

    kind: Kind
    node: fx.Node
    channels: int = 0
    site: Site | None = None


class FloatTracer(fx.Tracer):
    """Traces into every module but torch's, and subclasses of its layers, batch norms and activations."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*LAYERS, *RELUS, *_NORMS)) or super().is_leaf_module(m, module_qualified_name)


@dataclass
class Flow:
    """The data flow of a float network, and the quantizers that it needs.

    Args:
        network: traced in evaluation mode, which it is left in.
        largest: integer of the codes that stand for a ReLU's values.
        quantize_input: the input is not in codes yet.

    Raises:
        UnsupportedError: a module or function that quantized networks cannot have, or a forward() that depends on
            values; names the module.
    """

    network: nn.Module
    largest: int
    quantize_input: bool = True
    graph: fx.Graph = field(init=False)
    parts: dict[str, nn.Module] = field(init=False)
    layers: list[nn.Module] = field(default_factory=list)
    """In the order of use."""
    sites: dict[Site, Site] = field(default_factory=dict)
    """ReLUs; those of one quantizer lead to the same one."""
    needs: dict[fx.Node, dict[fx.Node, Site]] = field(default_factory=dict)
    """Of each node that reads a value which has to be quantized: the value's node, and the quantizer's site."""
    modules: dict[fx.Node, nn.Module] = field(default_factory=dict)
    """That nodes call, or that their functions are."""
    values: dict[fx.Node, _Value | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parts = dict(self.network.named_modules())
        self.name = type(self.network).__name__
        try:
            self.graph = FloatTracer().trace(self.network)
        except fx.proxy.TraceError as error:
            raise UnsupportedError(
                f"the module's forward() depends on values ({error})",
                where=self.name,
                fix="Write it without branches on tensors.",
            ) from error
        for node in self.graph.nodes:
            with self._located(node):
                self.values[node] = self._node(node)

    @property
    def entry(self) -> fx.Node:
        """The model's input."""
        return next(node for node in self.graph.nodes if node.op == "placeholder")

    @property
    def calls(self) -> list[fx.Node]:
        """ReLUs that are called as functions."""
        return [site for site in self.sites if isinstance(site, fx.Node)]

    def root(self, site: Site) -> Site:
        """The site of the quantizer that several share."""
        while (other := self.sites.get(site, site)) is not site:
            site = other
        return site

    def _module(self, node: fx.Node) -> nn.Module | None:
        if node.op == "call_module":
            return self.parts[str(node.target)]
        if node.op in ("call_function", "call_method"):
            return module_of(node.target, self._arguments(node), dict(node.kwargs))
        return None

    def _arguments(self, node: fx.Node) -> tuple[Any, ...]:
        """Those behind the tensor."""
        found: tuple[Any, ...] = fx.map_arg(node.args[1:], lambda given: self.values[given])
        return found

    def _node(self, node: fx.Node) -> _Value | int:
        if reads_batch(node):
            return 1
        if node.op == "placeholder":
            if self.values:
                raise UnsupportedError("a module with several inputs", fix="Give it one tensor.")
            return _Value(Kind.INPUT, node) if self.quantize_input else _Value(Kind.CODES, node, site=node)
        read = [value for source in node.all_input_nodes if isinstance(value := self.values[source], _Value)]
        if node.op == "output":
            if not isinstance(node.args[0], fx.Node):
                kind = type(node.args[0]).__name__
                raise UnsupportedError(f"forward() gives back a {kind}", fix="Give back one tensor.")
            return 0
        if node.op == "get_attr":
            raise UnsupportedError("a parameter or buffer beside the layers", fix="Put it into a layer or batch norm.")
        if node.target in CONCATENATIONS:
            return self._joined(node, read)
        if node.target in (*ADDITIONS, *SUBTRACTIONS):
            return self._sum(node, read)
        module = self._module(node)
        if len(read) == 1:
            if node.target in MEANS:
                check_mean(*self._arguments(node), **node.kwargs)
                return self._average(node, read[0], None)
            if node.target in VIEWS and len(self._arguments(node)) <= 2:
                module = nn.Flatten()
            if module is not None:
                return self._through(node, module, read[0])
        name = getattr(node.target, "__name__", str(node.target))
        raise _refusal(f"the function {name}", node.target)

    def _through(self, node: fx.Node, module: nn.Module, x: _Value) -> _Value:
        """What a module makes of a value."""
        self.modules[node] = module
        check_module(module)
        if isinstance(module, LAYERS):
            if module not in self.layers:
                self.layers.append(module)
            if x.kind in (Kind.INPUT, Kind.REAL) or (x.kind is Kind.EXACT and module.weight[0].numel() > _MOST_SUMS):
                self._need(node, x)
            made = module.out_channels if isinstance(module, nn.Conv2d) else module.out_features
            return _Value(Kind.REAL, node, made)
        if isinstance(module, _AVERAGES):
            return self._average(node, x, module.kernel_size if isinstance(module, nn.AvgPool2d) else None)
        if not isinstance(module, (*RELUS, *_NORMS, *_SAME)):
            raise _refusal(type(module).__name__, type(module))
        if x.kind is Kind.INPUT and not isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d):
            x = self._need(node, x)
        if isinstance(module, RELUS):
            site: Site = module if node.op == "call_module" else node
            self.sites.setdefault(site, site)
            return _Value(Kind.CODES, node, x.channels, site)
        if isinstance(module, nn.Flatten):
            return replace(x, node=node, channels=0)
        return replace(x, node=node, kind=Kind.REAL, site=None) if isinstance(module, _NORMS) else replace(x, node=node)

    def _average(self, node: fx.Node, x: _Value, window: Any) -> _Value:
        if x.kind in (Kind.INPUT, Kind.REAL):
            x = self._need(node, x)
        fits = False  # windows of unknown size do not
        if window is not None and x.kind is Kind.CODES:
            count = window**2 if isinstance(window, int) else math.prod(window)
            fits = count * (self.largest if x.site in self.sites else _LARGEST) < 2**15
        return replace(x, node=node, kind=Kind.EXACT if fits else Kind.REAL, site=None)

    def _sum(self, node: fx.Node, read: Sequence[_Value]) -> _Value:
        tensors = [given for given in (*node.args, *node.kwargs.values()) if isinstance(given, fx.Node)]
        if len(tensors) != 2 or node.kwargs.get("alpha", 1) != 1:
            raise UnsupportedError("a sum with a number, or with a factor alpha", fix="Put it into a layer's bias.")
        for value in read:
            if value.kind is Kind.INPUT:
                self._need(node, value)
        return _Value(Kind.REAL, node, max((value.channels for value in read), default=0))

    def _joined(self, node: fx.Node, read: Sequence[_Value]) -> _Value:
        """A concatenation, of codes of one quantizer."""
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if dim not in (1, -1, -3):
            raise UnsupportedError(f"a concatenation along dimension {dim}", fix="Join channels, dim=1.")
        total = sum(value.channels for value in read)
        # Bits lie in words; whole ones can be joined.
        whole = self.largest > 1 or all(value.channels and not value.channels % WORD_BITS for value in read)
        if whole and all(value.kind is Kind.CODES for value in read):
            first, *others = dict.fromkeys(self.root(value.site) for value in read if value.site is not None)
            alike = {first, *others} <= set(self.sites) and len({self._limit(site) for site in (first, *others)}) == 1
            if alike or not others:
                self.sites.update(dict.fromkeys(others, first))
                return _Value(Kind.CODES, node, total, first)
        # The input has one quantizer, which then serves the other parts as well.
        site = self.entry if any(value.kind is Kind.INPUT for value in read) else node
        self.needs[node] = {value.node: site for value in read}
        return _Value(Kind.CODES, node, total, site)

    def _limit(self, site: Site) -> float:
        return relu_limit(site if isinstance(site, nn.Module) else self.modules.get(site))

    def _need(self, node: fx.Node, x: _Value) -> _Value:
        """The value as codes, by a quantizer in front of the node that reads it."""
        site = self.entry if x.kind is Kind.INPUT else x.node
        self.needs.setdefault(node, {})[x.node] = site
        return replace(x, kind=Kind.CODES, site=site)

    @contextmanager
    def _located(self, node: fx.Node) -> Iterator[None]:
        """A context that adds to errors where in the network they are: the module, and the function that it calls."""
        try:
            yield
        except TinygenError as error:
            error.where = self.where(node)
            raise

    def where(self, node: fx.Node) -> str:
        """The path of the module that a node is, or is in."""
        if node.op == "call_module":
            return f"{self.name}.{node.target}"
        inside = [path for path in node.meta.get("nn_module_stack", {}) if path]
        owner = f"{self.name}.{inside[-1]}" if inside else self.name
        return owner if node.op == "output" else f"{owner} ({node.name})"


def _refusal(shown: str, what: Any) -> UnsupportedError:
    fix = "Leave it to the loss: nn.CrossEntropyLoss takes logits." if what in _SOFTMAX else _FIX
    return UnsupportedError(f"{shown} has no quantized form", fix=fix)


def relu_limit(module: nn.Module | None) -> float:
    """The upper limit of a ReLU, infinite but for ReLU6."""
    return 6.0 if isinstance(module, nn.ReLU6) else math.inf
