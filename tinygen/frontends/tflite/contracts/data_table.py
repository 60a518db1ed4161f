"""The contracts of operators that copy, choose and rearrange, convert types, or are known before anything runs.

Sources as in table.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import tflite

from tinygen.frontends.tflite.contracts import data_rules, rules
from tinygen.frontends.tflite.contracts.contract import Contract, Rule, alike, types

_OP = tflite.BuiltinOperator
_NUMBERS = "float32|int8|uint8|int16|int32|int64"
_INDICES = "int32|int64"
_ANY = f"{_NUMBERS}|bool"
_SCATTERED = "float32|int8|uint8|int32|int64|bool"


def _blocks(margins: str) -> Contract:
    """SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND."""
    return Contract(
        versions=4,
        inputs=("input", "block", margins),
        types=alike(_ANY, "T, int32, int32 -> T"),
        ranks={"input": (3, 4), "block": (1,), margins: (2,)},
        rules=(rules.int16_is_symmetric, rules.one_encoding_of_integers, data_rules.blocks),
    )


def _rearranging(rule: Rule) -> Contract:
    """DEPTH_TO_SPACE and SPACE_TO_DEPTH."""
    types_of = alike("float32|int8|uint8|int32|int64", "T -> T")
    return Contract(versions=2, inputs=("input",), types=types_of, ranks={"input": (4,)}, rules=(rule,))


def _selection(versions: int, *more: Rule) -> Contract:
    return Contract(
        versions=versions,
        inputs=("condition", "first operand", "second operand"),
        types=alike(_ANY, "bool, T, T -> T"),
        rules=more,
    )


def _of_conditions() -> Contract:
    return Contract(versions=1, inputs=("first operand", "second operand"), types=types("bool, bool -> bool"))


DATA: Mapping[int, Contract] = {
    _OP.GATHER: Contract(versions=8, inputs=("input", "indices"), types=alike(_ANY, f"T, {_INDICES}|int16 -> T")),
    _OP.GATHER_ND: Contract(versions=6, inputs=("input", "indices"), types=alike(_ANY, f"T, {_INDICES}|int16 -> T")),
    _OP.SCATTER_ND: Contract(
        versions=1,
        inputs=("indices", "updates", "shape"),
        types=alike(_SCATTERED, "int32, T, int32 -> T"),
        ranks={"shape": (1,)},
        rules=(rules.at_least(0, 1), rules.at_least(1, 1)),
    ),
    _OP.DYNAMIC_UPDATE_SLICE: Contract(
        versions=6,
        inputs=("input", "block", "start"),
        types=alike(_ANY, f"T, T, {_INDICES} -> T"),
        ranks={"start": (1,)},
    ),
    _OP.ONE_HOT: Contract(
        versions=1,
        inputs=("indices", "depth", "on value", "off value"),
        types=alike(_SCATTERED, f"{_INDICES}, {_INDICES}, T, T -> T"),
        rules=(
            rules.elements(1, 1, "depth"),
            rules.elements(2, 1, "on value"),
            rules.elements(3, 1, "off value"),
            data_rules.one_hot_axis,
        ),
    ),
    _OP.CAST: Contract(
        versions=9, inputs=("input",), types=types(f"{_ANY} -> {_ANY}"), rules=(data_rules.named_types,)
    ),
    _OP.TILE: Contract(versions=3, inputs=("input", "multiples"), types=alike(_ANY, f"T, {_INDICES} -> T")),
    _OP.BROADCAST_TO: Contract(
        oldest=2,
        versions=4,
        inputs=("input", "shape"),
        types=alike(_ANY, f"T, {_INDICES} -> T"),
        ranks={"shape": (1,)},
        rules=(rules.at_most(0, 8),),
    ),
    _OP.FILL: Contract(
        versions=5,
        inputs=("shape", "value"),
        types=alike(_ANY, f"{_INDICES}, T -> T"),
        ranks={"shape": (1,), "value": (0,)},
        rules=(rules.int16_is_symmetric, data_rules.filled_as_it_is),
    ),
    _OP.SELECT: _selection(4, data_rules.selected_whole),
    _OP.SELECT_V2: _selection(2),
    _OP.REVERSE_V2: Contract(
        versions=4,
        inputs=("input", "axes"),
        types=alike(_ANY, "T, int32 -> T"),
        ranks={"axes": (1,)},
        rules=(rules.at_most(0, 8), data_rules.neighbouring_axes),
    ),
    _OP.DEPTH_TO_SPACE: _rearranging(data_rules.depth_of_blocks),
    _OP.SPACE_TO_DEPTH: _rearranging(data_rules.whole_blocks),
    _OP.SPACE_TO_BATCH_ND: _blocks("paddings"),
    _OP.BATCH_TO_SPACE_ND: _blocks("crops"),
    _OP.CUMSUM: Contract(
        versions=1,
        inputs=("input", "axis"),
        types=alike("float32|int32|int64", "T, int32 -> T"),
        rules=(rules.elements(1, 1, "axis"), rules.at_least(0, 1)),
    ),
    _OP.TOPK_V2: Contract(
        versions=3,
        inputs=("input", "k"),
        outputs=2,
        types=alike(_NUMBERS, "T, int16|int32 -> T, int16|int32"),
        rules=(rules.elements(1, 1, "k"), rules.at_least(0, 1)),
    ),
    _OP.LOGICAL_AND: Contract(
        versions=1, inputs=("first operand", "second operand"), types=types("bool, bool -> bool")
    ),
    _OP.LOGICAL_OR: Contract(versions=1, inputs=("first operand", "second operand"), types=types("bool, bool -> bool")),
    _OP.LOGICAL_NOT: Contract(versions=1, inputs=("operand",), types=types("bool -> bool")),
    _OP.SHAPE: Contract(
        versions=1,
        inputs=("input",),
        types=types(f"{_ANY} -> {_INDICES}"),
        rules=(rules.type_option(tflite.ShapeOptions, "OutType"),),
    ),
    _OP.RANK: Contract(versions=1, inputs=("input",), types=types(f"{_ANY} -> int32")),
    _OP.RANGE: Contract(
        versions=2,
        inputs=("start", "limit", "step"),
        types=alike("float32|int32|int64", "T, T, T -> T"),
        ranks={"start": (0,), "limit": (0,), "step": (0,)},
    ),
    _OP.ZEROS_LIKE: Contract(versions=1, inputs=("input",), types=alike("float32|int32|int64", "T -> T")),
    _OP.WHERE: Contract(versions=2, inputs=("condition",), types=types(f"{_SCATTERED} -> int64")),
    _OP.BROADCAST_ARGS: Contract(
        versions=1,
        inputs=("first shape", "second shape"),
        types=alike(_INDICES, "T, T -> T"),
        ranks={"first shape": (1,), "second shape": (1,)},
    ),
}
