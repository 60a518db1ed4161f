"""Dense layers of 1 to 5 bits for cores without SIMD: one product for two outputs.

A word holds the codes of two outputs, 16 bits apart, for as many taps as 16 bits hold; shifted and masked it is an
operand. How many products are added up before the halves are separated, the layer's own weights and its largest
activation say, so that no half can overflow.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.conv.conv_2d_scalar import Job, job_of
from tinygen.lowering.kernels.support.activations.codes import pixel_elements
from tinygen.lowering.kernels.support.loops.scalar import Copy
from tinygen.lowering.kernels.support.weights.coded_weights import GridCode, find_code
from tinygen.lowering.plan import ON_ARMV6M, Constant, KernelPlan, kernel

_HEADER = "tinygen_outputs.h"
_HALF = 16
_LARGEST_SUM = 2**15 - 1
_MOST_BITS = 5
_BLOCK = 4
# Cycles of an ESP32-C3: a tap of four outputs, a word of two, separating halves, four outputs; a code that is added up.
_RV32 = (10.0, 4.5, 20.0, 100.0, 5.0)
# The same of a Cortex-M0+, whose copies take this much of what others take there.
_ARMV6M, _COPYING = (11.0, 4.0, 29.0, 250.0, 4.5), 0.65 * ON_ARMV6M


@kernel(FullyConnected, name="fully_connected_two_outputs", family="tinygen", isa="scalar")
def fully_connected_two_outputs(node: Node) -> KernelPlan | None:
    """Four outputs at a time, weights of less than 6 bits; activations whose integers are bytes or bits."""
    job = job_of(node, "fully_connected", on_grid=False)
    return None if job is None or job.copy.dtype != np.int8 else _plan(job)


def _plan(job: Job | None) -> KernelPlan | None:
    code = find_code(job.weights) if job else None
    if job is None or not isinstance(code, GridCode) or code.bits > _MOST_BITS:
        return None
    outputs, depth = job.weights.reshape(len(job.weights), -1).shape
    rows = job.node.input(0).size // depth
    codes = np.zeros((-(-outputs // _BLOCK) * _BLOCK, depth), np.uint8)
    codes[:outputs] = code.codes(job.weights.reshape(outputs, depth))
    each = _HALF // code.bits
    together = _together(codes, each, _largest(job.node.input(0), job.copy))
    if together == 0:
        return None
    packed = _packed(codes, code.bits)
    words, rest = divmod(depth, each)
    turns = -(-words // together)
    copied = job.copy.cost * depth if job.copy.changes else 0.0

    def cycles(rates: tuple[float, ...], copying: float) -> float:
        tap, word, fold, outputs_, summed = rates
        block = words * (each * tap + 2 * word) + rest * tap + turns * fold + outputs_
        return rows * (len(packed) * block + (summed * depth if code.first else 0.0) + copying * copied)

    return KernelPlan(
        template="dense/fully_connected_two_outputs.c.j2",
        stem=f"{job.stem.removesuffix('_scalar')}_two_outputs_{code.name}_{depth}x{outputs}",
        context={
            "rows": rows,
            "depth": depth,
            "outputs": outputs,
            "words": words,
            "rest": rest,
            "together": together,
            "bits": code.bits,
            "step": code.step,
            "first": code.first,
            "block_words": packed.shape[1],
            "copies": job.copy.changes,
            **_steps(job.node.input(0), job.copy, depth),
            **job.copy.context,
            **job.ending.context,
            **job.context,
        },
        constants=(
            Constant(
                "weights", packed.reshape(-1), f"{[outputs, depth]} codes of {code.bits} bits, two outputs in a word"
            ),
            job.ending.constant(),
            *((job.copy.values,) if job.copy.values else ()),
        ),
        scratch_bytes=depth if job.copy.changes else 0,
        headers=(_HEADER, *job.headers),
        cycles=cycles(_RV32, 1.0),
        armv6m_cycles=cycles(_ARMV6M, _COPYING),
    )


def _largest(x: Tensor, copy: Copy) -> int:
    """The largest magnitude of what is multiplied."""
    if copy.values:
        return int(np.abs(copy.values.data.astype(np.int64)).max())
    if copy.bits:
        return 1
    low, high = x.integer.code_range
    return copy.levels or (2**7 if copy.flips else max(abs(low), abs(high)))


def _steps(x: Tensor, copy: Copy, depth: int) -> dict[str, int]:
    """Template values: elements of a row; of bits, whose pixels begin with a word, also pixels and their channels."""
    if not copy.bits:
        return {"row_step": depth, "sign_pixels": 0}
    pixels = depth // x.shape[-1]
    return {"row_step": pixels * pixel_elements(x), "sign_pixels": pixels, "sign_channels": x.shape[-1]}


def _together(codes: np.ndarray, each: int, largest: int) -> int:
    """Words whose products can be added up in 16 bits; 0 where those of a single word cannot."""
    outputs, depth = codes.shape
    sums = np.pad(codes.astype(np.int64), ((0, 0), (0, -depth % each))).reshape(outputs, -1, each).sum(axis=2)
    words = sums.shape[1]
    fitting = 0
    while fitting < words:
        padded = np.pad(sums, ((0, 0), (0, -words % (fitting + 1))))
        if padded.reshape(outputs, -1, fitting + 1).sum(axis=2).max() * largest > _LARGEST_SUM:
            break
        fitting += 1
    return fitting


def _packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """uint32 words [blocks of four outputs, words]."""
    each = _HALF // bits
    outputs, depth = codes.shape
    taps = np.pad(codes.astype(np.uint32), ((0, 0), (0, -depth % each))).reshape(outputs, -1, each)
    halves = np.bitwise_or.reduce(taps << (np.arange(each, dtype=np.uint32) * bits), axis=2)
    words = halves[0::2] | halves[1::2] << _HALF
    return words.reshape(outputs // _BLOCK, 2, -1).transpose(0, 2, 1).reshape(outputs // _BLOCK, -1).astype(np.uint32)
