"""Collects the Graph's tensors and operators, and transposes tensors to the order that an operator needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.aten import builder as aten
from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.onnx.values import Coded, ConstantCodes, GraphInput
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Affine, Encoding, IntegerEncoding
from tinygen.ir.epilogue import Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.movement import StridedSlice, Transpose
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.tensor import Shape, Tensor

_LONGEST_NAME = 32
"""Characters of a layer's name: tables then have at most 80 columns."""
_KEEPS_CODES = (Reshape, Transpose, StridedSlice, MaxPool2D, Concatenation)


@dataclass
class Builder(aten.Builder):
    """A Graph under construction. Tensors have the names of the file's values.

    Attributes:
        label: name for the next tensors, taken from the file's value; set per node.
        inputs: tensors of the model's inputs.
        reals: float tensors, by the values whose numbers they hold.
    """

    label: str = "value"
    inputs: dict[str, Tensor] = field(default_factory=dict)
    reals: dict[object, Coded] = field(default_factory=dict)
    _ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    def unique(self, text: str) -> str:
        """An unused name that can be part of a C identifier; the end of a long one, which says most."""
        end = text[-_LONGEST_NAME:]
        words = re.split(r"[^a-zA-Z0-9]+", end, maxsplit=1) if len(end) < len(text) else [end]
        return super().unique(words[-1] or end)

    def mark(self) -> Callable[[], None]:
        """A function that takes back everything added from here on."""
        fields: tuple[Any, ...] = (
            self.ops,
            self.tensors,
            self.inputs,
            self.reals,
            self.lengths,
            self._names,
            self._ranges,
        )
        kept = [copy(part) for part in fields]

        def undo() -> None:
            self.ops[:] = kept[0]
            for part, before in zip(fields[1:], kept[1:], strict=True):
                part.clear()
                part.update(before)

        return undo

    def output_name(self, operator: str) -> str:
        del operator
        return self._unused(self.label)

    def _unused(self, wanted: str) -> str:
        """A name for a tensor, of any characters."""
        name, count = wanted, 1
        while name in self.tensors:
            count += 1
            name = f"{wanted}#{count}"
        return name

    def _put(self, tensor: Tensor) -> Tensor:
        assert tensor.name not in self.tensors, tensor.name
        self._names.add(tensor.name)
        self.tensors[tensor.name] = tensor
        return tensor

    def emit(self, kind: type[Op], inputs: Sequence[Tensor | None], encoding: Encoding, **attributes: Any) -> Tensor:
        """Adds an operator with one output; returns the output tensor."""
        name, output = self.unique(f"{kind.KIND}_{len(self.ops)}"), self._unused(self.label)
        operands = tuple(tensor.name if tensor else "" for tensor in inputs)
        op = kind(name=name, inputs=operands, outputs=(output,), **attributes)
        try:
            shape = op.infer_shapes(Node(op, tuple(inputs), ()))[0]
        except (IndexError, ValueError, ZeroDivisionError) as error:
            raise ModelError(f"its tensors do not fit together ({error})") from error
        tensor = self._put(Tensor(output, shape, encoding))
        Node(op, tuple(inputs), (tensor,)).check()
        self.ops.append(op)
        return tensor

    def capture(self, name: str, outer: Builder, tensor: Tensor) -> Tensor:
        """A tensor of the outer graph, as an input of this one."""
        if isinstance(tensor.encoding, IntegerEncoding):
            self._ranges[name] = outer.code_range(tensor)
        return self._put(replace(tensor, name=name))

    def emit_branch(self, inputs: Sequence[Tensor], branches: Sequence[Graph], names: Sequence[str]) -> list[Tensor]:
        """Adds a branch operator, which chooses one of the graphs; returns its outputs.

        Args:
            inputs: the index, then the tensors that every branch reads.
            names: of the outputs.
        """
        first = branches[0]
        outputs = [
            self._put(replace(first.tensors[inside], name=self._unused(wanted), data=None))
            for inside, wanted in zip(first.outputs, names, strict=True)
        ]
        op = Branch(
            name=self.unique(f"{Branch.KIND}_{len(self.ops)}"),
            inputs=tuple(tensor.name for tensor in inputs),
            outputs=tuple(tensor.name for tensor in outputs),
            branches=tuple(branches),
        )
        Node(op, tuple(inputs), tuple(outputs)).check()
        self.ops.append(op)
        return outputs

    def code_range(self, tensor: Tensor) -> tuple[int, int]:
        """Least and largest code of a tensor: a quantizer may produce fewer than its encoding could hold."""
        if tensor.name not in self._ranges:
            self._ranges[tensor.name] = self._code_range(tensor)
        return self._ranges[tensor.name]

    def _code_range(self, tensor: Tensor) -> tuple[int, int]:
        op = self.producer(tensor.name)
        epilogue = getattr(op, "epilogue", None)
        if isinstance(epilogue, Rescale | Threshold):
            return epilogue.code_range
        if isinstance(op, _KEEPS_CODES):
            ranges = [self.code_range(self.tensors[name]) for name in op.inputs if name]
            return min(low for low, _ in ranges), max(high for _, high in ranges)
        return tensor.integer.code_range

    def integer_range(self, tensor: Tensor) -> tuple[int, int]:
        """Least and largest integer that the tensor's codes represent."""
        integers = tensor.integer.integers(np.array(self.code_range(tensor)))
        return int(integers.min()), int(integers.max())

    def constant_tensor(self, name: str, codes: np.ndarray, encoding: Encoding) -> Tensor:
        """A constant tensor."""
        dense = np.ascontiguousarray(codes, encoding.dtype)
        return self._put(Tensor(self._unused(name), dense.shape, encoding, dense))

    def constant_of(self, name: str, codes: ConstantCodes, shape: Shape | None = None) -> Tensor:
        """A tensor of constant codes, reshaped if a shape is given."""
        array = codes.codes if shape is None else codes.codes.reshape(shape)
        return self.constant_tensor(name, array, codes.encoding)

    def encode_input(self, value: GraphInput, encoding: Encoding) -> Tensor:
        """The model input as a tensor of codes.

        Raises:
            UnsupportedError: the input already has another encoding.
        """
        known = self.inputs.get(value.name)
        if known is None:
            known = Tensor(value.name, value.tensor_shape, encoding)
            self.inputs[value.name] = self._put(known)
        if known.encoding != encoding:
            raise UnsupportedError(
                f"input '{value.name}' is quantized in two ways: {known.encoding}, and {encoding}",
                fix="Quantize every model input once.",
            )
        return known

    def in_order(self, value: Coded) -> Tensor:
        """The tensor with ONNX's shape and order of dimensions."""
        return self.in_dims(value, range(len(value.shape)))

    def in_dims(self, value: Coded, order: Sequence[int]) -> Tensor:
        """The tensor with ONNX's dimensions in the given order."""
        return self.tensors[self.stored(value.placed, order)]

    def in_layout(self, value: Coded, layout: Layout, shape: Shape) -> Tensor:
        """The tensor with its elements in the order of another layout, in that shape."""
        return self.tensors[self.shaped(self.like(value.placed, layout), shape)]

    def as_plain(self, value: Coded) -> tuple[Tensor, tuple[int, ...]]:
        """(tensor, order): with ONNX's dimensions in some order."""
        name, order = self.plain(value.placed)
        return self.tensors[name], order

    def reshape(self, tensor: Tensor, shape: Shape) -> Tensor:
        """The same codes in another shape."""
        return self.tensors[self.shaped(tensor.name, shape)]

    def as_image(self, value: Coded) -> Tensor:
        """A value that is NCHW in ONNX, or a signal NCL, as an NHWC tensor.

        Raises:
            UnsupportedError: the value has other dimensions.
        """
        if len(value.shape) not in (3, 4):
            raise UnsupportedError(
                f"an input of shape {list(value.shape)} is not NCHW",
                fix="tinygen has images, [N, C, H, W], and signals, [N, C, L].",
            )
        return self.tensors[self.image(value.placed)]

    def graph(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
        return Graph(name, dict(self.tensors), tuple(self.ops), tuple(inputs), tuple(outputs))


def int8_affine(encoding: Encoding) -> bool:
    """Whether TFLite's operators accept the encoding: one scale, int8."""
    return isinstance(encoding, Affine) and not encoding.per_channel and encoding.storage == "int8"
