"""Which of LiteRT's kernel sets a model can be compared with: the reference one lacks operators, and has a fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from tinygen.builds.oracle import LiteRt
from tinygen.builds.oracle_names import Oracle
from tinygen.errors import ModelError
from tinygen.ir.graph import Graph
from tinygen.ir.ops.reduce import Sum
from tinygen.ir.ops.svdf import STATE, Svdf

_MISREAD = (np.int8, np.int16)
_CUSTOM = re.compile(r"unresolved custom op: (\w+)")
_MISSING = re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'")


def sound_oracles(
    litert: Callable[[Oracle], LiteRt], graph: Graph, oracles: Sequence[Oracle]
) -> tuple[tuple[Oracle, ...], tuple[str, ...]]:
    """The kernel sets to compare with in the place of others, and a sentence for each change.

    The reference set lacks CEIL, ROUND and ELU, and the newest versions of some operators: then the optimised set takes
    its place. Its kernel of SUM reads int8 and int16 codes as uint8 (kernels/reduce.cc, `QuantizedMeanOrSum`), so that
    nothing can be compared with it. All of them take the state of an SVDF for 16 bits, whatever it is.

    Args:
        litert: makes an interpreter of the model.
        graph: the model as tinygen reads it.
        oracles: the kernel sets that are wanted.

    Raises:
        ModelError: LiteRT refuses the model.
    """
    halved = [op.name for op in graph.ops if isinstance(op, Svdf) and graph.tensors[op.inputs[STATE]].dtype == np.int8]
    if halved:
        return (), (f"LiteRT crashes on a state of 8 bits ({halved[0]}): not compared with it",)
    if Oracle.REF not in oracles:
        return tuple(oracles), ()
    sums = [op.name for op in graph.ops if isinstance(op, Sum) and graph.tensors[op.outputs[0]].dtype in _MISREAD]
    if sums:
        text = f"LiteRT's reference kernel of SUM ({sums[0]}) reads signed codes as unsigned: not compared with it"
        return tuple(one for one in oracles if one is not Oracle.REF), (text,)
    try:
        notes = litert(Oracle.REF).notes
    except ModelError as error:
        custom = _CUSTOM.search(str(error))
        if custom is not None:
            return (), (f"LiteRT lacks the operator {custom[1]}: not compared with it",)
        missing = _MISSING.search(str(error))
        if missing is None:
            raise
        name, version = missing.groups()
        text = f"LiteRT's reference kernels lack {name} (version {version}): compared with the optimised ones"
        others = (Oracle.OPTIMIZED if one is Oracle.REF else one for one in oracles)
        return tuple(dict.fromkeys(others)), (text,)
    return tuple(oracles), notes
