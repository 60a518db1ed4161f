"""Builds single-operator TFLite models through the schema's own bindings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "int4": schema.TensorType.INT4,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
    "resource": schema.TensorType.RESOURCE,
    "string": schema.TensorType.STRING,
}

# The interpreter refuses a version it does not register; these are ones that have int8.
_VERSIONS = {
    schema.BuiltinOperator.CONV_2D: 5,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 5,
    schema.BuiltinOperator.FULLY_CONNECTED: 5,
    schema.BuiltinOperator.SOFTMAX: 2,
}


@dataclass(frozen=True)
class Levels:
    """The levels of a sparse constant.

    Attributes:
        order: of dimensions, then of blocks.
        blocks: (dimension, size) of the dimensions that are cut.
        compressed: which places of `order` are stored as lists.
        vector: the type of these lists.
    """

    order: Sequence[int]
    blocks: Sequence[tuple[int, int]] = ()
    compressed: Sequence[int] = ()
    vector: str = "Int32Vector"


@dataclass(frozen=True, eq=False)
class TensorSpec:
    """A tensor of the model to build.

    Attributes:
        shape, dtype: as in the file ("int8", "float32", ...); "int4" has codes from -8 to 7, packed in the file.
        scale, zero_point: quantization; a sequence of scales for per-channel along `axis`; None for none.
        data: codes, for constants.
        least: the least code or number that is fed at run time; None for any.
        levels: how the file stores a sparse constant; None for all of its elements.
        variable: whether an operator keeps it from one invocation to the next.
    """

    shape: Sequence[int]
    dtype: str = "int8"
    scale: float | Sequence[float] | None = None
    zero_point: int | Sequence[int] = 0
    axis: int = 0
    data: np.ndarray | None = None
    name: str = ""
    least: float | None = None
    levels: Levels | None = None
    variable: bool = False


@dataclass
class ModelSpec:
    """One operator with its operands, in the operator's order. None is an absent optional input.

    Attributes:
        custom: code of a custom operator.
        custom_options: its options.
        between: tensors that only say what numbers inside of the operator stand for.
    """

    opcode: int
    inputs: Sequence[TensorSpec | None]
    outputs: Sequence[TensorSpec]
    options_type: int = 0
    options: Any = None
    label: str = ""
    version: int = 0
    custom: str = ""
    custom_options: bytes = b""
    between: Sequence[TensorSpec] = ()

    @property
    def runtime_inputs(self) -> list[TensorSpec]:
        """The operands that are fed at run time, each once."""
        seen: list[TensorSpec] = []
        for spec in self.inputs:
            if (
                spec is not None
                and spec.data is None
                and not spec.variable
                and all(spec is not other for other in seen)
            ):
                seen.append(spec)
        return seen


@dataclass(frozen=True)
class Subgraph:
    """A subgraph that an operator calls."""

    operators: Sequence[ModelSpec]
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]


def options(name: str, **values: Any) -> dict[str, Any]:
    """Keyword arguments `options_type` and `options` of ModelSpec: `**options("Conv2DOptions", strideH=2)`."""
    table = getattr(schema, f"{name}T")()
    for key, value in values.items():
        assert hasattr(table, key), f"{name} has no field {key}"
        setattr(table, key, value)
    return {"options_type": getattr(schema.BuiltinOptions, name), "options": table}


def build(spec: ModelSpec) -> bytes:
    """The .tflite file of one operator."""
    return build_chain([spec])


def build_chain(
    specs: Sequence[ModelSpec],
    *,
    inputs: Sequence[TensorSpec] | None = None,
    outputs: Sequence[TensorSpec] | None = None,
    once: Sequence[ModelSpec] | None = None,
    branches: Sequence[Subgraph] = (),
) -> bytes:
    """A model of several operators; the same TensorSpec object used twice is the same tensor.

    Model inputs are the run-time operands that no operator writes, outputs what no operator reads, where they are not
    given. `once` are the operators of a second subgraph; `branches` are subgraphs, from 1 on.
    """
    model = schema.ModelT()
    model.version = 3
    model.description = "tinygen test"
    model.buffers = [schema.BufferT()]
    model.operatorCodes = []
    model.subgraphs = [_subgraph(model, specs, inputs, outputs)]
    for branch in branches:
        model.subgraphs.append(_subgraph(model, branch.operators, branch.inputs, branch.outputs))
    if once is not None:
        model.subgraphs.append(_subgraph(model, once, None, ()))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _subgraph(
    model: Any,
    specs: Sequence[ModelSpec],
    inputs: Sequence[TensorSpec] | None,
    outputs: Sequence[TensorSpec] | None,
) -> Any:
    tensors: list[TensorSpec] = []

    def index(tensor: TensorSpec | None) -> int:
        if tensor is None:
            return -1
        for position, known in enumerate(tensors):
            if known is tensor:
                return position
        tensors.append(tensor)
        return len(tensors) - 1

    graph = schema.SubGraphT()
    graph.name = "main"
    graph.operators = []
    read: set[int] = set()
    written: set[int] = set()
    inside: set[int] = set()
    for spec in specs:
        operator = schema.OperatorT()
        operator.opcodeIndex = _code(model, spec)
        operator.inputs = [index(tensor) for tensor in spec.inputs]
        operator.outputs = [index(tensor) for tensor in spec.outputs]
        operator.builtinOptionsType = spec.options_type
        operator.builtinOptions = spec.options
        inner = [index(tensor) for tensor in spec.between]
        operator.intermediates = inner or None
        if spec.custom_options:
            operator.customOptions = np.frombuffer(spec.custom_options, np.uint8)
        graph.operators.append(operator)
        read.update(operator.inputs)
        written.update(operator.outputs)
        inside.update(inner)
    fed = [i for i, t in enumerate(tensors) if t.data is None and not t.variable and i not in written | inside]
    graph.inputs = [index(tensor) for tensor in inputs] if inputs is not None else fed
    unread = [i for i in sorted(written) if i not in read]
    graph.outputs = [index(tensor) for tensor in outputs] if outputs is not None else unread
    graph.tensors = [_tensor(model, tensor, position) for position, tensor in enumerate(tensors)]
    return graph


def _code(model: Any, spec: ModelSpec) -> int:
    code = schema.OperatorCodeT()
    code.builtinCode = spec.opcode
    code.deprecatedBuiltinCode = min(spec.opcode, 127)
    code.customCode = spec.custom or None
    code.version = spec.version or _VERSIONS.get(spec.opcode, 1)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _tensor(model: Any, spec: TensorSpec, position: int) -> Any:
    tensor = schema.TensorT()
    tensor.name = (spec.name or f"t{position}").encode()
    tensor.shape = list(spec.shape)
    tensor.type = _TYPES[spec.dtype]
    tensor.hasRank = True
    tensor.isVariable = spec.variable
    if spec.scale is not None:
        scales = [float(s) for s in np.atleast_1d(np.asarray(spec.scale, np.float32))]
        zeros = np.broadcast_to(np.asarray(spec.zero_point), (len(scales),))
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scales
        tensor.quantization.zeroPoint = [int(z) for z in zeros]
        tensor.quantization.quantizedDimension = spec.axis
    if spec.data is not None:
        data = np.asarray(spec.data, np.dtype("int8" if spec.dtype == "int4" else spec.dtype), order="C")
        assert data.shape == tuple(spec.shape), (data.shape, spec.shape)
        buffer = schema.BufferT()
        if spec.levels is not None:
            tensor.sparsity, data = _sparse(data, spec.levels)
        buffer.data = _nibbles(data) if spec.dtype == "int4" else np.frombuffer(data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    else:
        tensor.buffer = 0
    return tensor


def _nibbles(codes: np.ndarray) -> np.ndarray:
    """Two 4-bit codes per byte, the first in the low half; an odd last one stands beside a zero."""
    assert codes.min(initial=0) >= -8 and codes.max(initial=0) <= 7, "not 4-bit codes"
    pairs = np.zeros(codes.size + codes.size % 2, np.uint8)
    pairs[: codes.size] = codes.reshape(-1).view(np.uint8) & 15
    return np.asarray(pairs[0::2] | pairs[1::2] << 4)


def _sparse(data: np.ndarray, levels: Levels) -> tuple[Any, np.ndarray]:
    """The table of a sparse constant, and its elements in the file."""
    cut, outer, inner = [], [], {}
    for axis, size in enumerate(data.shape):
        outer.append(len(cut))
        block = dict(levels.blocks).get(axis, 0)
        cut += [size // block, block] if block else [size]
        inner[axis] = len(cut) - 1
    whole = data.reshape(cut).transpose([*outer, *(inner[axis] for axis, _ in levels.blocks)]).transpose(levels.order)
    table = schema.SparsityParametersT()
    table.traversalOrder = list(levels.order)
    table.blockMap = [dim for dim, _ in levels.blocks]
    table.dimMetadata = []
    nodes: list[tuple[int, ...]] = [()]
    for depth, size in enumerate(whole.shape):
        level = schema.DimensionMetadataT()
        if depth in levels.compressed:
            kept = [[i for i in range(size) if np.any(whole[(*node, i)])] for node in nodes]
            level.format = schema.DimensionType.SPARSE_CSR
            level.arraySegmentsType = level.arrayIndicesType = getattr(schema.SparseIndexVector, levels.vector)
            level.arraySegments, level.arrayIndices = (getattr(schema, f"{levels.vector}T")() for _ in range(2))
            level.arraySegments.values = np.cumsum([0, *map(len, kept)]).tolist()
            level.arrayIndices.values = [i for found in kept for i in found]
        else:
            kept = [list(range(size))] * len(nodes)
            level.denseSize = size
        table.dimMetadata.append(level)
        nodes = [(*node, i) for node, found in zip(nodes, kept, strict=True) for i in found]
    return table, np.array([whole[node] for node in nodes], data.dtype)
