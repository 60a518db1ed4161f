"""Collects the Graph's tensors and operators, and transposes tensors to the order that an operator needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.onnx.values import CHANNELS_LAST, Coded, ConstantCodes, GraphInput, View, identity
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Affine, Encoding, IntegerEncoding
from tinygen.ir.epilogue import Epilogue, Rescale, Tflite, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.movement import StridedSlice, Transpose
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.reshape import Reshape
from tinygen.ir.tensor import Shape, Tensor

_KEEPS_CODES = (Reshape, Transpose, StridedSlice, MaxPool2D, Concatenation)


class Builder:
    """A Graph under construction.

    Attributes:
        wanted: name for the next tensors, taken from the file's value; set per node.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.inputs: dict[str, Tensor] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        self.wanted = "value"

    def _name(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.tensors:
            count += 1
            name = f"{wanted}#{count}"
        return name

    def _add(self, tensor: Tensor) -> Tensor:
        assert tensor.name not in self.tensors, tensor.name
        self.tensors[tensor.name] = tensor
        return tensor

    def emit(self, kind: type[Op], inputs: Sequence[Tensor | None], encoding: Encoding, **attributes: Any) -> Tensor:
        """Adds an operator with one output; returns the output tensor."""
        name = f"{kind.KIND}_{len(self.ops)}"
        output = self._name(self.wanted)
        operands = tuple(tensor.name if tensor else "" for tensor in inputs)
        op = kind(name=name, inputs=operands, outputs=(output,), **attributes)
        try:
            shape = op.infer_shapes(Node(op, tuple(inputs), ()))[0]
        except (IndexError, ValueError, ZeroDivisionError) as error:
            raise ModelError(f"its tensors do not fit together ({error})") from error
        tensor = self._add(Tensor(output, shape, encoding))
        Node(op, tuple(inputs), (tensor,)).check()
        self.ops.append(op)
        self._note_range(kind, inputs, tensor, attributes.get("epilogue"))
        return tensor

    def _note_range(
        self, kind: type[Op], inputs: Sequence[Tensor | None], output: Tensor, epilogue: Tflite | Epilogue | None
    ) -> None:
        if isinstance(epilogue, Rescale | Threshold):
            self._ranges[output.name] = epilogue.code_range
        elif kind in _KEEPS_CODES:
            ranges = [self.code_range(tensor) for tensor in inputs if tensor is not None]
            self._ranges[output.name] = min(low for low, _ in ranges), max(high for _, high in ranges)

    def capture(self, name: str, outer: Builder, tensor: Tensor) -> Tensor:
        """A tensor of the outer graph, as an input of this one."""
        if isinstance(tensor.encoding, IntegerEncoding):
            self._ranges[name] = outer.code_range(tensor)
        return self._add(replace(tensor, name=name))

    def emit_branch(self, inputs: Sequence[Tensor], branches: Sequence[Graph], names: Sequence[str]) -> list[Tensor]:
        """Adds a branch operator, which chooses one of the graphs; returns its outputs.

        Args:
            inputs: the index, then the tensors that every branch reads.
            names: of the outputs.
        """
        first = branches[0]
        outputs = [
            self._add(replace(first.tensors[inside], name=self._name(wanted), data=None))
            for inside, wanted in zip(first.outputs, names, strict=True)
        ]
        op = Branch(
            name=f"{Branch.KIND}_{len(self.ops)}",
            inputs=tuple(tensor.name for tensor in inputs),
            outputs=tuple(tensor.name for tensor in outputs),
            branches=tuple(branches),
        )
        Node(op, tuple(inputs), tuple(outputs)).check()
        self.ops.append(op)
        return outputs

    def code_range(self, tensor: Tensor) -> tuple[int, int]:
        """Least and largest code of a tensor: a quantizer may produce fewer than its encoding could hold."""
        return self._ranges.get(tensor.name, tensor.integer.code_range)

    def integer_range(self, tensor: Tensor) -> tuple[int, int]:
        """Least and largest integer that the tensor's codes represent."""
        integers = tensor.integer.integers(np.array(self.code_range(tensor)))
        return int(integers.min()), int(integers.max())

    def constant(self, name: str, codes: np.ndarray, encoding: Encoding) -> Tensor:
        """A constant tensor."""
        dense = np.ascontiguousarray(codes, encoding.dtype)
        return self._add(Tensor(self._name(name), dense.shape, encoding, dense))

    def constant_of(self, name: str, codes: ConstantCodes, shape: Shape | None = None) -> Tensor:
        """A tensor of constant codes, reshaped if a shape is given."""
        array = codes.codes if shape is None else codes.codes.reshape(shape)
        return self.constant(name, array, codes.encoding)

    def encode_input(self, value: GraphInput, encoding: Encoding) -> Tensor:
        """The model input as a tensor of codes.

        Raises:
            UnsupportedError: the input already has another encoding.
        """
        known = self.inputs.get(value.name)
        if known is None:
            known = Tensor(value.name, value.view.tensor_shape, encoding)
            self.inputs[value.name] = self._add(known)
        if known.encoding != encoding:
            raise UnsupportedError(
                f"input '{value.name}' is quantized in two ways: {known.encoding}, and {encoding}",
                fix="Quantize every model input once.",
            )
        return known

    def in_order(self, value: Coded) -> Tensor:
        """The tensor with ONNX's shape and order of dimensions."""
        tensor, view = value.tensor, value.view
        if not view.is_in_order:
            permutation = tuple(view.order.index(i) for i in range(len(view.order)))
            tensor = self.emit(Transpose, [tensor], tensor.encoding, permutation=permutation)
        return self.reshape(tensor, view.shape)

    def reshape(self, tensor: Tensor, shape: Shape) -> Tensor:
        """The same codes in another shape."""
        return tensor if tensor.shape == shape else self.emit(Reshape, [tensor], tensor.encoding, shape=shape)

    def channels_last(self, value: Coded) -> Tensor:
        """A value that is NCHW in ONNX, as an NHWC tensor.

        Raises:
            UnsupportedError: the value does not have four dimensions.
        """
        if len(value.shape) != 4:
            raise UnsupportedError(
                f"an input of shape {list(value.shape)} is not NCHW", fix="tinygen has images only: N, C, H, W."
            )
        if not value.view.is_reshaped and value.view.order == CHANNELS_LAST:
            return value.tensor
        wanted = tuple(value.shape[i] for i in CHANNELS_LAST)
        if View.of(wanted, CHANNELS_LAST).is_in_order and value.view.is_in_order:
            return self.reshape(value.tensor, wanted)
        return self.emit(Transpose, [self.in_order(value)], value.tensor.encoding, permutation=CHANNELS_LAST)

    def graph(self, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
        return Graph(name, dict(self.tensors), tuple(self.ops), tuple(inputs), tuple(outputs))


def ordered(tensor: Tensor) -> Coded:
    """A value whose tensor has ONNX's order of dimensions."""
    return Coded(tensor, View.of(tensor.shape, identity(len(tensor.shape))))


def from_channels_last(tensor: Tensor) -> Coded:
    """A value whose tensor is NHWC, and which is NCHW in ONNX."""
    return Coded(tensor, View.of(tensor.shape, CHANNELS_LAST))


def int8_affine(encoding: Encoding) -> bool:
    """Whether TFLite's operators accept the encoding: one scale, int8."""
    return isinstance(encoding, Affine) and not encoding.per_channel and encoding.storage == "int8"
