"""Builds a float Graph, operator by operator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygen.frontends.aten.layout import NHWC, NLC, Layout
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Affine, Encoding, Float32, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.gather import Gather
from tinygen.ir.ops.movement import BroadcastTo, Movement, StridedSlice, Transpose
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.tensor import Shape, Tensor

_FLOAT = Float32()
_MOVING = (Movement, Reshape, Concatenation, Pad, Gather)


@dataclass(frozen=True)
class Value:
    """The output of an ATen node: a tensor of the graph, and its layout in PyTorch."""

    tensor: str
    layout: Layout

    @property
    def shape(self) -> Shape:
        """As PyTorch sees it."""
        return self.layout.shape


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that does not depend on the input.

    Attributes:
        array: in PyTorch's order of dimensions.
        encoding: of the codes from which it was dequantized, with an axis of `array`; None for plain floats.
    """

    array: np.ndarray
    encoding: Affine | None = None

    @property
    def shape(self) -> Shape:
        return self.array.shape

    @property
    def whole_encoding(self) -> Affine | None:
        """The encoding, if it is one for all elements: operands of elementwise operators have no other."""
        return None if self.encoding and self.encoding.per_channel else self.encoding


@dataclass(frozen=True)
class Length:
    """What a tensor is: the root of the sum of squares of another, at least `least`.

    Attributes:
        of: that value.
        dims: over which the sum is.
    """

    of: Value
    dims: frozenset[int]
    least: float = 0.0


@dataclass
class Builder:
    """The graph so far.

    Attributes:
        label: base of the names of new operators and tensors: the module they come from.
        weights: encodings of constants that the model has quantized.
        quantized: encodings of tensors that the model quantizes.
        lengths: tensors that are lengths of vectors.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    weights: dict[str, Affine] = field(default_factory=dict)
    quantized: dict[str, Affine] = field(default_factory=dict)
    lengths: dict[str, Length] = field(default_factory=dict)
    label: str = "model"
    _names: set[str] = field(default_factory=set)

    def unique(self, text: str) -> str:
        """An unused name that can be part of a C identifier."""
        stem = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "op"
        name, number = stem, 2
        while name in self._names:
            name, number = f"{stem}_{number}", number + 1
        self._names.add(name)
        return name

    def input(self, name: str, shape: Shape, encoding: Encoding = _FLOAT) -> Value:
        """An input of the model; images are NHWC."""
        order = NHWC if len(shape) == 4 else tuple(range(len(shape)))
        name = self.unique(name)
        self.tensors[name] = Tensor(name, tuple(shape[dim] for dim in order), encoding)
        return Value(name, Layout.dense(shape, order))

    def constant(
        self, array: np.ndarray, what: str, encoding: Affine | None = None, *, plain: Plain | None = None
    ) -> str:
        """Adds a constant, already in the Graph's order of dimensions; returns its name.

        Args:
            array: booleans, or numbers, which become floats.
            plain: numbers are integers that stand for themselves.
        """
        name = self.unique(f"{self.label}_{what}")
        kind = Plain("bool") if array.dtype == bool else plain or Float32()
        data = np.ascontiguousarray(array, kind.dtype)
        self.tensors[name] = Tensor(name, data.shape, kind, data)
        if encoding is not None:
            self.weights[name] = encoding
        return name

    def add(
        self,
        kind: type[Op],
        inputs: Sequence[str],
        suffix: str = "",
        *,
        encoding: Encoding | None = None,
        **attributes: Any,
    ) -> str:
        """Adds an operator with one output; returns that tensor's name. Its shape follows from the inputs.

        Args:
            encoding: of the output; None: float, or the first input's where elements are only moved.
        """
        if encoding is None:
            encoding = self.tensors[inputs[0]].encoding if issubclass(kind, _MOVING) else _FLOAT
        name = self.unique(f"{self.label}_{suffix}" if suffix else self.label)
        output = name if suffix else self.output_name(name)
        self._append(kind(name=name, inputs=tuple(inputs), outputs=(output,), **attributes), [encoding])
        return output

    def output_name(self, operator: str) -> str:
        """A name for the tensor of a labelled operator: the operator's."""
        return operator

    def add_several(
        self, kind: type[Op], inputs: Sequence[str], encodings: Sequence[Encoding], **attributes: Any
    ) -> list[str]:
        """The same for an operator with an output per encoding."""
        name = self.unique(self.label)
        outputs = tuple(self.unique(f"{name}_{number}") for number in range(len(encodings)))
        self._append(kind(name=name, inputs=tuple(inputs), outputs=outputs, **attributes), encodings)
        return list(outputs)

    def _append(self, op: Op, encodings: Sequence[Encoding]) -> None:
        before = tuple(Tensor(name, (), encoding) for name, encoding in zip(op.outputs, encodings, strict=True))
        shapes = op.infer_shapes(Node(op, tuple(self.tensors[i] if i else None for i in op.inputs), before))
        for tensor, shape in zip(before, shapes, strict=True):
            self.tensors[tensor.name] = replace(tensor, shape=tuple(int(size) for size in shape))
        self.ops.append(op)

    def branch(self, index: str, inputs: Sequence[str], branches: Sequence[Graph]) -> list[str]:
        """Adds a branch operator over graphs with the same outputs; returns the names of its outputs."""
        name = self.unique(self.label)
        given = [branches[0].tensors[output] for output in branches[0].outputs]
        names = tuple(self.unique(f"{name}_{number}") for number in range(len(given)))
        self.tensors |= {
            out: Tensor(out, tensor.shape, tensor.encoding) for out, tensor in zip(names, given, strict=True)
        }
        self.ops.append(Branch(name=name, inputs=(index, *inputs), outputs=names, branches=tuple(branches)))
        return list(names)

    def producer(self, tensor: str) -> Op | None:
        return next((op for op in reversed(self.ops) if tensor in op.outputs), None)

    def replace(self, old: Op, new: Op) -> None:
        self.ops[self.ops.index(old)] = new

    def shaped(self, tensor: str, shape: Shape) -> str:
        """The tensor in another shape."""
        if self.tensors[tensor].shape == shape:
            return tensor
        return self.add(Reshape, [tensor], "reshape", shape=shape)

    def stored(self, value: Value, order: Sequence[int]) -> str:
        """The value as a tensor with the value's dimensions in the given order; transposed if necessary."""
        shape = tuple(value.shape[dim] for dim in order)
        return self.shaped(self._moved(value, value.layout.stored_as(order)), shape)

    def image(self, value: Value) -> str:
        """[N, C, H, W] as a tensor [N, H, W, C]; a signal [N, C, L] as an image one row high."""
        if len(value.shape) == 4:
            return self.stored(value, NHWC)
        batch, channels, length = value.shape
        return self.shaped(self._moved(value, value.layout.stored_as(NLC)), (batch, 1, length, channels))

    def fresh_image(self, tensor: str, rank: int) -> Value:
        """A tensor [N, H, W, C] as [N, C, H, W], or one row of it as [N, C, L]."""
        if rank == 4:
            return self.fresh(tensor, NHWC)
        batch, _, length, channels = self.tensors[tensor].shape
        return Value(tensor, Layout.dense((batch, channels, length), NLC))

    def like(self, value: Value, layout: Layout) -> str:
        """A tensor of the value's elements in the memory order of another layout of the same shape."""
        if value.layout.merged() == layout.merged():
            return value.tensor
        parts = [layout.sizes[axis] for axis in layout.logical]
        split = value.layout.split(parts)
        if split is None:
            order = range(len(value.shape))
            split = Layout.dense(value.shape).split(parts)
            assert split is not None
            value = Value(self.stored(value, order), split)
        memory = sorted(range(len(parts)), key=lambda part: layout.logical[part])
        return self._moved(Value(value.tensor, split), split.stored_as(memory))

    def viewed(self, value: Value, shape: Sequence[int]) -> Value:
        """The same elements, in PyTorch's order, in another shape; moved only if that needs it."""
        layout = value.layout.viewed(shape)
        if layout is None:
            value = self.contiguous(value)
            layout = value.layout.viewed(shape)
        assert layout is not None
        return Value(value.tensor, layout)

    def ranked(self, value: Value | Constant, rank: int) -> Value | Constant:
        """With dimensions of size 1 in front."""
        shape = (1,) * (rank - len(value.shape)) + value.shape
        if isinstance(value, Constant):
            return Constant(value.array.reshape(shape), value.whole_encoding)
        return self.viewed(value, shape)

    def permuted(self, value: Value, order: Sequence[int]) -> Value:
        """Dimension i of the result is dimension `order[i]`; nothing is moved."""
        return Value(value.tensor, value.layout.permuted(order))

    def broadcast(self, value: Value, shape: Sequence[int]) -> Value:
        """The value in a larger shape, its elements repeated along dimensions of size 1 and in front."""
        if value.shape == tuple(shape):
            return value
        value = self.viewed(value, (1,) * (len(shape) - len(value.shape)) + value.shape)
        tensor, order = self.plain(value)
        encoding = self.tensors[tensor].encoding
        wanted = tuple(shape[dim] for dim in order)
        return self.fresh(self.add(BroadcastTo, [tensor], "broadcast", encoding=encoding, shape=wanted), order)

    def repeated(self, value: Value, dim: int, count: int) -> Value:
        """A dimension `count` times, one after the other."""
        shape = value.shape
        apart = self.viewed(value, (*shape[:dim], 1, *shape[dim:]))
        wide = self.broadcast(apart, (*shape[:dim], count, *shape[dim:]))
        return self.viewed(wide, (*shape[:dim], count * shape[dim], *shape[dim + 1 :]))

    def joined(self, parts: Sequence[Value | Constant], dim: int) -> Value:
        """The parts one after the other along a dimension, in the order of the first value's dimensions."""
        first = next(part for part in parts if isinstance(part, Value))
        _, order = self.plain(first)
        names = [
            self.constant(part.array.transpose(order), "part", part.whole_encoding)
            if isinstance(part, Constant)
            else self.stored(part, order)
            for part in parts
        ]
        encoding = self.tensors[first.tensor].encoding
        return self.fresh(self.add(Concatenation, names, encoding=encoding, axis=order.index(dim)), order)

    def part(self, tensor: str, axis: int, begin: int, step: int, count: int) -> str:
        """`count` elements along an axis of a tensor, from `begin` on."""
        shape = self.tensors[tensor].shape
        if (begin, step, count) == (0, 1, shape[axis]):
            return tensor
        axes = tuple(range(len(shape)))
        return self.add(
            StridedSlice,
            [tensor],
            encoding=self.tensors[tensor].encoding,
            begin=tuple(begin if i == axis else 0 for i in axes),
            step=tuple(step if i == axis else 1 for i in axes),
            count=tuple(count if i == axis else shape[i] for i in axes),
            axes=axes,
        )

    def contiguous(self, value: Value) -> Value:
        """The value in PyTorch's own order."""
        return Value(self.stored(value, range(len(value.shape))), Layout.dense(value.shape))

    def _moved(self, value: Value, permutation: tuple[int, ...]) -> str:
        if permutation == tuple(range(len(permutation))):
            return value.tensor
        flat = self.shaped(value.tensor, value.layout.sizes)
        encoding = self.tensors[flat].encoding
        return self.add(Transpose, [flat], "transpose", encoding=encoding, permutation=permutation)

    def fresh(self, tensor: str, order: Sequence[int]) -> Value:
        """The value of a tensor that has PyTorch's dimensions in the given order."""
        stored = self.tensors[tensor].shape
        shape = [0] * len(order)
        for position, dim in enumerate(order):
            shape[dim] = stored[position]
        return Value(tensor, Layout.dense(shape, order))

    def operand(self, constant: Constant, layout: Layout, tensor: str) -> str:
        """A constant operand for a tensor of that layout: of the tensor's shape, or one that is broadcast to it."""
        rank = len(layout.dims)
        own = self.tensors[tensor].encoding
        encoding, plain = constant.whole_encoding, own if isinstance(own, Plain) else None
        array = np.asarray(constant.array)
        if array.size == 1:
            return self.constant(array.reshape(1), "constant", encoding, plain=plain)
        array = array.reshape((1,) * (rank - array.ndim) + array.shape)
        shape, order = self.tensors[tensor].shape, layout.dim_order()
        if order is not None and shape == (1,) * (len(shape) - rank) + tuple(layout.shape[dim] for dim in order):
            return self.constant(array.transpose(order), "constant", encoding, plain=plain)
        flat = layout.to_memory(np.broadcast_to(array, layout.shape))
        return self.constant(flat.reshape(shape), "constant", encoding, plain=plain)

    def plain(self, value: Value) -> tuple[str, tuple[int, ...]]:
        """(tensor, order): a tensor whose dimensions are the value's, in that order."""
        order = value.layout.dim_order()
        if order is None:
            order = tuple(range(len(value.shape)))
        return self.stored(value, order), order
