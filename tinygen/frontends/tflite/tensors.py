"""The tensors of a subgraph: shapes, encodings, constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np
import tflite

from tinygen.errors import ModelError, UnsupportedError
from tinygen.frontends.tflite.registry import Declared
from tinygen.frontends.tflite.sparse import dense
from tinygen.ir.encodings import Affine, Encoding, Float32, Plain
from tinygen.ir.tensor import Tensor

_TYPES = {
    tflite.TensorType.FLOAT32: "float32",
    tflite.TensorType.FLOAT16: "float32",
    tflite.TensorType.INT8: "int8",
    tflite.TensorType.INT4: "int8",
    tflite.TensorType.UINT8: "uint8",
    tflite.TensorType.INT16: "int16",
    tflite.TensorType.INT32: "int32",
    tflite.TensorType.INT64: "int64",
    tflite.TensorType.BOOL: "bool",
    # The number of a variable; no graph has operators on it.
    tflite.TensorType.RESOURCE: "int32",
}
_TYPE_NAMES = {value: name for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}

_OTHER_TYPES = {
    "STRING": "Compute tokens in your program, and let the model begin with them.",
    "UINT32": "Use int32 in the source model.",
    "UINT64": "Use int64 in the source model.",
    "VARIANT": "Replace what needs lists of tensors (a TensorArray, a loop) by layers of static shapes.",
}

ONLY_WEIGHTS = "Keep float16 for weights: convert with float32 inputs and outputs."

_BIASES = ("int32", "int64")
"""Old converters wrote the axis of the weights to biases, which have only one. TensorFlow Lite Micro ignores it."""
_INT4_RANGE = (-8, 7)
_MOST_ELEMENTS = 2**31

# Offset of the external buffer in the vtable of a tensor: a field newer than the schema's bindings.
_EXTERNAL_BUFFER = 24

Count = Callable[[int], int]
"""Gives a vector's length back, if the file can hold it."""


def read_tensors(
    model: Any, subgraph: Any, count: Count, packed: Set[int] = frozenset()
) -> tuple[list[Tensor], dict[str, Declared]]:
    """The tensors of a subgraph, and the further properties of each in the file, by name.

    Args:
        count: checks the lengths of vectors.
        packed: indices of those whose bytes only a decoder reads, with scales of what it makes of them.

    Raises:
        ModelError: a tensor's fields are inconsistent.
        UnsupportedError: tinygen lacks a type or shape.
    """
    names: set[str] = set()
    tensors, declared = [], {}
    fed, written = set(_vector(subgraph.InputsAsNumpy, subgraph.InputsLength())), _written(subgraph, count)
    for index in range(count(subgraph.TensorsLength())):
        raw = subgraph.Tensors(index)
        name = (raw.Name() or b"").decode("utf-8", "replace") or f"tensor_{index}"
        if name in names:
            name = f"{name}#{index}"
        names.add(name)
        own = _tensor(model, raw, name, count, is_packed=index in packed)
        declared[name] = _declared(raw)
        if own.size == 0 and index not in fed and index not in written:
            # A parameter without elements: the shape of a scalar.
            own = replace(own, data=np.zeros(own.shape, own.dtype))
        elif index in fed or not declared[name].open_shape:
            check_shape(own.shape, name)
        tensors.append(own)
    return tensors, declared


def _written(subgraph: Any, count: Count) -> set[int]:
    """Indices of the tensors that operators write."""
    operators = [subgraph.Operators(i) for i in range(count(subgraph.OperatorsLength()))]
    return {int(one.Outputs(i)) for one in operators for i in range(count(one.OutputsLength()))}


def check_halves(tensors: Iterable[Tensor], declared: Mapping[str, Declared]) -> None:
    """Checks that no float16 tensor is computed or given: constants alone are widened.

    Raises:
        UnsupportedError: one is.
    """
    for tensor in tensors:
        if tensor.data is None and tensor.name in declared and declared[tensor.name].kind == "float16":
            raise UnsupportedError(
                "float16 tensors must be constants, this one is computed at run time",
                where=f"tensor '{tensor.name}'",
                fix=ONLY_WEIGHTS,
            )


def check_shape(shape: Sequence[int], name: str, *, least: int = 1) -> None:
    """Raises UnsupportedError where a dimension of a tensor is smaller than `least`, or it has too many elements."""
    if any(size < least for size in shape) or math.prod(shape) > _MOST_ELEMENTS:
        raise UnsupportedError(
            f"shape {list(shape)} is not static and positive",
            where=f"tensor '{name}'",
            fix="Export the model with a fixed batch size of 1.",
        )


def _declared(raw: Any) -> Declared:
    kind, quantization = _TYPE_NAMES[raw.Type()].lower(), raw.Quantization()
    sizes = _vector(raw.ShapeSignatureAsNumpy, raw.ShapeSignatureLength())
    unsettled = any(size < 0 for size in sizes) or (raw.ShapeLength() == 0 and not raw.HasRank())
    kept = {"sparse": raw.Sparsity() is not None, "is_variable": bool(raw.IsVariable())}
    if quantization is None or quantization.ScaleLength() != 1:
        return Declared(kind, np.float32(0), 0, unsettled, **kept)
    return Declared(kind, np.float32(quantization.Scale(0)), int(quantization.ZeroPoint(0)), unsettled, **kept)


def _tensor(model: Any, raw: Any, name: str, count: Count, *, is_packed: bool) -> Tensor:
    where = f"tensor '{name}'"
    if raw.Type() not in _TYPES:
        kind = _TYPE_NAMES.get(raw.Type(), str(raw.Type()))
        raise UnsupportedError(
            f"tensors of type {kind} are not supported",
            where=where,
            fix=_OTHER_TYPES.get(kind, "Let the model compute in float32, or quantize it to int8."),
        )
    shape = tuple(int(raw.Shape(i)) for i in range(count(raw.ShapeLength())))
    check_shape(shape, name, least=0)
    encoding = Plain(_TYPES[raw.Type()]) if is_packed else _encoding(raw, where, shape, count)
    data = _data(model, raw, where, shape, encoding.dtype, count)
    if raw.Type() == tflite.TensorType.INT4 and data is None:
        raise UnsupportedError(
            "4-bit tensors must be constants, this one is computed at run time",
            where=where,
            fix="Keep 4 bits for weights, and quantize activations to int8.",
        )
    return Tensor(name, shape, encoding, data)


def _encoding(raw: Any, where: str, shape: tuple[int, ...], count: Count) -> Encoding:
    """Scales and zero points as LiteRT reads them (core/interpreter_builder.cc, `ParseQuantization`)."""
    storage, quantization = _TYPES[raw.Type()], raw.Quantization()
    if quantization is None or quantization.ScaleLength() == 0:
        return Float32() if storage == "float32" else Plain(storage)
    scales = tuple(float(scale) for scale in _vector(quantization.ScaleAsNumpy, count(quantization.ScaleLength())))
    zeros = tuple(int(zero) for zero in _vector(quantization.ZeroPointAsNumpy, count(quantization.ZeroPointLength())))
    axis = int(quantization.QuantizedDimension())
    if len(shape) == 1 and storage in _BIASES:
        axis = 0
    if len(zeros) != len(scales):
        raise ModelError(f"has {len(scales)} scales and {len(zeros)} zero points", where=where)
    if axis < 0 or (shape and axis >= len(shape)):
        raise ModelError(f"is quantized along axis {axis}, and has {len(shape)} dimensions", where=where)
    if len(scales) > 1 and (not shape or shape[axis] != len(scales)):
        raise ModelError(f"has {len(scales)} scales along axis {axis} of shape {list(shape)}", where=where)
    if storage == "float32":
        return Float32()
    if not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise ModelError("has a scale that is not a positive number", where=where)
    low, high = _code_range(raw)
    if not all(low <= zero <= high for zero in zeros):
        raise ModelError(f"has a zero point outside {_TYPE_NAMES[raw.Type()].lower()}", where=where)
    return Affine(storage, scales, zeros, axis if len(scales) > 1 else None)


def _vector(read: Callable[[], Any], length: int) -> Any:
    """A vector as an array, in one call: reading by element took most of the time of reading a file."""
    return read() if length else ()


def _code_range(raw: Any) -> tuple[int, int]:
    if raw.Type() == tflite.TensorType.INT4:
        return _INT4_RANGE
    if raw.Type() == tflite.TensorType.BOOL:
        return 0, 1
    limits = np.iinfo(_TYPES[raw.Type()])
    return int(limits.min), int(limits.max)


def _data(model: Any, raw: Any, where: str, shape: tuple[int, ...], dtype: np.dtype, count: Count) -> np.ndarray | None:
    """Codes of a constant; None for other tensors, which have buffer 0, regardless of its content, or an empty one."""
    index = raw.Buffer()
    if index >= count(model.BuffersLength()):
        raise ModelError(f"has no buffer {index}", where=where)
    if raw.IsVariable():
        return None
    buffer = model.Buffers(index)
    if buffer.Offset() > 1:
        raise UnsupportedError(
            "data behind the tables of the file is not supported",
            where=where,
            fix="Convert without `_experimental_use_buffer_offset`, which is for files beyond 2 GB.",
        )
    if index == 0 or buffer.DataIsNone():
        return None
    if raw._tab.Offset(_EXTERNAL_BUFFER):
        raise ModelError("has data in the file and outside of it", where=where)
    content = np.asarray(buffer.DataAsNumpy()).tobytes()
    stored = np.dtype(np.float16) if raw.Type() == tflite.TensorType.FLOAT16 else dtype
    packed = raw.Type() == tflite.TensorType.INT4
    if raw.Sparsity() is not None:
        if packed or len(content) % stored.itemsize:
            raise ModelError(f"is sparse, and has {len(content)} bytes of data", where=where)
        return dense(raw.Sparsity(), shape, np.frombuffer(content, stored), where, count).astype(dtype, copy=False)
    expected = (math.prod(shape) + 1) // 2 if packed else math.prod(shape) * stored.itemsize
    if len(content) != expected:
        raise ModelError(f"has {len(content)} bytes of data, its shape needs {expected}", where=where)
    if packed:
        return _unpacked(content, math.prod(shape)).reshape(shape)
    return np.frombuffer(content, stored).reshape(shape).astype(dtype, copy=False)


def _unpacked(content: bytes, count: int) -> np.ndarray:
    """`count` int8 codes in [-8, 7] from INT4 data: two per byte, the low nibble first."""
    pairs = np.frombuffer(content, np.int8)
    # Shifted left and back again, a nibble is sign-extended.
    return np.stack([np.left_shift(pairs, 4) >> 4, pairs >> 4], axis=-1).reshape(-1)[:count]
