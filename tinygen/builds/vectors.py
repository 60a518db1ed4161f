"""Test vectors of an exported library: inputs, and their outputs by the integer semantics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.builds.arrays import random_samples
from tinygen.builds.codes import in_memory
from tinygen.builds.compare import FLOAT_RELATIVE
from tinygen.builds.library import library_semantics
from tinygen.builds.program import describe_program, describe_tensor
from tinygen.emit.model import EmittedModel
from tinygen.ir.interpreter import Stream
from tinygen.ir.network import Network
from tinygen.ir.tensor import Tensor
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Program
from tinygen.project.exports.library import Vectors

_SEED = 19
_MOST_BYTES = 16_384
"""Approximate size of all vectors together."""
_MOST, _STEPS = 4, 12
"""Largest number of vectors; the second is for models with states."""


def make_vectors(source: Network, program: NetworkProgram, emitted: EmittedModel) -> Vectors:
    """Makes random inputs from a fixed seed, and the outputs of each switch.

    Args:
        source: the network as it was read.
        program: that it was lowered to; where a vendor's kernels differ from LiteRT, the vectors follow the kernels.
        emitted: its C.
    """
    first = program.first
    count = _count(program)
    inputs = random_samples([source.first.tensors[name] for name in source.first.inputs], count, _SEED).inputs
    outputs = []
    for switch, lowered, own in zip(source, program.programs, emitted.switches, strict=True):
        theirs = library_semantics(switch.graph, describe_program(lowered, own))
        stream = theirs if theirs is not None else Stream(switch.graph)
        steps = [stream.step([array[i] for array in inputs]) for i in range(count)]
        outputs.append(_columns(lowered, lowered.outputs, [list(step) for step in steps]))
    rows = [[array[i] for array in inputs] for i in range(count)]
    return Vectors(_columns(first, first.inputs, rows), tuple(outputs), FLOAT_RELATIVE)


def _count(program: NetworkProgram) -> int:
    first = program.first
    size = sum(t.nbytes for t in first.inputs) + len(program.switches) * sum(t.nbytes for t in first.outputs)
    most = _STEPS if program.kept_bytes else _MOST
    return max(min(most, _MOST_BYTES // max(size, 1)), 2 if program.kept_bytes else 1)


def _columns(
    program: Program, tensors: Sequence[Tensor], rows: Sequence[Sequence[np.ndarray]]
) -> tuple[np.ndarray, ...]:
    """Values of each tensor, [rows, elements] as in memory."""
    entries = [describe_tensor(program, tensor) for tensor in tensors]
    return tuple(
        np.stack([np.frombuffer(in_memory(row[i], entry), tensor.memory_dtype) for row in rows])
        for i, (tensor, entry) in enumerate(zip(tensors, entries, strict=True))
    )
