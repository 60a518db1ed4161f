"""The structure of a float network, from its data flow: which channels are coupled, and where activations are."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from tinygen.errors import UnsupportedError
from tinygen.nn.switchable.runs import Run

LAYERS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
RELUS = (nn.ReLU, nn.ReLU6)
_PASS = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.Softmax,
    nn.LogSoftmax,
)
_PASS_FUNCTIONS = (
    torch.flatten,
    torch.mean,
    torch.reshape,
    torch.max_pool2d,
    functional.max_pool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    functional.dropout,
    "flatten",
    "view",
    "reshape",
    "mean",
    "contiguous",
    "size",
)
_SUMS = (operator.add, operator.iadd, operator.sub, torch.add, torch.sub, "add", "add_", "sub", "sub_")
_CATS = (torch.cat, torch.concat, torch.concatenate)


@dataclass(eq=False)
class _Block:
    """Channels that one layer makes, and those of other layers that are added to them (all point to one block)."""

    count: int
    fixed: bool = False
    joined: _Block | None = None

    def root(self) -> _Block:
        return self if self.joined is None else self.joined.root()

    def run(self, size: int = 1) -> Run:
        return Run(self.count, not self.root().fixed, size)


_Layout = list[_Block] | None
"""Blocks side by side; None is the model's input, of whatever channels."""


@dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Attributes:
        path: its name in the network.
        inputs, outputs: its channels.
        reads_input: of the model, with no layer in between.
    """

    path: str
    inputs: tuple[Run, ...]
    outputs: tuple[Run, ...]
    reads_input: bool


@dataclass(frozen=True)
class Structure:
    """A float network.

    Attributes:
        layers: in the order of use.
        norms: channels of batch norms, by path.
        relus: paths of ReLUs that a one-sided quantizer replaces: those whose readers are not all batch norms.
        behind: paths of batch norms that follow a ReLU (XNOR-Net's order): a two-sided quantizer stands behind them.
        to_last: of `relus` and `behind`, those that feed the last layer alone.
    """

    layers: tuple[Layer, ...]
    norms: dict[str, tuple[Run, ...]]
    relus: tuple[str, ...]
    behind: tuple[str, ...]
    to_last: frozenset[str]


def trace(network: nn.Module) -> Structure:
    """
    Raises:
        UnsupportedError: a module or function without a channel rule, channels that do not match, a layer that is used
            twice, or a forward() that depends on values.
    """
    return _Trace(network).structure()


@dataclass
class _Trace:
    network: nn.Module
    values: dict[fx.Node, _Layout] = field(default_factory=dict)
    used: dict[str, tuple[list[_Block], list[_Block], int]] = field(default_factory=dict)
    """Layers and norms by path: blocks of their input and output, elements per channel of the input."""
    raw: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.parts = dict(self.network.named_modules())
        self.where = type(self.network).__name__
        try:
            self.graph = fx.Tracer().trace(self.network)
        except fx.proxy.TraceError as error:
            raise UnsupportedError(
                f"the module's forward() depends on values ({error})",
                where=self.where,
                fix="Write it without branches on tensors.",
            ) from error
        for node in self.graph.nodes:
            self.values[node] = self._node(node)

    def _node(self, node: fx.Node) -> _Layout:
        sources = [self.values[source] for source in node.all_input_nodes]
        if node.op == "placeholder":
            return None
        if node.op == "output":
            for block in (block for blocks in sources for block in blocks or []):
                block.root().fixed = True
            return None
        if node.op == "call_module":
            return self._module(str(node.target), sources)
        if node.op in ("call_function", "call_method"):
            return self._call(node, sources)
        raise self._unknown(f"a {node.op.replace('_', ' ')}", node.name)

    def _module(self, path: str, sources: Sequence[_Layout]) -> _Layout:
        module = self.parts[path]
        if isinstance(module, (*LAYERS, *NORMS)):
            if path in self.used:
                raise UnsupportedError("is used twice", where=f"{self.where}.{path}", fix="Make a layer for each use.")
            return self._with_channels(path, module, sources[0])
        if isinstance(module, (*RELUS, *_PASS)):
            return sources[0]
        raise self._unknown(type(module).__name__, path)

    def _with_channels(self, path: str, module: nn.Module, blocks: _Layout) -> list[_Block]:
        norm = isinstance(module, NORMS)
        if norm:
            taken, made = module.num_features, 0
        elif isinstance(module, nn.Linear):
            taken, made = module.in_features, module.out_features
        else:
            taken, made = module.in_channels, module.out_channels
        if blocks is None:
            self.raw.add(path)
            blocks = [_Block(taken, fixed=True)]
        total = sum(block.count for block in blocks)
        if taken % total or (taken != total and isinstance(module, nn.Conv2d | nn.BatchNorm2d)):
            raise UnsupportedError(
                f"takes {taken} channels and gets {total}", where=f"{self.where}.{path}", fix="Check its arguments."
            )
        depthwise = isinstance(module, nn.Conv2d) and module.groups == taken == made and made > 1
        outputs = blocks if norm or depthwise else [_Block(made)]
        self.used[path] = (blocks, outputs, taken // total)
        return outputs

    def _call(self, node: fx.Node, sources: Sequence[_Layout]) -> _Layout:
        function: Any = node.target
        if function in _SUMS:
            return self._sum(node.name, sources)
        if function in _CATS:
            if any(blocks is None for blocks in sources):
                raise self._unknown("a concatenation with the model's input", node.name)
            return [block for blocks in sources for block in blocks or []]
        if function in _PASS_FUNCTIONS and len(sources) == 1:
            return sources[0]
        raise self._unknown(f"the function {getattr(function, '__name__', function)}", node.name)

    def _sum(self, where: str, sources: Sequence[_Layout]) -> _Layout:
        if len(sources) != 2:
            return sources[0]  # with itself, or with a number
        first, second = sources
        if first is None or second is None:
            # A tensor that is added to the model's input keeps all its channels.
            for block in first or second or []:
                block.root().fixed = True
            return first or second
        if [block.count for block in first] != [block.count for block in second]:
            counts = ["+".join(str(block.count) for block in blocks) for blocks in sources if blocks]
            raise UnsupportedError(
                f"a sum of {counts[0]} and {counts[1]} channels",
                where=f"{self.where}, {where}",
                fix="Both operands need the same layers' widths: put a convolution behind the concatenation.",
            )
        for a, b in zip(first, second, strict=True):
            one, other = a.root(), b.root()
            if one is not other:
                other.joined, one.fixed = one, one.fixed or other.fixed
        return first

    def _unknown(self, what: str, where: str) -> UnsupportedError:
        return UnsupportedError(
            f"{what} is not known to switchable networks",
            where=f"{self.where}, {where}",
            fix="Use Conv2d, Linear, BatchNorm, ReLU modules, pools, flatten, sums and concatenations.",
        )

    def structure(self) -> Structure:
        layers, norms = [], {}
        for path, (inputs, outputs, size) in self.used.items():
            if isinstance(self.parts[path], NORMS):
                norms[path] = tuple(block.run(size) for block in inputs)
            else:
                taken, made = (tuple(b.run(s) for b in blocks) for blocks, s in ((inputs, size), (outputs, 1)))
                layers.append(Layer(path, taken, made, path in self.raw))
        if not layers:
            raise UnsupportedError("no Conv2d or Linear module", where=self.where, fix="Nothing to convert.")
        relus, behind, to_last = self._activations(layers[-1].path)
        if not relus and not behind and len(layers) > 1:
            raise UnsupportedError(
                "no nn.ReLU between the layers",
                where=self.where,
                fix="Make activations modules (self.relu = nn.ReLU()) rather than calls of torch.relu.",
            )
        return Structure(tuple(layers), norms, relus, behind, to_last)

    def _activations(self, last: str) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[str]]:
        """Where quantizers go: `relus`, `behind` and `to_last` of the structure."""
        relus: dict[str, bool] = {}
        behind: dict[str, bool] = {}
        for node in self._calls(RELUS):
            fed = list(self._fed(node))
            if fed and all(self._is(user, NORMS) for user in fed):
                for norm in fed:
                    behind[str(norm.target)] = all(str(user.target) == last for user in self._fed(norm))
            else:
                path = str(node.target)
                relus[path] = relus.get(path, True) and all(str(user.target) == last for user in fed)
        alone = frozenset(path for path, is_alone in (relus | behind).items() if is_alone)
        return tuple(relus), tuple(behind), alone

    def _calls(self, kinds: tuple[type, ...]) -> Iterator[fx.Node]:
        return (node for node in self.graph.nodes if self._is(node, kinds))

    def _is(self, node: fx.Node, kinds: tuple[type, ...]) -> bool:
        return node.op == "call_module" and isinstance(self.parts[str(node.target)], kinds)

    def _fed(self, node: fx.Node) -> Iterator[fx.Node]:
        """The readers of a node, looking through pools and the like."""
        for user in node.users:
            if self._passes(user):
                yield from self._fed(user)
            else:
                yield user

    def _passes(self, node: fx.Node) -> bool:
        if node.op in ("call_function", "call_method"):
            return node.target in _PASS_FUNCTIONS
        return self._is(node, _PASS)
