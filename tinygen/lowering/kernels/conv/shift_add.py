"""Kernels of layers with few different weights: no multiplication, sums come from tables of shifted additions.

A few consecutive taps have only a limited number of combinations of weights: the sums of their activations for all of
them are computed once per pixel, by shifts and additions, and used by every filter ("the method of four Russians":
Arlazarov et al. 1970). A filter is then a row of packed indices, each of which costs a load and an addition. Two pixels
at once: in the halves of a word where their sums fit for a while, else in two words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.ir.encodings import Binary
from tinygen.ir.ops import integer_mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.conv.stream_order import signed_digits
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.epilogues.integer_layer import IntegerLayer, integer_layer
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_HEADERS = ("tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h", "tinygen_stream.h")
_MOST_ENTRIES = 32
_TABLE_BYTES = 4096
_HALF = 2**15 - 1
_FEWEST_TAPS = 12
"""In a word's halves between two additions to 32-bit sums; where fewer fit, each pixel has a word of its own."""

# Cycles on an ESP32-C3 and, about, a Cortex-M0+, for two pixels: one entry, one index, one addition of a table's sums
# to a filter's, one tap that is read for each pixel, one output of each.
_ENTRY, _INDEX, _SUM, _TAP, _OUTPUT = 3.5, 6.5, 20.0, 20.0, 30.0
_WIDE_INDEX = 3.0
"""More, for a second word."""
_SCALED = 16.0
"""For the scale of a kernel."""


@dataclass(frozen=True)
class _Tables:
    """The encoding of weights as indices.

    Attributes:
        values: the different weights.
        group: taps of one index.
        lanes: words of an entry: 1 with two pixels in its halves, or 2.
        chunk: taps whose tables are made at once, whole words of indices.
        chunks: number of chunks in a window.
    """

    values: tuple[int, ...]
    group: int
    lanes: int
    chunk: int
    chunks: int

    @property
    def entries(self) -> int:
        return int(len(self.values) ** self.group)

    @property
    def bits(self) -> int:
        """Of an index."""
        return (self.entries - 1).bit_length()

    @property
    def fields(self) -> int:
        """Indices in a word."""
        return 32 // self.bits

    @property
    def groups(self) -> int:
        """Tables of a chunk."""
        return self.chunk // self.group

    @property
    def words(self) -> int:
        """Of a filter, in a chunk."""
        return self.groups // self.fields


@kernel(Conv2D, of="codes", name="conv_2d_tables", family="tinygen")
def conv_2d_tables(node: Node) -> KernelPlan | None:
    """Up to 32 different weights; for any core."""
    return _conv_2d(node)


@kernel(FullyConnected, of="codes", name="fully_connected_tables", family="tinygen")
def fully_connected_tables(node: Node) -> KernelPlan | None:
    """Up to 32 different weights; for any core."""
    return _fully_connected(node)


def _layer(node: Node, *, scaled: bool = False) -> IntegerLayer | None:
    """The layer, if each of its activations is a byte: these kernels do not read packed bits."""
    if isinstance(node.input(0).encoding, Binary):
        return None
    return integer_layer(node, scaled=scaled)


def _conv_2d(node: Node) -> KernelPlan | None:
    op = node.op
    assert isinstance(op, Conv2D)
    layer = _layer(node) if op.groups(node) == 1 else None
    tables = _tables(layer, node) if layer else None
    if layer is None or tables is None:
        return None
    geometry = op.geometry(node)
    stem = window_stem(f"conv_2d_tables_{codes.kind_of(node.input(1).integer)}", geometry)
    return _plan(node, layer, tables, stem, window_context(node, geometry))


def _fully_connected(node: Node) -> KernelPlan | None:
    """Each row of the input is a pixel."""
    op = node.op
    assert isinstance(op, FullyConnected)
    layer = _layer(node)
    tables = _tables(layer, node) if layer else None
    if layer is None or tables is None:
        return None
    outputs, depth = node.input(1).shape
    rows = node.input(0).size // depth
    one = dict.fromkeys(("batch", "k_h", "k_w", "stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
    window = {
        **one,
        "in_h": rows,
        "in_w": 1,
        "in_c": depth,
        "out_h": rows,
        "out_w": 1,
        "out_c": outputs,
        "pad_h": 0,
        "pad_w": 0,
        "padded": False,
    }
    stem = f"fully_connected_tables_{codes.kind_of(node.input(1).integer)}"
    return _plan(node, layer, tables, stem, window)


def _tables(layer: IntegerLayer, node: Node) -> _Tables | None:
    values = tuple(int(v) for v in np.unique(layer.weights))
    values = values if len(values) > 1 else (*values, values[0] + 1)
    if len(values) > _MOST_ENTRIES:
        return None
    filters, taps = len(layer.weights), layer.weights[0].size
    low, high = node.input(0).integer.code_range
    largest = max(abs(v) for v in values) * max(abs(low), abs(high))
    fits = _HALF // max(largest, 1)
    groups = [group for group in range(1, 6) if len(values) ** group <= _MOST_ENTRIES]
    found = []
    if fits >= min(_FEWEST_TAPS, taps):
        found = [_chunked(values, group, 1, taps, fits) for group in groups]
        found = [tables for tables in found if min(tables.chunk, taps) <= fits]
    if not found:
        found = [_chunked(values, group, 2, taps, taps) for group in groups]
    return min(found, key=lambda tables: _cycles_per_pair(tables, filters, taps))


def _chunked(values: tuple[int, ...], group: int, lanes: int, taps: int, most: int) -> _Tables:
    """Chunks of about equal size, at most so many taps and about `_TABLE_BYTES` of tables."""
    one = _Tables(values, group, lanes, group, 1)
    word = one.fields * group
    words = max(min(most // word, _TABLE_BYTES // (4 * lanes * one.entries * one.fields)), 1)
    chunks = -(-taps // (words * word))
    share = -(-taps // chunks)
    return _Tables(values, group, lanes, -(-share // word) * word, chunks)


def _cycles_per_pair(tables: _Tables, filters: int, taps: int) -> float:
    """Predicted, for two pixels without their outputs."""
    indices = tables.groups * (_INDEX + (_WIDE_INDEX if tables.lanes > 1 else 0))
    made = tables.groups * tables.entries * _ENTRY * tables.lanes
    return taps * _TAP * tables.lanes + tables.chunks * (made + filters * (indices + _SUM))


def _packed(tables: _Tables, weights: np.ndarray) -> np.ndarray:
    """uint32 [chunks, filters, words], the first group of a word in its lowest bits.

    Args:
        weights: [filters, taps].
    """
    filters, taps = weights.shape
    padded = np.zeros((filters, tables.chunks * tables.chunk), np.int64)
    padded[:, :taps] = np.searchsorted(np.array(tables.values), weights)
    digits = padded.reshape(filters, tables.chunks, tables.words, tables.fields, tables.group)
    indices = (digits * len(tables.values) ** np.arange(tables.group)).sum(axis=4)
    packed = (indices << (tables.bits * np.arange(tables.fields))).sum(axis=3)
    return packed.transpose(1, 0, 2).astype(np.uint32)


@dataclass(frozen=True)
class _Kernels:
    """The encoding of a filter's kernels, one per input channel, as indices.

    Attributes:
        values: the different weights.
        group: taps of one index.
        taps: of a kernel.
    """

    values: tuple[int, ...]
    group: int
    taps: int

    @property
    def entries(self) -> int:
        return int(len(self.values) ** self.group)

    @property
    def bits(self) -> int:
        return (self.entries - 1).bit_length()

    @property
    def fields(self) -> int:
        """Indices of a kernel."""
        return -(-self.taps // self.group)

    @property
    def slots(self) -> int:
        """Taps with those that fill the last index."""
        return self.fields * self.group

    @property
    def dtype(self) -> np.dtype:
        """The type that holds all indices of a kernel."""
        return np.dtype(np.uint16 if self.bits * self.fields <= 16 else np.uint32)

    def cycles(self, filters: int) -> float:
        """Per kernel and two pixels, tables included."""
        return self.fields * (_INDEX + self.entries * _ENTRY / filters) + _SCALED


@kernel(Conv2D, of="codes", name="conv_2d_kernel_scales", family="tinygen")
def conv_2d_kernel_scales(node: Node) -> KernelPlan | None:
    """APSQ (Guerra 2024, section 6.3): additions within a kernel, one multiplication by its scale behind them."""
    op = node.op
    assert isinstance(op, Conv2D)
    layer = _layer(node, scaled=True) if op.groups(node) == 1 else None
    if layer is None:
        return None
    filters, rows, columns, _ = layer.weights.shape
    values = tuple(int(v) for v in np.unique(layer.weights))
    values = values if len(values) > 1 else (*values, values[0] + 1)
    low, high = node.input(0).integer.code_range
    if rows * columns * max(map(abs, values)) * max(abs(low), abs(high)) > _HALF:
        return None
    found = [_Kernels(values, group, rows * columns) for group in range(1, 6)]
    found = [one for one in found if one.entries <= _MOST_ENTRIES and one.bits * one.fields <= 32]
    return _scaled_plan(node, layer, min(found, key=lambda one: one.cycles(filters))) if found else None


def _scaled_plan(node: Node, layer: IntegerLayer, kernels: _Kernels) -> KernelPlan:
    op = node.op
    assert isinstance(op, Conv2D)
    scales = integer_mac.kernel_scales(node)
    assert scales is not None
    filters, depth = scales.shape
    most = max(_TABLE_BYTES // (4 * kernels.entries * kernels.fields), 1)
    chunks = -(-depth // most)
    share = -(-depth // chunks)
    packed = _packed_kernels(kernels, layer.weights, chunks, share)
    geometry = op.geometry(node)
    pixels = geometry[0].output * geometry[1].output
    pairs = node.output.shape[0] * -(-pixels // 2)
    chunk = share * kernels.slots
    taps = depth * kernels.taps
    words = chunks * chunk + share * kernels.fields * kernels.entries + 2 * filters
    padded_scales = np.zeros((filters, chunks * share), np.uint16)
    padded_scales[:, :depth] = scales
    arranged = padded_scales.reshape(filters, chunks, share).transpose(1, 0, 2)
    return KernelPlan(
        template="conv/shift_add.c.j2",
        stem=window_stem(f"conv_2d_kernel_scales_{codes.kind_of(node.input(1).integer)}", geometry),
        context={
            **window_context(node, geometry),
            "input_type": ctype(node.input(0).memory_dtype),
            "activations": _read(node),
            "pixels": pixels,
            "taps": taps,
            "scaled": True,
            "index_type": ctype(kernels.dtype),
            "lanes": 1,
            "slots": kernels.slots,
            "kernels": share,
            "groups": share * kernels.fields,
            "index_words": share,
            "chunk": chunk,
            "chunks": chunks,
            **_table_context(kernels),
            **layer.context,
            **layer.epilogue.context,
        },
        constants=(
            Constant("weights", packed.reshape(-1), f"{list(packed.shape)} chunks, filters, kernels"),
            Constant("scales", arranged.reshape(-1), "as the weights"),
            layer.epilogue.constant(),
        ),
        scratch_bytes=4 * words,
        headers=_HEADERS,
        cycles=pairs * (taps * _TAP + filters * (depth * kernels.cycles(filters) + 2 * _OUTPUT)),
    )


def _packed_kernels(kernels: _Kernels, weights: np.ndarray, chunks: int, share: int) -> np.ndarray:
    """[chunks, filters, kernels], the first group of a kernel in its lowest bits.

    Args:
        weights: [filters, rows, columns, channels].
    """
    filters, depth = weights.shape[0], weights.shape[3]
    numbers = np.searchsorted(np.array(kernels.values), weights.reshape(filters, -1, depth).transpose(0, 2, 1))
    padded = np.zeros((filters, chunks * share, kernels.slots), np.int64)
    padded[:, :depth, : kernels.taps] = numbers
    digits = padded.reshape(filters, chunks, share, kernels.fields, kernels.group)
    indices = (digits * len(kernels.values) ** np.arange(kernels.group)).sum(axis=4)
    packed = (indices << (kernels.bits * np.arange(kernels.fields))).sum(axis=3)
    return packed.transpose(1, 0, 2).astype(kernels.dtype)


def _table_context(tables: _Tables | _Kernels) -> dict[str, Any]:
    """How templates make an entry, and find it."""
    return {
        "group": tables.group,
        "entries": tables.entries,
        "bits": tables.bits,
        "fields": tables.fields,
        "values": len(tables.values),
        "first": product("x_tap", tables.values[0]) if tables.values[0] else None,
        "differences": [product("x_tap", value - tables.values[0]) for value in tables.values],
    }


def _plan(node: Node, layer: IntegerLayer, tables: _Tables, stem: str, window: dict[str, Any]) -> KernelPlan | None:
    filters, taps = len(layer.weights), layer.weights[0].size
    packed = _packed(tables, layer.weights.reshape(filters, -1))
    layout = f"{list(packed.shape)} chunks, filters, words of {tables.fields} indices for {tables.group} taps each"
    pixels = window["out_h"] * window["out_w"]
    pairs = window["batch"] * -(-pixels // 2)
    words = tables.lanes * (tables.chunks * tables.chunk + tables.groups * tables.entries) + 2 * filters
    return KernelPlan(
        template="conv/shift_add.c.j2",
        stem=stem,
        context={
            **window,
            "input_type": ctype(node.input(0).memory_dtype),
            "activations": _read(node),
            "pixels": pixels,
            "taps": taps,
            "scaled": False,
            "index_type": "uint32_t",
            "lanes": tables.lanes,
            "groups": tables.groups,
            "index_words": tables.words,
            "chunk": tables.chunk,
            "chunks": tables.chunks,
            **_table_context(tables),
            **layer.context,
            **layer.epilogue.context,
        },
        constants=(Constant("weights", packed.reshape(-1), layout), layer.epilogue.constant()),
        scratch_bytes=4 * words,
        headers=_HEADERS,
        cycles=pairs * (_cycles_per_pair(tables, filters, taps) + 2 * filters * _OUTPUT),
    )


def _read(node: Node) -> dict[str, Any]:
    """How support/codes.j2 reads an activation: without the zero point, which the biases and the padding contain."""
    context = codes.activation_context(node.input(0))
    assert context is not None
    return context if context["kind"] == "signed_levels" else context | {"kind": "plain", "offset": 0}


def product(name: str, factor: int) -> str:
    """A C expression for factor * name, modulo 2**32, of shifts, additions and subtractions; name is a uint32_t."""
    terms = [
        (int(plane) < 0, f"({name} << {shift})" if shift else name)
        for shift, plane in enumerate(signed_digits(np.array(factor)))
        if plane
    ]
    terms.sort()  # what is added comes first
    text = "0U" if not terms or terms[0][0] else ""
    for minus, term in terms:
        text += f" {'-' if minus else '+'} {term}" if text else term
    return text
