"""Kernels of FULLY_CONNECTED with weights of less than 8 bits, for Armv7E-M: codes are unpacked in registers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.lowering.kernels.dense.fully_connected import DenseJob
from tinygen.lowering.kernels.support.activations.widening import Widening
from tinygen.lowering.kernels.support.weights import coded_weights
from tinygen.lowering.kernels.support.weights.coded_weights import BookCode, Code, GridCode
from tinygen.lowering.plan import Constant, KernelPlan

_NIBBLES = 16
"""Sums of codes of 4 bits are so many times as large (tg_dot_nibbles)."""
_MOST_BITS = 5
_MOST_STEP = 15
"""With a larger step 17 times an activation does not fit 16 bits."""

# Cycles per multiply-accumulate, by the bits of a piece of the codes; of a book. Scale as those of the int8 kernel.
_PIECE, _BOOK = {5: 1.3, 4: 1.05, 3: 1.0, 2: 0.95, 1: 0.9}, 2.2


def unit_of(code: Code) -> int:
    """The factor by which the loop for a code scales its sums."""
    return _NIBBLES if isinstance(code, GridCode) and code.bits == 4 and code.step <= _MOST_STEP else 1


def packed_dense_plan(job: DenseJob, code: Code, widen: Widening | None = None) -> KernelPlan:
    """The plan for weights that fit a code, and inputs in signed bytes; sums are in units of `unit_of`.

    Args:
        widen: how rows of other inputs are widened; with a BookCode.
    """
    weights, ending = job.weights, job.ending
    outputs, depth = weights.shape
    pieces, words = _packed(code, weights)
    pairs = max(-(-piece["words"] * piece["pairs"] // 2) * 2 for piece in pieces)
    ahead = 4 if unit_of(code) == _NIBBLES else 0
    layout = f"{list(weights.shape)} codes of {code.bits} bits, four outputs"
    return KernelPlan(
        template="dense/fully_connected_packed.c.j2",
        stem=f"{job.stem}_{code.name}_{depth}x{outputs}",
        context={
            "rows": job.rows,
            "depth": depth,
            "outputs": outputs,
            "pieces": pieces,
            "pairs": pairs,
            "y_step": outputs,
            "block_words": words.shape[1],
            "code": code.context(),
            "first": getattr(code, "first", 0) * unit_of(code),
            "nibbles": unit_of(code) == _NIBBLES,
            "widen": widen.context if widen else None,
            **ending.context,
            **job.context,
        },
        constants=(
            # The loop over codes of 4 bits reads one block ahead.
            Constant("weights", np.append(words.reshape(-1), np.zeros(ahead, np.uint32)), layout),
            *code.constants(),
            ending.constant(),
            *(widen.constants if widen else ()),
        ),
        scratch_bytes=4 * pairs * len(pieces) + code.table_bytes + 2 * ahead,
        headers=(*_headers(code), *job.headers, *(("tinygen_codes.h", "tinygen_widen.h") if widen else ())),
        cycles=job.rows * (2.0 * depth * len(pieces) + words.shape[0] * (_cost(code) * 8 * pairs + 8)),
    )


def _headers(code: Code) -> tuple[str, ...]:
    return (coded_weights.HEADER, *(("tinygen_nibbles.h",) if unit_of(code) == _NIBBLES else ()))


def _cost(code: Code) -> float:
    return _BOOK if isinstance(code, BookCode) else sum(_PIECE[bits] for bits, _ in _pieces(code))


def _pieces(code: GridCode) -> list[tuple[int, int]]:
    """(bits, lowest bit) of pieces of the codes, each with loops of its own; half a word holds 16 / bits of them.

    3 and 5 bits leave one bit of 16 unused, and need no second loop.
    """
    return [(code.bits, 0)] if code.bits <= _MOST_BITS else code.pieces()


def _packed(code: Code, weights: np.ndarray) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Template values of each piece of the codes for the loops, and uint32 words [blocks of four outputs, words]."""
    outputs, depth = weights.shape
    codes = np.zeros((-(-outputs // 4) * 4, -(-depth // 32) * 32), np.uint32)
    codes[:outputs, :depth] = code.codes(weights)
    # Pairs of taps 0 and 2, then 1 and 3 of each four.
    lanes = codes.reshape(len(codes), -1, 4)[:, :, [0, 2, 1, 3]].reshape(len(codes), -1, 2)
    if isinstance(code, BookCode):
        shift, fields = code.bits, [(code.bits, 2 * code.bits, 1, lanes)]
    else:
        shift, fields = 16, []
        for bits, at in _pieces(code):
            fields.append((bits, bits, code.step << at, lanes >> at & ((1 << bits) - 1)))
    pieces: list[dict[str, Any]] = []
    blocks, begin = [], 0
    for bits, apart, factor, field in fields:
        each = 16 // bits
        count = -(-2 * -(-depth // 4) // each)  # the last four taps are two pairs, however many there are
        padded = np.zeros((len(codes), count * each, 2), np.uint32)
        kept = min(field.shape[1], count * each)
        padded[:, :kept] = field[:, :kept]
        pairs = (padded[..., 0] | padded[..., 1] << shift).reshape(len(codes), count, each)
        words = np.bitwise_or.reduce(pairs << (np.arange(each, dtype=np.uint32) * apart), axis=-1)
        blocks.append(words.reshape(-1, 4, count).transpose(0, 2, 1).reshape(-1, 4 * count))
        pieces.append({"bits": bits, "words": count, "pairs": each, "factor": factor, "at": begin})
        begin += 4 * count
    return pieces, np.concatenate(blocks, axis=1).astype(np.uint32)
