"""Operators that tinygen lacks: looked up before anything else of a subgraph is read, and named with what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import tflite

from tinygen.errors import UnsupportedError
from tinygen.frontends.tflite.registry import OPERATOR_NAMES, has_converter
from tinygen.frontends.tflite.variables import VARIABLE_OPERATORS

_NAMED = 4
"""Kinds of missing operators that a message names."""
_SHOWN = 4
"""Tensors that a message shows on each side; an LSTM has 24."""

_TYPE_NAMES = {value: name.lower() for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}

_COMPILED = {
    "edgetpu-custom-op": ("an Edge TPU", "edgetpu_compiler was given: its name lacks `_edgetpu`"),
    "ethos-u": ("an Arm Ethos-U", "Vela was given: its name lacks `_vela`"),
    "NeutronGraph": ("NXP's eIQ Neutron", "the Neutron converter was given"),
    "DISPATCH_OP": ("an NPU", "the compiler of LiteRT was given"),
}
"""By custom code: the chip whose instructions the operator holds, and which file tinygen wants."""

_CUT = "Cut the model in front of it, and compute it in your program from what are then the model's outputs."
_TOKENS = "Compute tokens in your program, and let the model begin with them."
_STEPS = (
    "Write the loop over time out (Keras: `unroll=True`), so that it becomes dense layers and elementwise ones, or "
    "use convolutions over time."
)
_TRAIN = "Export the model for inference: this operator belongs to training."

_CUSTOM_WAYS = (
    ("Flex", "Convert without SELECT_TF_OPS: the converter then names the layers that need TensorFlow itself."),
    ("Signal", "Compute the features outside of the model (docs/wake-words.md has a front end), and export the rest."),
    ("TFLite_Detection_PostProcess", _CUT),
    ("PosenetDecoderOp", _CUT),
    ("MaxUnpooling2D", "Upsample with RESIZE_NEAREST_NEIGHBOR or TRANSPOSE_CONV instead."),
    ("MaxPoolingWithArgmax2D", "Use MAX_POOL_2D, and upsample with RESIZE_NEAREST_NEIGHBOR or TRANSPOSE_CONV."),
    ("tftext:", _TOKENS),
    ("CUSTOM_OP_STRING", _TOKENS),
)
"""What to do, by the beginning of the custom code."""

WAYS = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": _STEPS,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _STEPS,
    "BIDIRECTIONAL_SEQUENCE_RNN": _STEPS,
    "LSTM": _STEPS,
    "RNN": _STEPS,
    "WHILE": _STEPS,
    "CONV_3D": "Use CONV_2D over two of the axes, and the third as channels or as frames (docs/streaming.md).",
    "CONV_3D_TRANSPOSE": "Use TRANSPOSE_CONV over two of the axes.",
    "NON_MAX_SUPPRESSION_V4": _CUT,
    "NON_MAX_SUPPRESSION_V5": _CUT,
    "UNIQUE": _CUT,
    "HASHTABLE": _TOKENS,
    "HASHTABLE_FIND": _TOKENS,
    "HASHTABLE_IMPORT": _TOKENS,
    "HASHTABLE_LOOKUP": _TOKENS,
    "HASHTABLE_SIZE": _TOKENS,
    "SKIP_GRAM": _TOKENS,
    "LSH_PROJECTION": _TOKENS,
    "EMBEDDING_LOOKUP_SPARSE": "Use an embedding of dense indices.",
    "RANDOM_STANDARD_NORMAL": _TRAIN,
    "RANDOM_UNIFORM": _TRAIN,
    "MULTINOMIAL": _TRAIN,
}
"""What to do, by the operator's name."""


def check_known(subgraph: Any, codes: Sequence[tuple[int, str]]) -> None:
    """Checks that tinygen has every operator of a subgraph.

    Args:
        codes: builtin and custom code of each entry in the file's operator list.

    Raises:
        UnsupportedError: it lacks some; the message has all of them, and the place of the first.
    """
    found = [(index, _code(subgraph, index, codes)) for index in range(subgraph.OperatorsLength())]
    missing = [(index, code) for index, code in found if code is not None and not _is_known(*code)]
    if not missing:
        return
    compiled = [found for found in missing if found[1][1] in _COMPILED]
    first, (builtin, custom) = (compiled or missing)[0]
    where = _described(subgraph, first, builtin)
    if compiled:
        chip, file = _COMPILED[custom]
        raise UnsupportedError(
            f"is compiled for {chip}: '{custom}' holds instructions of that chip, not layers",
            where=where,
            fix=f"Give tinygen the file that {file}.",
        )
    counts = Counter(_name(*code) for _, code in missing)
    raise UnsupportedError(_said(counts), where=where, fix=_way(_name(builtin, custom), custom))


def _code(subgraph: Any, index: int, codes: Sequence[tuple[int, str]]) -> tuple[int, str] | None:
    """Of operator `index`; None where the file has no such entry, which its reader says."""
    entry = subgraph.Operators(index).OpcodeIndex()
    return codes[entry] if entry < len(codes) else None


def _is_known(builtin: int, custom: str) -> bool:
    return builtin in VARIABLE_OPERATORS or has_converter(builtin, custom)


def _name(builtin: int, custom: str) -> str:
    if builtin == tflite.BuiltinOperator.CUSTOM:
        return f"'{custom}'"
    return OPERATOR_NAMES.get(builtin, f"builtin operator {builtin}")


def _said(counts: Counter[str]) -> str:
    """`operators COS (2 times) and SIN are not supported`"""
    named = [name if times == 1 else f"{name} ({times} times)" for name, times in counts.items()]
    if len(named) == 1:
        return f"operator {named[0]} is not supported"
    if len(named) > _NAMED:
        named = [*named[: _NAMED - 1], f"{len(named) - _NAMED + 1} other kinds"]
    return f"operators {', '.join(named[:-1])} and {named[-1]} are not supported"


def _way(name: str, custom: str) -> str:
    if name in WAYS:
        return WAYS[name]
    for begin, way in _CUSTOM_WAYS:
        if custom.startswith(begin):
            return way
    if custom:
        return (
            f"{name} is an operator of one program's own: replace it in the source model by layers that convert to "
            "built-in operators, or cut the model in front of it."
        )
    return (
        f"Replace what became {name} in the source model by layers that convert to operators of "
        "docs/reference/operators.md."
    )


def _described(subgraph: Any, index: int, builtin: int) -> str:
    """`lstm_3 (int8 [1,8,8,4], - -> int8 [1,8,8,8])`, from the file itself: tensors may be of any type and shape."""
    raw = subgraph.Operators(index)
    ins, outs = (
        ", ".join([_tensor(subgraph, read(place)) for place in range(min(length, _SHOWN))] + _rest(length))
        for read, length in ((raw.Inputs, raw.InputsLength()), (raw.Outputs, raw.OutputsLength()))
    )
    return f"{OPERATOR_NAMES.get(builtin, f'op{builtin}').lower()}_{index} ({ins} -> {outs})"


def _rest(length: int) -> list[str]:
    return [f"{length - _SHOWN} more"] if length > _SHOWN else []


def _tensor(subgraph: Any, index: int) -> str:
    if not 0 <= index < subgraph.TensorsLength():
        return "-"
    tensor = subgraph.Tensors(index)
    shape = ",".join(str(tensor.Shape(axis)) for axis in range(tensor.ShapeLength()))
    return f"{_TYPE_NAMES.get(tensor.Type(), tensor.Type())} [{shape}]"
