"""Structural mutations of TFLite models: the file stays a whole flatbuffer, what it says changes here or there."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.support.model_files import packed, unpacked
from tinygen.frontends.tflite.registry import supported_operators

_SCALES = (
    0.0,
    -1.0,
    -0.05,
    1.4e-45,
    1e-38,
    1e-12,
    1e-7,
    1e-3,
    0.5,
    1.0,
    2.0**-8,
    3.0,
    1e3,
    1e6,
    1e10,
    3e38,
    float("inf"),
    float("nan"),
)
_FACTORS = (0.5, 2.0, 1.0001, 0.999, 0.1, 10.0, 1000.0)
_ZEROS = (-(2**63), -(2**31), -129, -128, -127, -1, 0, 1, 64, 127, 128, 255, 256, 32767, 32768, 2**31, 2**40)
_SIZES = (-(2**31), -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 10, 16, 49, 64, 100, 4097, 65536, 2**31 - 1)
_VERSIONS = (-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 20, 99, 1000)
_TYPES = (
    "FLOAT32",
    "FLOAT16",
    "INT32",
    "UINT8",
    "INT64",
    "STRING",
    "BOOL",
    "INT16",
    "INT8",
    "FLOAT64",
    "INT4",
    "RESOURCE",
    "VARIANT",
)
_SUPPORTED = (*supported_operators(), "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")
_LACKING = (
    "SVDF",
    "LSTM",
    "LSH_PROJECTION",
    "CUSTOM",
    "IF",
    "WHILE",
    "PLACEHOLDER_FOR_GREATER_OP_CODES",
)
_ATTEMPTS = 50

Mutation = Callable[[Any, random.Random], str | None]
"""Changes a model; gives what it did, None where there was nothing to change."""


def mutated(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Another file of a model, different in one place, now and then two; and what is different."""
    for _ in range(_ATTEMPTS):
        model = unpacked(content)
        notes = []
        try:
            for _ in range(rng.choice((1, 1, 1, 2))):
                note = rng.choices(_MUTATIONS, _WEIGHTS)[0](model, rng)
                if note is not None:
                    notes.append(note)
            result = packed(model)
        except Exception:
            # What the first change took away, the second one asked for; or a value that its field cannot hold.
            continue
        if notes and result != content:
            return result, "; ".join(notes)
    raise RuntimeError(f"nothing changed in {_ATTEMPTS} attempts")


def _listed(vector: Any) -> list[Any]:
    return [] if vector is None else [v.item() if isinstance(v, np.generic) else v for v in vector]


def _altered(rng: random.Random, values: list[Any], pool: Callable[[], Any]) -> tuple[list[Any], str]:
    """A list with an element replaced, removed, doubled, moved or added; or none at all."""
    values = list(values)
    kind = rng.choice(("replace", "replace", "replace", "remove", "append", "repeat", "swap", "empty"))
    if not values or kind == "append":
        values.append(pool())
    elif kind == "replace":
        values[rng.randrange(len(values))] = pool()
    elif kind == "remove":
        del values[rng.randrange(len(values))]
    elif kind == "repeat":
        values.append(rng.choice(values))
    elif kind == "swap":
        a, b = rng.randrange(len(values)), rng.randrange(len(values))
        values[a], values[b] = values[b], values[a]
    else:
        values = []
    return values, kind


def _subgraph(model: Any, rng: random.Random) -> Any:
    # The first is what runs; others hold what happens once.
    return model.subgraphs[0] if len(model.subgraphs) == 1 or rng.random() < 0.9 else rng.choice(model.subgraphs)


def _tensor(model: Any, rng: random.Random) -> tuple[int, Any]:
    tensors = _subgraph(model, rng).tensors
    index = rng.randrange(len(tensors))
    return index, tensors[index]


def _operator(model: Any, rng: random.Random) -> tuple[int, Any]:
    operators = _subgraph(model, rng).operators
    index = rng.randrange(len(operators))
    return index, operators[index]


def _size(rng: random.Random, size: int) -> int:
    return rng.choice((size + 1, size - 1, size * 2, max(size // 2, 1), rng.choice(_SIZES)))


def shape(model: Any, rng: random.Random) -> str | None:
    index, tensor = _tensor(model, rng)
    before = _listed(tensor.shape)
    if before and rng.random() < 0.5:
        after = list(before)
        place = rng.randrange(len(after))
        after[place] = _size(rng, after[place])
    else:
        after, _ = _altered(rng, before, lambda: rng.choice(_SIZES))
    tensor.shape = None if rng.random() < 0.05 else after
    return f"shape of tensor {index}: {before} -> {tensor.shape}"


def data_type(model: Any, rng: random.Random) -> str | None:
    index, tensor = _tensor(model, rng)
    before, known = tensor.type, getattr(schema.TensorType, rng.choice(_TYPES))
    tensor.type = rng.choice((known, known, rng.randrange(-2, 25)))
    return f"type of tensor {index}: {before} -> {tensor.type}"


def buffer_index(model: Any, rng: random.Random) -> str | None:
    index, tensor = _tensor(model, rng)
    before, count = tensor.buffer, len(model.buffers)
    tensor.buffer = rng.choice((0, rng.randrange(count), rng.randrange(count), count, 2**32 - 1))
    return f"buffer of tensor {index}: {before} -> {tensor.buffer}"


def flags(model: Any, rng: random.Random) -> str | None:
    index, tensor = _tensor(model, rng)
    kind = rng.choice(("variable", "name", "signature", "rank", "external"))
    if kind == "variable":
        tensor.isVariable = not tensor.isVariable
    elif kind == "name":
        # Not what is no UTF-8: LiteRT's Python interface does not show such inputs.
        tensor.name = rng.choice((None, b"", "ẞ <&>".encode(), _tensor(model, rng)[1].name))
    elif kind == "signature":
        tensor.shapeSignature = rng.choice((None, [-1, *_listed(tensor.shape)[1:]], [-1], [3, 5]))
    elif kind == "rank":
        tensor.hasRank = not tensor.hasRank
    else:
        tensor.externalBuffer = rng.choice((0, 1, 7))
    return f"{kind} of tensor {index}"


def _quantized(model: Any, rng: random.Random) -> tuple[int, Any]:
    """A tensor that is quantized, if one is found; else any, quantized from now on."""
    for _ in range(20):
        index, tensor = _tensor(model, rng)
        if tensor.quantization is not None and _listed(tensor.quantization.scale):
            break
    if tensor.quantization is None:
        tensor.quantization = schema.QuantizationParametersT()
    return index, tensor.quantization


def scale(model: Any, rng: random.Random) -> str | None:
    index, quantization = _quantized(model, rng)
    before = _listed(quantization.scale)
    usual = before[0] if before else 1.0

    def another() -> float:
        return rng.choice(_SCALES) if rng.random() < 0.5 else usual * rng.choice(_FACTORS)

    if before and rng.random() < 0.25:
        factor = rng.choice(_FACTORS)
        after = [float(np.float32(s * factor)) for s in before]
    elif before and rng.random() < 0.3:
        after = [rng.choice(_SCALES)] * len(before)
    else:
        after, _ = _altered(rng, before, another)
    quantization.scale = None if rng.random() < 0.05 else after
    return f"scale of tensor {index}: {before[:3]} ({len(before)}) -> {(quantization.scale or [])[:3]} ({len(after)})"


def zero_point(model: Any, rng: random.Random) -> str | None:
    index, quantization = _quantized(model, rng)
    before = _listed(quantization.zeroPoint)
    if before and rng.random() < 0.3:
        after = [rng.choice(_ZEROS)] * len(before)
    else:
        after, _ = _altered(rng, before, lambda: rng.choice(_ZEROS))
    quantization.zeroPoint = None if rng.random() < 0.1 else after
    return f"zero point of tensor {index}: {before[:3]} -> {(quantization.zeroPoint or [])[:3]} ({len(after)})"


def quantized_dimension(model: Any, rng: random.Random) -> str | None:
    index, quantization = _quantized(model, rng)
    before = quantization.quantizedDimension
    quantization.quantizedDimension = rng.choice((-1, 0, 1, 2, 3, 4, 100, 2**31 - 1, -(2**31)))
    return f"quantized dimension of tensor {index}: {before} -> {quantization.quantizedDimension}"


def quantization(model: Any, rng: random.Random) -> str | None:
    index, tensor = _tensor(model, rng)
    kind = rng.choice(("gone", "another's", "new", "empty", "custom"))
    if kind == "gone":
        tensor.quantization = None
    elif kind == "another's":
        tensor.quantization = _tensor(model, rng)[1].quantization
    else:
        tensor.quantization = schema.QuantizationParametersT()
        if kind == "new":
            tensor.quantization.scale, tensor.quantization.zeroPoint = [rng.choice(_SCALES)], [rng.choice(_ZEROS)]
        elif kind == "custom":
            tensor.quantization.detailsType = schema.QuantizationDetails.CustomQuantization
            tensor.quantization.details = schema.CustomQuantizationT()
    return f"quantization of tensor {index}: {kind}"


def sparsity(model: Any, rng: random.Random) -> str | None:
    index, tensor = _tensor(model, rng)
    tensor.sparsity = schema.SparsityParametersT()
    tensor.sparsity.traversalOrder = list(range(len(_listed(tensor.shape))))
    return f"sparsity of tensor {index}"


def _any_index(model: Any, rng: random.Random) -> Callable[[], int]:
    count = len(model.subgraphs[0].tensors)
    return lambda: rng.randrange(count) if rng.random() < 0.5 else rng.choice((-1, -2, count, 2**31 - 1))


def operands(model: Any, rng: random.Random) -> str | None:
    index, operator = _operator(model, rng)
    before = _listed(operator.inputs)
    operator.inputs, kind = _altered(rng, before, _any_index(model, rng))
    return f"inputs of operator {index} ({kind}): {before} -> {operator.inputs}"


def results(model: Any, rng: random.Random) -> str | None:
    index, operator = _operator(model, rng)
    before = _listed(operator.outputs)
    operator.outputs, kind = _altered(rng, before, _any_index(model, rng))
    return f"outputs of operator {index} ({kind}): {before} -> {operator.outputs}"


def ports(model: Any, rng: random.Random) -> str | None:
    subgraph = _subgraph(model, rng)
    which = rng.choice(("inputs", "outputs"))
    before = _listed(getattr(subgraph, which))
    after, kind = _altered(rng, before, _any_index(model, rng))
    setattr(subgraph, which, None if rng.random() < 0.05 else after)
    return f"{which} of the model ({kind}): {before} -> {getattr(subgraph, which)}"


def operator_options(model: Any, rng: random.Random) -> str | None:
    """One field of an operator's options, whatever it has."""
    index, operator = _operator(model, rng)
    if operator.builtinOptions is None:
        return None
    fields = sorted(vars(operator.builtinOptions))
    if not fields:
        return None
    name = rng.choice(fields)
    before = getattr(operator.builtinOptions, name)
    if isinstance(before, bool):
        after: Any = not before
    elif isinstance(before, int):
        after = rng.choice((before + 1, before - 1, 0, 1, 2, 3, -1, rng.choice(_SIZES)))
    elif isinstance(before, float):
        after = rng.choice((0.0, -1.0, 0.5, 1.0, 2.0, 1e-9, 1e30, float("nan"), float("inf")))
    elif isinstance(before, list | np.ndarray):
        after, _ = _altered(rng, _listed(before), lambda: rng.choice(_SIZES))
    elif isinstance(before, bytes):
        after = rng.choice((None, b"", b"other"))
    else:
        return None
    setattr(operator.builtinOptions, name, after)
    return f"option {name} of operator {index}: {before} -> {after}"


def options_table(model: Any, rng: random.Random) -> str | None:
    index, operator = _operator(model, rng)
    kind = rng.choice(("gone", "another's", "type"))
    if kind == "gone":
        operator.builtinOptionsType, operator.builtinOptions = 0, None
    elif kind == "another's":
        other = _operator(model, rng)[1]
        operator.builtinOptionsType, operator.builtinOptions = other.builtinOptionsType, other.builtinOptions
    else:
        name = rng.choice(("Conv2DOptions", "SoftmaxOptions", "AddOptions", "ReshapeOptions", "Pool2DOptions"))
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = getattr(schema, f"{name}T")()
    return f"options of operator {index}: {kind}"


def opcode_index(model: Any, rng: random.Random) -> str | None:
    index, operator = _operator(model, rng)
    before, count = operator.opcodeIndex, len(model.operatorCodes)
    operator.opcodeIndex = rng.choice((rng.randrange(count), rng.randrange(count), count, 2**32 - 1))
    return f"code of operator {index}: {before} -> {operator.opcodeIndex}"


def operator_code(model: Any, rng: random.Random) -> str | None:
    index = rng.randrange(len(model.operatorCodes))
    code = model.operatorCodes[index]
    kind = rng.choice(("another", "another", "lacking", "unknown", "new field", "old field", "custom"))
    before = (code.builtinCode, code.deprecatedBuiltinCode)
    if kind == "another":
        code.builtinCode = getattr(schema.BuiltinOperator, rng.choice(_SUPPORTED))
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    elif kind == "lacking":
        code.builtinCode = getattr(schema.BuiltinOperator, rng.choice(_LACKING))
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    elif kind == "unknown":
        code.builtinCode = rng.choice((-1, 400, 2**31 - 1))
    elif kind == "new field":
        code.builtinCode = rng.choice((0, 1, 3, 9, 127, 128))
    elif kind == "old field":
        code.deprecatedBuiltinCode = rng.choice((-1, 0, 1, 3, 9, 127))
    else:
        code.customCode = b"MyOperator"
    return f"operator code {index} ({kind}): {before} -> {(code.builtinCode, code.deprecatedBuiltinCode)}"


def version(model: Any, rng: random.Random) -> str | None:
    if rng.random() < 0.15:
        before, model.version = model.version, rng.choice((0, 1, 2, 4, 2**32 - 1))
        return f"version of the schema: {before} -> {model.version}"
    index = rng.randrange(len(model.operatorCodes))
    code = model.operatorCodes[index]
    before, code.version = code.version, rng.choice(_VERSIONS)
    return f"version of operator code {index} ({code.builtinCode}): {before} -> {code.version}"


def operator_order(model: Any, rng: random.Random) -> str | None:
    operators = _subgraph(model, rng).operators
    index = rng.randrange(len(operators))
    kind = rng.choice(("swap", "remove", "repeat"))
    if kind == "swap":
        other = rng.randrange(len(operators))
        operators[index], operators[other] = operators[other], operators[index]
    elif kind == "remove":
        del operators[index]
    else:
        operators.insert(rng.randrange(len(operators) + 1), operators[index])
    return f"operator {index}: {kind}"


def contents(model: Any, rng: random.Random) -> str | None:
    """Bytes of a constant: too few, too many, none, or others; mostly of small ones, which are shapes and axes."""
    constants = [i for i, b in enumerate(model.buffers) if b.data is not None and len(b.data)]
    small = [i for i in constants if len(model.buffers[i].data) <= 64]
    if not constants:
        return None
    index = rng.choice(small if small and rng.random() < 0.7 else constants)
    buffer = model.buffers[index]
    data = bytearray(np.asarray(buffer.data, np.uint8).tobytes())
    kind = rng.choice(("value", "value", "value", "shorter", "longer", "none", "empty"))
    if kind == "value":
        if len(data) % 4 == 0 and len(data) <= 64:
            place = rng.randrange(len(data) // 4) * 4
            data[place : place + 4] = rng.choice((*_SIZES[2:12], -3)).to_bytes(4, "little", signed=True)
        else:
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == "shorter":
        del data[-rng.choice((1, 1, 4, len(data) // 2 + 1)) :]
    elif kind == "longer":
        data += bytes(rng.choice((1, 4, 64)))
    buffer.data = None if kind == "none" else np.frombuffer(b"" if kind == "empty" else bytes(data), np.uint8)
    return f"data of buffer {index}: {kind}"


def tables(model: Any, rng: random.Random) -> str | None:
    """Whole vectors of the model."""
    subgraph = _subgraph(model, rng)
    kind = rng.choice(("buffers", "codes", "tensors", "operators", "subgraphs", "more subgraphs", "buffer 0"))
    if kind == "buffers":
        model.buffers = rng.choice((None, [], model.buffers[:-1]))
    elif kind == "codes":
        model.operatorCodes = rng.choice((None, [], model.operatorCodes[:-1]))
    elif kind == "tensors":
        subgraph.tensors = rng.choice((None, [], subgraph.tensors[:-1]))
    elif kind == "operators":
        subgraph.operators = rng.choice((None, [], subgraph.operators[:-1]))
    elif kind == "subgraphs":
        model.subgraphs = rng.choice((None, [], model.subgraphs[1:]))
    elif kind == "more subgraphs":
        model.subgraphs = [*model.subgraphs, rng.choice((model.subgraphs[0], schema.SubGraphT()))]
    else:
        model.buffers[0].data = np.zeros(rng.choice((1, 16)), np.uint8)
    return f"tables: {kind}"


_WEIGHTED: tuple[tuple[Mutation, int], ...] = (
    (shape, 10),
    (data_type, 6),
    (buffer_index, 5),
    (flags, 4),
    (scale, 12),
    (zero_point, 8),
    (quantized_dimension, 4),
    (quantization, 5),
    (sparsity, 1),
    (operands, 9),
    (results, 5),
    (ports, 6),
    (operator_options, 12),
    (options_table, 4),
    (opcode_index, 3),
    (operator_code, 5),
    (version, 5),
    (operator_order, 4),
    (contents, 8),
    (tables, 2),
)
_MUTATIONS = [mutation for mutation, _ in _WEIGHTED]
_WEIGHTS = [weight for _, weight in _WEIGHTED]
