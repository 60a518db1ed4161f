"""Dense layers of few bits: four products and their sum in one multiplication of 32 bits.

A word of four activations as they lie, a byte each, times a word of four weights in reversed order has their dot
product in its top byte: higher bits overflow and are lost (ULPPACK: Won et al., MLSys 2022). Such products are added up
as long as the layer's own weights and the largest activation keep a byte from overflowing. Weights lie by bits: the
words of four taps are shifted over each other, one mask takes each apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.support.activations.codes import kind_of
from tinygen.lowering.kernels.support.activations.packed_codes import Codes, activation_codes
from tinygen.lowering.kernels.support.activations.packed_layouts import Grid, weight_grid
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h")
_BYTE = 255
_TAPS = 4
_FILTERS = 2
_MOST_WORDS = 4
"""Of weights that stand in the inner loop one by one."""


@dataclass(frozen=True, eq=False)
class _Work:
    """A layer prepared for these kernels.

    Attributes:
        bits: of a weight, 1, 2 or 4.
        products: added up before the top byte is taken.
        words: of weights in each sum, 1 where there are several sums in a word.
        sums: per output.
    """

    layer: IntegerLayer
    codes: Codes
    grid: Grid
    bits: int
    products: int
    words: int
    sums: int

    @property
    def each(self) -> int:
        """Operands in a word of weights."""
        return 8 // self.bits

    @property
    def operands(self) -> int:
        """Of an output, with those that fill up the last sum."""
        return self.sums * self.words * self.each


def _work(node: Node) -> _Work | None:
    op = node.op
    assert isinstance(op, FullyConnected)
    codes = activation_codes(node.input(0), padded=False)
    layer = integer_layer(node)
    if layer is None or codes is None or codes.bits or codes.moved or codes.table:
        return None
    layer = layer.by_lengths
    grid = weight_grid(layer.weights[:, None, None, :])
    bits = 0 if grid is None else 1 << (grid.largest.bit_length() - 1).bit_length()
    if grid is None or bits > 4 or _TAPS * codes.largest > _BYTE:
        return None
    each = 8 // bits
    quads = -(-layer.weights.shape[1] // _TAPS)
    fitting = [n for n in range(1, _MOST_WORDS + 1) if _fits(grid.codes, codes.largest, n * each)]
    found = [_Work(layer, codes, grid, bits, n * each, n, -(-quads // (n * each))) for n in fitting]
    if found:
        return min(found, key=lambda work: (work.operands, work.sums))
    few = [products for products in (4, 2, 1) if products < each and _fits(grid.codes, codes.largest, products)]
    return _Work(layer, codes, grid, bits, few[0], 1, -(-quads // each)) if few else None


def _fits(codes: np.ndarray, largest: int, products: int) -> bool:
    """Whether no byte of a sum of so many products can overflow.

    Args:
        codes: of weights [O, 1, 1, I].
        largest: code of the activations.
    """
    taps = products * _TAPS
    flat = codes.reshape(len(codes), -1)
    padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % taps)))
    return int(padded.reshape(len(flat), -1, taps).sum(axis=2).max(initial=0)) * largest <= _BYTE


@kernel(FullyConnected, of="codes", name="fully_connected_packed_bytes", family="tinygen", isa="dsp")
def fully_connected_packed_bytes(node: Node) -> Sequence[KernelPlan]:
    """Few bits: four products in one multiplication."""
    work = _work(node)
    return [_plan(node, work)] if work else []


def _plan(node: Node, work: _Work) -> KernelPlan:
    outputs, depth = node.input(1).shape
    rows = node.input(0).size // depth
    packed = _packed(work)
    ending = work.layer.epilogue
    biases = ending.rows.copy()
    biases[:, 0] += work.codes.offset * work.layer.weights.sum(axis=1)
    ending = ending.with_rows(biases)
    pairs = -(-outputs // _FILTERS)
    # Loads, masks and products of two filters; top bytes.
    each = work.operands * 3.0 + 6 * work.operands / work.products + 12 + 20
    return KernelPlan(
        template="dense/packed_dense.c.j2",
        stem=f"fully_connected_{kind_of(node.input(0).integer)}_{kind_of(node.input(1).integer)}_bytes_{depth}x{outputs}",
        context={
            "rows": rows,
            "outputs": outputs,
            "depth": depth,
            "words": work.words,
            "sums": work.sums,
            "each": work.each,
            "products": work.products,
            "bits": work.bits,
            "mask": (2**work.bits - 1) * 0x01010101,
            "operands": work.operands,
            "factor": work.grid.step * work.codes.scale,
            "first": work.grid.first * work.codes.scale,
            **ending.context,
            **{key: work.layer.context[key] for key in ("y_type", "packed_output", "y_bits", "y_step")},
        },
        constants=(
            Constant("weights", packed.reshape(-1), f"{work.each} times four taps in a word, two filters in turn"),
            ending.constant(),
        ),
        scratch_bytes=_TAPS * work.operands,
        headers=_HEADERS,
        cycles=rows * (pairs * each + 2.0 * work.operands),
    )


def _packed(work: _Work) -> np.ndarray:
    """Words [pairs of filters, words of a filter, 2]; the last tap of four is the lowest byte."""
    codes = work.grid.codes.reshape(len(work.grid.codes), -1)
    pairs = -(-len(codes) // _FILTERS)
    padded = np.zeros((pairs * _FILTERS, work.operands * _TAPS), np.uint64)
    padded[: len(codes), : codes.shape[1]] = codes
    octets = padded.reshape(pairs, _FILTERS, -1, work.each, _TAPS)[..., ::-1]
    operands = (octets << np.arange(0, 32, 8, dtype=np.uint64)).sum(axis=4, dtype=np.uint64)
    shifts = work.bits * np.arange(work.each, dtype=np.uint64)
    words = (operands << shifts.astype(np.uint64)).sum(axis=3, dtype=np.uint64)
    return words.transpose(0, 2, 1).astype(np.uint32)
