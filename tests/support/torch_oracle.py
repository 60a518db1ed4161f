"""A network of tinygen.nn's layers next to its graph: every code compared, every difference explained.

A trace of the module runs four ways at once, from quantizer to quantizer:

- in float32, as torch does;
- in float64, on the exact real values of torch's codes (`Real.exact`);
- as magnitudes (`Real.size`): the sum of the absolute values of all terms;
- as counted roundings (`Real.roundings`): float arithmetic of unit roundoff u gives a value within
  roundings * u of the exact one (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", sections 3.1 and
  4.2: a sum of n products in any order is within n u / (1 - n u) times the sum of their magnitudes).

The graph's integers must be those of the float64 value but for a boundary within 64-bit rounding; and where torch's
own code is another one, every boundary between the two must lie within float32 rounding of the exact value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from tests.support.tally import CODES, DIFFERING, INPUTS, OTHER_TOP
from tinygen.frontends.torch_nn.read import Reader, Tracer
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.nn.functions import reads_batch
from tinygen.nn.layers import QuantConv2d, QuantLinear
from tinygen.nn.quantizers import ActivationQuantizer, LogQuant

UNIT32, UNIT64 = 2.0**-24, 2.0**-53
FIT = 2.0**-29
"""What an epilogue's multiplier of 31 bits, and the multipliers of a sum, may add, relative to the size of terms."""
_SECOND_ORDER = 1.01
"""Roundings of roundings: counts stay below 10,000, which times 2**-24 is below 0.001."""


@dataclass(frozen=True)
class Real:
    """A real value four ways; see the module. All of one shape, float32 and three times float64."""

    value: Tensor
    exact: Tensor
    size: Tensor
    roundings: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Real:
        """Through a function that rounds nothing."""
        return Real(function(self.value), function(self.exact), function(self.size), function(self.roundings))


@dataclass(frozen=True)
class Quantized:
    """What reached a quantizer, and what it made of it."""

    quantizer: ActivationQuantizer
    real: Real
    codes: np.ndarray


class Oracle:
    """Runs a module; `quantized` has what each quantizer did, by path."""

    def __init__(self, module: nn.Module) -> None:
        self.parts = dict(module.named_modules())
        self.trace = Tracer().trace(module)
        self.quantized: dict[str, Quantized] = {}

    def run(self, x: Tensor) -> Real:
        """The output for a batch, float32."""
        values: dict[fx.Node, Any] = {}
        for node in self.trace.nodes:
            if node.op == "placeholder":
                values[node] = Real(x, x.double(), x.double().abs(), torch.zeros_like(x).double())
            elif node.op == "output":
                return fx.map_arg(node.args[0], values.__getitem__)
            elif reads_batch(node):
                values[node] = len(x)
            else:
                arguments = fx.map_arg(tuple(node.args), values.__getitem__)
                options = fx.map_arg(dict(node.kwargs), values.__getitem__)
                values[node] = (
                    self._module(str(node.target), *arguments)
                    if node.op == "call_module"
                    else _function(node.target, arguments, options)
                )
        raise AssertionError("a trace without output")

    def _module(self, path: str, x: Real) -> Real:
        module = self.parts[path]
        if isinstance(module, ActivationQuantizer):
            return self._quantize(path, module, x)
        if isinstance(module, QuantConv2d | QuantLinear):
            if module.input_quantizer is not None:
                x = self._quantize(f"{path}.input_quantizer", module.input_quantizer, x)
            return _layer(module, x)
        for kinds, rule in _RULES:
            if isinstance(module, kinds):
                return rule(module, x)
        raise AssertionError(f"no rule for {type(module).__name__}")

    def _quantize(self, path: str, quantizer: ActivationQuantizer, x: Real) -> Real:
        codes, encoding = quantizer.codes(x.value)
        number, first = 2, path
        while path in self.quantized:  # used again: the graph's names go on in the same way
            path, number = f"{first}_{number}", number + 1
        self.quantized[path] = Quantized(quantizer, x, codes)
        exact = torch.from_numpy(encoding.integers(codes).astype(np.float64) * encoding.scale[0])
        # The float32 value is the product of two floats: rounded once.
        return Real(quantizer(x.value), exact, exact.abs(), exact.abs())


def _layer(module: QuantConv2d | QuantLinear, x: Real) -> Real:
    codes, encoding = module.weight_codes()
    integers = encoding.integers(codes).astype(np.float64)
    scales = module.kernel_scales()
    if scales is not None:
        integers *= scales.reshape(*scales.shape, *(1,) * (integers.ndim - 2))
    scale = np.array(encoding.scale).reshape(-1, *(1,) * (integers.ndim - 1))
    weights = torch.from_numpy(integers * scale)
    bias = None if module.bias is None else module.bias.double()

    def apply(value: Tensor, weight: Tensor, offset: Tensor | None) -> Tensor:
        if isinstance(module, QuantConv2d):
            return module._conv_forward(value, weight, offset)
        return functional.linear(value, weight, offset)

    used = module.quantized_weight()
    off = (used.double() - weights).abs()
    quantizer = module.weight_quantizer
    # The thesis' LogQuant has weights that its int16 table rounds; of all others torch uses exactly what is deployed.
    rounded = scale / 2 if isinstance(quantizer, LogQuant) and not quantizer.grid.integer else 0.0
    allowed = weights.abs() * UNIT32 + torch.as_tensor(rounded) * _SECOND_ORDER
    assert bool((off <= allowed).all()), "other weights than deployed"
    value = apply(x.value, used, module.bias)
    size = apply(x.size, weights.abs(), None if bias is None else bias.abs())
    terms = weights[0].numel() + 1
    # One rounding per weight, one per product, one per sum; on top of those of the input.
    roundings = apply(x.roundings, weights.abs(), None) + (terms + 2) * size + apply(x.size, off, None) / UNIT32
    return Real(value, apply(x.exact, weights, bias), size, roundings)


def _batch_norm(module: Any, x: Real) -> Real:
    shape = (1, -1, *(1,) * (x.value.dim() - 2))
    gamma, beta, mean = (v.double().reshape(shape) for v in (module.weight, module.bias, module.running_mean))
    gain = gamma / torch.sqrt(module.running_var.double() + module.eps).reshape(shape)
    size = gain.abs() * (x.size + mean.abs()) + beta.abs()
    # gamma / sqrt(variance + epsilon): four; times the mean, minus it, times the value, plus beta: four more.
    return Real(module(x.value), gain * (x.exact - mean) + beta, size, gain.abs() * x.roundings + 8 * size)


def _clamp(module: nn.Module, x: Real) -> Real:
    return replace(x, value=module(x.value), exact=module(x.exact))


def _slope(module: Any, x: Real) -> Real:
    slopes = module.weight if isinstance(module, nn.PReLU) else torch.tensor([float(np.float32(module.negative_slope))])
    slope = slopes.double().reshape(1, -1, *(1,) * (x.value.dim() - 2))
    steepest = slope.abs().clamp_min(1.0)
    size = steepest * x.size
    exact = torch.where(x.exact >= 0, x.exact, slope * x.exact)
    return Real(module(x.value), exact, size, steepest * x.roundings + size)


def _average(module: Callable[[Tensor], Tensor], x: Real) -> Real:
    averaged = x.map(module)
    terms = x.value[0].numel() / averaged.value[0].numel() + 1
    return replace(averaged, roundings=averaged.roundings + (terms + 2) * averaged.size)


def _sum(function: Any, a: Real, b: Real) -> Real:
    size = a.size + b.size
    return Real(function(a.value, b.value), function(a.exact, b.exact), size, a.roundings + b.roundings + size)


_RULES: tuple[tuple[tuple[type, ...], Callable[[Any, Real], Real]], ...] = (
    ((nn.BatchNorm1d, nn.BatchNorm2d), _batch_norm),
    ((nn.ReLU, nn.Hardtanh), _clamp),
    ((nn.PReLU, nn.LeakyReLU), _slope),
    ((nn.AvgPool2d, nn.AdaptiveAvgPool2d), _average),
    ((nn.MaxPool2d, nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d), lambda module, x: x.map(module)),
)
_ADDITIONS = (operator.add, operator.iadd, operator.sub, torch.add, torch.sub, "add", "add_", "sub")


def _function(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Real:
    x, rest = arguments[0], arguments[1:]
    if function in _ADDITIONS:
        by_name = {"add": torch.add, "add_": torch.add, "sub": torch.sub}
        return _sum(by_name.get(function, function), x, rest[0])
    if function in (torch.cat, torch.concat):
        columns = [[getattr(part, field) for part in x] for field in ("value", "exact", "size", "roundings")]
        return Real(*(torch.cat(column, *rest, **options) for column in columns))

    def call(value: Tensor) -> Tensor:
        chosen = getattr(value, function) if isinstance(function, str) else lambda *a, **o: function(value, *a, **o)
        return chosen(*rest, **options)

    if function in ("mean", torch.mean, functional.avg_pool2d, functional.adaptive_avg_pool2d):
        return _average(call, x)
    if function in ("relu", torch.relu, functional.relu, functional.relu6, functional.hardtanh):
        return replace(x, value=call(x.value), exact=call(x.exact))
    return x.map(call)


@dataclass(frozen=True, eq=False)
class Compared:
    """A network that has been compared.

    Attributes:
        graph: of one sample.
        feeds: the codes of each sample's input, as `evaluate` takes them.
    """

    graph: Graph
    feeds: list[list[np.ndarray]]


@torch.no_grad()
def compare_with_torch(module: nn.Module, x: Tensor, label: str, name: str = "model") -> Compared:
    """Asserts that the graph of a module means what the module does, code by code; see the module's docstring.

    Args:
        module: in evaluation mode.
        x: [N, ...] inputs.
        label: its counts are added to these.
    """
    oracle = Oracle(module)
    output = oracle.run(x)
    reader = Reader(module, name)
    batch = reader.read(tuple(x.shape))
    slack = _Slack(reader)
    graph = Reader(module, name).read((1, *x.shape[1:]))
    differing = np.zeros(len(x), bool)
    paths = list(oracle.quantized)
    codes = {batch.inputs[0]: _as_on_board(oracle.quantized[paths[0]].codes, batch.tensors[batch.inputs[0]].shape)}
    for op in batch.ops:
        node = batch.node(op)
        values = [codes[t.name] if t.data is None else t.data for t in node.inputs if t is not None]
        result = node.op.evaluate(node, values)[0]
        path = node.output.name
        if path in oracle.quantized:
            made, where = oracle.quantized[path], f"{label}, {path}"
            differing |= _explained(result, made, slack.of(node), where, label)
            wanted = _as_on_board(made.codes, result.shape).astype(np.int64)
            result = (wanted + _shift(result, made)).astype(result.dtype)
        else:
            slack.of(node)
        codes[path] = result
    last = batch.outputs[0]
    if last not in oracle.quantized:
        _near(batch.tensors[last].integer, codes[last], output, label)
    feeds = [[row[None]] for row in codes[batch.inputs[0]]]
    _same_top(batch, codes[batch.inputs[0]], output, differing, label)
    return Compared(graph, feeds)


def _as_on_board(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """NCHW, or flattened NCHW, to the shape of the graph's tensor, NHWC."""
    if len(shape) == 4:
        return np.moveaxis(values.reshape(shape[0], shape[3], *shape[1:3]), 1, -1)
    return values.reshape(shape)


class _Slack:
    """By how much sums with a shift may be off: 2 of their units, scaled as what reads them does."""

    def __init__(self, reader: Reader) -> None:
        self.made = reader.builder.ended
        self.units: dict[str, np.ndarray] = {}

    def of(self, node: Node) -> np.ndarray | float:
        """The same in real values in front of the quantizer, per channel."""
        op, name = node.op, node.output.name
        known = [self.units.get(tensor, np.zeros(1)) for tensor in op.inputs]
        if isinstance(op, IntegerAdd):
            shift = np.array(op.shift)
            first, second = (np.abs(np.array(f, np.float64)) for f in (op.first, op.second))
            units = (first * known[0] + second * known[1]) / 2.0**shift + 2 * (shift > 0)
        else:
            units = known[0] if isinstance(op, Requantize | MaxPool2D) else np.zeros(1)
        pending = self.made.get(name)
        if getattr(op, "epilogue", None) is None:
            self.units[name] = units
        if pending is None or not units.any():
            return 0.0
        gain = np.array([abs(float(g)) for g in pending.chain.gain])
        for bend in pending.bends:
            gain = gain * [
                abs(float(g)) * max(1.0, float(s)) for g, s in zip(bend.chain.gain, bend.slopes, strict=True)
            ]
        return units * gain


def _explained(found: np.ndarray, made: Quantized, slack: np.ndarray | float, where: str, label: str) -> np.ndarray:
    """Per sample, whether torch has another code; fails where none should."""
    boundaries, _ = made.quantizer.boundaries()
    zero = made.quantizer.lowest_code
    exact, size, roundings = (
        _as_on_board(v.numpy(), found.shape) for v in (made.real.exact, made.real.size, made.real.roundings)
    )
    torch_codes = _as_on_board(made.codes, found.shape).astype(np.int64) - zero
    ours = found.astype(np.int64) - _shift(found, made) - zero
    wanted = np.searchsorted(boundaries, exact, side="right")
    tight = roundings * UNIT64 * _SECOND_ORDER + size * FIT + slack
    _assert_near(ours, wanted, exact, boundaries, tight, f"{where}: the graph's code is not that of the exact value")
    loose = roundings * UNIT32 * _SECOND_ORDER + tight
    _assert_near(torch_codes, ours, exact, boundaries, loose, f"{where}: torch's code is not explained by rounding")
    other = torch_codes != ours
    CODES[label] += other.size
    DIFFERING[label] += int(other.sum())
    return other.reshape(len(other), -1).any(axis=1)


def _shift(found: np.ndarray, made: Quantized) -> int:
    """By how much the graph's codes are above the quantizer's: behind a PReLU those of int8 are counted from 0."""
    return 128 if found.dtype == np.uint8 and made.codes.dtype == np.int8 else 0


def _assert_near(
    a: np.ndarray, b: np.ndarray, exact: np.ndarray, boundaries: np.ndarray, allowed: np.ndarray, what: str
) -> None:
    """All boundaries between two codes lie within `allowed` of the exact value."""
    for place in np.argwhere(a != b):
        index = tuple(place)
        low, high = sorted((int(a[index]), int(b[index])))
        gap = np.abs(boundaries[low:high] - exact[index]).max()
        assert gap <= allowed[index], f"{what} at {index}: {a[index]}, {b[index]}; {gap:.3g} > {allowed[index]:.3g}"


def _near(encoding: IntegerEncoding, codes: np.ndarray, output: Real, label: str) -> None:
    """An output without a quantizer: within two codes of the exact value."""
    exact, size, roundings = (
        _as_on_board(v.numpy(), codes.shape) for v in (output.exact, output.size, output.roundings)
    )
    scale = encoding.scale[0]
    allowed = 2 * scale + roundings * UNIT64 * _SECOND_ORDER + size * FIT
    worst = np.abs(encoding.integers(codes) * scale - exact) - allowed
    assert worst.max() <= 0, f"{label}: the output is off by {worst.max():.3g} more than it may"


def _same_top(batch: Graph, x: np.ndarray, output: Real, differing: np.ndarray, label: str) -> None:
    """End to end: the same output is the largest, but where a code differed or two outputs are within rounding."""
    found = evaluate(batch, [x])[0]
    logits, roundings = (_as_on_board(v.numpy(), found.shape) for v in (output.value, output.roundings))
    found, logits = found.reshape(len(found), -1), logits.reshape(len(found), -1)
    chosen = np.take_along_axis(logits, found.argmax(axis=1)[:, None], axis=1)[:, 0]
    other = chosen != logits.max(axis=1)
    INPUTS[label] += len(other)
    OTHER_TOP[label] += int(other.sum())
    close = 2 * UNIT32 * roundings.reshape(len(found), -1).max(axis=1)
    unexplained = other & ~differing & (logits.max(axis=1) - chosen > close)
    assert not unexplained.any(), f"{label}: inputs {np.flatnonzero(unexplained)} have another largest output"
