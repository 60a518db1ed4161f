"""What the kernels of sparse dense layers share: int8 weights, sums over activations as they lie, an epilogue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen.ir.encodings import Binary, Levels
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.integer_fully_connected import IntegerFullyConnected
from tinygen.ir.tensor import Tensor
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support import codes, sparse_rows
from tinygen.lowering.kernels.support.integer_layer import integer_layer
from tinygen.lowering.kernels.support.requantize import Epilogue, epilogue
from tinygen.lowering.plan import Constant, KernelPlan

_PLAIN_UNIT = 1.9
"""The plain kernel for integer codes predicts cycles of a Cortex-M0+, the one for int8 about half of these."""
_LARGEST = 2**31 - 1
_EXPANDED = {"bits": 8.0, "widened": 1.5, "copied": 4.0}
"""Cycles per activation for making it ready."""


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """A layer as the kernels take it.

    Attributes:
        weights: int8 [O, I].
        epilogue: of sums of weights times `codes`, and of twice these where `context` says doubled.
        context: template values of input and output.
        stem: of the C function.
        rows: of the input.
        plain_unit: what the portable kernels' cycles are multiplied with, to stand beside those of the plain kernel.
    """

    weights: np.ndarray
    epilogue: Epilogue
    context: dict[str, Any]
    stem: str
    rows: int
    plain_unit: float = 1.0

    @property
    def outputs(self) -> int:
        return int(self.weights.shape[0])

    @property
    def depth(self) -> int:
        return int(self.weights.shape[1])

    def counts(self, counts: np.ndarray, of: str) -> Constant:
        """How much each row has, in the smallest type."""
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
        self, template: str, form: str, *, constants: tuple[Constant, ...], headers: tuple[str, ...], cycles: float,
        scratch_bytes: int = 0, **context: Any,
    ) -> KernelPlan:  # fmt: skip
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
                "rows": self.rows, "depth": self.depth, "outputs": self.outputs, **self.epilogue.context,
                **self.context, **context,
            },
            constants=(*constants, self.epilogue.constant()),
            scratch_bytes=scratch_bytes,
            headers=tuple(sorted({"tinygen_codes.h", "tinygen_math.h", "tinygen_simd.h", *headers})),
            cycles=self.rows * cycles,
        )  # fmt: skip


def sparse_layer(node: Node, unit: int = 1) -> SparseLayer | None:
    """The layer of a FullyConnected or IntegerFullyConnected.

    Args:
        node: the layer.
        unit: the kernel's sums are this many times the products.

    Returns:
        None where the kernels do not reach: weights or activations that are not 8 bits wide, scales per kernel, an
        epilogue without an exact form.
    """
    if not node.input(1).is_constant or not node.input(0).shape:
        return None
    return _int8_layer(node, unit) if isinstance(node.op, FullyConnected) else _integer_layer(node, unit)


def _int8_layer(node: Node, unit: int) -> SparseLayer | None:
    x, weights = node.input(0), node.input(1)
    if node.output.dtype != np.int8 or weights.zero_point:
        return None
    ending = epilogue(node, axis=0, unit=unit)
    if ending is None:
        return None
    outputs, depth = weights.shape
    context = {"y_type": "int8_t", "packed_output": False, "y_step": outputs, "doubled": False, **_input(x, depth, 1)}
    return SparseLayer(node.constant(1), ending, context, "fully_connected_s8", x.size // depth)


def _integer_layer(node: Node, unit: int) -> SparseLayer | None:
    op, x = node.op, node.input(0)
    assert isinstance(op, IntegerFullyConnected)
    depth, weights = node.input(1).shape[1], node.input(1)
    if depth % x.shape[-1]:
        return None
    layer = integer_layer(node, op.epilogue, unit)
    if layer is None:
        return None
    ending = layer.epilogue
    doubled = isinstance(x.encoding, Levels) and x.encoding.signed
    if doubled:
        if 2 * x.integer.code_range[1] * int(np.abs(layer.weights).sum(axis=1).max()) > _LARGEST:
            return None  # twice the sums, before the bias takes half of them away, are beyond 32 bits
        # Integers are 2 * code - largest: the largest joins the bias.
        rows = ending.rows.astype(np.int64)
        rows[:, 0] -= x.integer.code_range[1] * layer.weights.sum(axis=1)
        ending = Epilogue(ending.context, rows, ending.layout)
    output = {key: layer.context[key] for key in ("y_type", "packed_output", "y_step")}
    stem = f"fully_connected_{codes.kind_of(x.integer)}_{codes.kind_of(weights.integer)}"
    context = {**output, "doubled": doubled, **_input(x, depth, depth // x.shape[-1])}
    return SparseLayer(layer.weights.astype(np.int8), ending, context, stem, x.size // depth, _PLAIN_UNIT)


def _input(x: Tensor, depth: int, pixels: int) -> dict[str, Any]:
    """How a row of the input is read: as it lies, but for packed bits, which become -1 and 1 in scratch."""
    kind, bits = ctype(x.memory_dtype), isinstance(x.encoding, Binary)
    return {
        "input_type": kind, "input_step": pixels * codes.pixel_elements(x) if bits else depth, "pixels": pixels,
        "expanded": {"kind": "bits", "type": "int8_t", "padding": 0} if bits else None,
        "row": "codes" if bits else "input", "code_type": "int8_t" if bits else kind,
    }  # fmt: skip
