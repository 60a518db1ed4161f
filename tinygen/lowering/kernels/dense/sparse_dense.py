"""Shared by the kernels of sparse dense layers: int8 weights, sums over activations as stored, an epilogue."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.encodings import Affine, Binary, Levels
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.window import Axis
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.dense import sparse_rows
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_stem
from tinygen.lowering.kernels.support.epilogues.integer_layer import integer_layer
from tinygen.lowering.kernels.support.epilogues.requantize import Epilogue
from tinygen.lowering.plan import Constant, KernelPlan

_LARGEST = 2**31 - 1
_EXPANDED = {"bits": 8.0, "widened": 1.5, "copied": 4.0, "window": 1.5}
"""Cycles per activation for making it ready."""


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """A layer prepared for the kernels.

    Attributes:
        weights: int8 [O, I].
        epilogue: of sums of weights times `codes`, and of twice these where `context` says doubled.
        context: template values of input and output.
        stem: of the C function.
        rows: of the input.
    """

    weights: np.ndarray
    epilogue: Epilogue
    context: dict[str, Any]
    stem: str
    rows: int

    @property
    def outputs(self) -> int:
        return int(self.weights.shape[0])

    @property
    def depth(self) -> int:
        return int(self.weights.shape[1])

    def counts(self, counts: np.ndarray, of: str) -> Constant:
        """The counts of the rows, in the smallest type."""
        return Constant("counts", sparse_rows.smallest_unsigned(counts), f"[{len(counts)}], {of}")

    def with_epilogue(self, ending: Epilogue) -> SparseLayer:
        return replace(self, epilogue=ending)

    def widened(self, padding: int = 0) -> SparseLayer:
        """The layer with activations that are int16 in scratch, and zeros behind them."""
        kind = {"int8_t": "widened", "uint8_t": "copied"}.get(self.context["input_type"], "bits")
        return self._expanded({"kind": kind, "type": "int16_t", "padding": padding})

    def _expanded(self, expanded: dict[str, Any]) -> SparseLayer:
        return replace(
            self, context={**self.context, "expanded": expanded, "row": "codes", "code_type": expanded["type"]}
        )

    def plan(
        self,
        template: str,
        form: str,
        *,
        constants: tuple[Constant, ...],
        headers: tuple[str, ...],
        cycles: float,
        scratch_bytes: int = 0,
        **context: Any,
    ) -> KernelPlan:
        """The plan of a kernel.

        Args:
            form: what the kernel adds to the function's name.
            constants: beside the epilogue's.
            headers: beside those of the epilogue.
            cycles: per row of the input, without what makes its activations ready.
            scratch_bytes: beside the activations.
            context: more template values.
        """
        expanded = self.context["expanded"]
        if expanded:
            width = 2 if expanded["type"] == "int16_t" else 1
            scratch_bytes += width * (self.depth + expanded["padding"])
            cycles += _EXPANDED[expanded["kind"]] * self.depth
        return KernelPlan(
            template=template,
            stem=f"{self.stem}_{form}_{self.depth}x{self.outputs}",
            context={
                "rows": self.rows,
                "depth": self.depth,
                "outputs": self.outputs,
                **self.epilogue.context,
                **self.context,
                **context,
            },
            constants=(*constants, self.epilogue.constant()),
            scratch_bytes=scratch_bytes,
            headers=tuple(sorted({"tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h", *headers})),
            cycles=self.rows * cycles,
        )


def sparse_layer(node: Node, unit: int = 1) -> SparseLayer | None:
    """The layer of a FullyConnected, or of a convolution: a dense one for each pixel, of which
    the input is a window.

    Args:
        node: the layer; a convolution in one group.
        unit: the kernel's sums are this many times the products.

    Returns:
        None for layers that the kernels do not support: weights or activations that are not 8 bits wide, scales per
        kernel, an epilogue without an exact form, a window of packed bits, several images, a border without a code of
        zero.
    """
    if not node.input(1).is_constant or not node.input(0).shape:
        return None
    if isinstance(node.op, Conv2D) and not _has_windows(node, node.op):
        return None
    return _layer(node, unit)


def _has_windows(node: Node, op: Conv2D) -> bool:
    """Whether the windows of a convolution can be the rows of a dense layer."""
    if type(op) is not Conv2D or op.groups(node) > 1:
        return False
    if _is_pointwise(node):
        return True
    x = node.input(0)
    if x.shape[0] > 1:
        return False  # windows are found from the pixel's number in one image
    return not isinstance(x.encoding, Binary) and (_fill(x) is not None or not any(a.padded for a in _axes(node)))


def _axes(node: Node) -> tuple[Axis, Axis]:
    assert isinstance(node.op, Conv2D)
    return node.op.geometry(node)


def _is_pointwise(node: Node) -> bool:
    """Whether each pixel of a convolution's output has a window of one pixel, at the same place."""
    return all(axis.kernel == 1 and axis.stride == 1 and not axis.padded for axis in _axes(node))


def _fill(x: Tensor) -> int | None:
    """The code of 0, which windows have beyond the border; None where there is none."""
    if isinstance(x.encoding, Affine):
        return x.zero_point
    return None if isinstance(x.encoding, Levels) and x.encoding.signed else 0


def _reading(node: Node, depth: int) -> tuple[int, dict[str, Any]]:
    """How many rows the dense layer has, and how each is read."""
    x = node.input(0)
    if not isinstance(node.op, Conv2D) or _is_pointwise(node):
        pixels = depth // x.shape[-1] if x.packed_bits else 1
        return x.size // depth, _input(x, depth, pixels)
    rows, columns = _axes(node)
    kind = ctype(x.memory_dtype)
    window = {
        "kind": "window",
        "type": kind,
        "padding": 0,
        "rows": asdict(rows),
        "columns": asdict(columns),
        "channels": x.shape[-1],
        "fill": _fill(x),
        "padded": rows.padded or columns.padded,
    }
    return node.output.size // node.output.shape[-1], {
        "input_type": kind,
        "input_step": 0,
        "pixels": 1,
        "expanded": window,
        "row": "codes",
        "code_type": kind,
    }


def _layer(node: Node, unit: int) -> SparseLayer | None:
    x, weights = node.input(0), node.input(1)
    depth = weights.size // weights.shape[0]
    layer = None if depth % x.shape[-1] and x.packed_bits else integer_layer(node, unit)
    if layer is None:
        return None
    ending, flat = layer.epilogue, layer.weights.reshape(len(layer.weights), -1)
    doubled = isinstance(x.encoding, Levels) and x.encoding.signed
    if doubled:
        if 2 * x.integer.code_range[1] * int(np.abs(flat).sum(axis=1).max()) > _LARGEST:
            return None  # doubled sums, before the bias corrects them, exceed 32 bits
        # Integers are 2 * code - largest: the largest joins the bias.
        rows = ending.rows.copy()
        rows[:, 0] -= x.integer.code_range[1] * flat.sum(axis=1)
        ending = ending.with_rows(rows)
    output = {key: layer.context[key] for key in ("y_type", "packed_output", "y_step")}
    count, reading = _reading(node, depth)
    context = {**output, "doubled": doubled, **reading}
    return SparseLayer(flat.astype(np.int8), ending, context, _stem(node, layer.kinds), count)


def _stem(node: Node, codes_of: str) -> str:
    """Of the function's name: layers that read windows do it by their geometry."""
    if not isinstance(node.op, Conv2D):
        return f"fully_connected_{codes_of}"
    return f"conv_2d_{codes_of}" if _is_pointwise(node) else window_stem(f"conv_2d_{codes_of}", _axes(node))


def _input(x: Tensor, depth: int, pixels: int) -> dict[str, Any]:
    """How a row of the input is read: as it lies, but for packed bits, which become -1 and 1 in scratch."""
    kind, bits = ctype(x.memory_dtype), isinstance(x.encoding, Binary)
    return {
        "input_type": kind,
        "input_step": pixels * codes.pixel_elements(x) if bits else depth,
        "pixels": pixels,
        "expanded": {"kind": "bits", "type": "int8_t", "padding": 0} if bits else None,
        "row": "codes" if bits else "input",
        "code_type": "int8_t" if bits else kind,
    }
