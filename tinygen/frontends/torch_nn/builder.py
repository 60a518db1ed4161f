"""Collects tensors and operators of the graph, and ends pending values."""

from __future__ import annotations

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Quantizer, fold, fold_real
from tinygen.frontends.torch_nn.values import Coded, Pending, Pool
from tinygen.ir.encodings import Affine, Encoding, IntegerEncoding
from tinygen.ir.epilogue import Epilogue, Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.integer_pool_2d import IntegerMaxPool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Shape, Tensor


class Builder:
    """A graph in the making."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.inputs: list[str] = []

    def add_input(self, name: str, shape: Shape, encoding: Encoding) -> Coded:
        tensor = self._add(Tensor(self._unique(name), shape, encoding))
        self.inputs.append(tensor.name)
        return Coded(tensor)

    def constant(self, name: str, codes: np.ndarray, encoding: Encoding) -> str:
        codes = np.ascontiguousarray(codes, encoding.dtype)
        return self._add(Tensor(self._unique(name), codes.shape, encoding, codes)).name

    def quantize(self, pending: Pending, quantizer: Quantizer, encoding: IntegerEncoding, name: str) -> Coded:
        """Ends a pending value: its operator with the epilogue that gives the quantizer's codes, then its pools."""
        low, _ = encoding.code_range
        folded = fold(pending.chain, quantizer, pending.reach, from_zero=low == 0)
        epilogue = _shifted(folded.epilogue, folded.base, pending.where)
        return self._end(pending, epilogue, encoding, name)

    def finish(self, pending: Pending, name: str) -> Coded:
        """Ends a pending value that is a model output: int32 codes of real values."""
        epilogue, scale = fold_real(pending.chain, pending.reach)
        return self._end(pending, epilogue, Affine("int32", (scale,), (0,)), name)

    def exact(self, pending: Pending, name: str) -> Coded | None:
        """Codes of the accumulators themselves in 16 bits, where one positive scale serves all and they fit."""
        gain = pending.chain.gain[0]
        plain = all(g == gain > 0 for g in pending.chain.gain) and not any(pending.chain.offset)
        bounded = any(abs(b) != float("inf") for b in (*pending.chain.low, *pending.chain.high))
        fits = int(pending.reach.low.min()) >= -(2**15) and int(pending.reach.high.max()) < 2**15
        if not plain or bounded or not fits or pending.pools:
            return None
        same = Rescale((1,), (0,), (0,), -(2**15), 2**15 - 1)
        return self._end(pending, same, Affine("int16", (float(np.float32(float(gain))),), (0,)), name)

    def _end(self, pending: Pending, epilogue: Epilogue | None, encoding: Encoding, name: str) -> Coded:
        result = name if not pending.pools else f"{name}.unpooled"
        tensor = self._write(
            pending.op, pending.where, pending.inputs, pending.shape, encoding, result,
            **pending.fields, **({} if pending.op is Requantize and epilogue is None else {"epilogue": epilogue}),
        )  # fmt: skip
        for index, pool in enumerate(pending.pools):
            last = index == len(pending.pools) - 1
            tensor = self._pool(tensor, pool, name if last else f"{name}.pool{index}", pending)
        return Coded(tensor, pending.flat)

    def _pool(self, x: Tensor, pool: Pool, name: str, pending: Pending) -> Tensor:
        """The largest code is that of the largest value where both rise, or both fall, with the accumulator."""
        gains = np.array([gain >= 0 for gain in pending.chain.gain])
        # What follows the pool falls where the chain as a whole and its part before the pool disagree.
        sign = np.where(gains == np.array(pool.rising), 1, -1)
        return self.max_pool(x, pool, (1,) if np.all(sign == 1) else tuple(sign.tolist()), name)

    def max_pool(self, x: Tensor, pool: Pool, sign: tuple[int, ...], name: str) -> Tensor:
        """A pool of codes; where the sign is -1, the smallest."""
        pad = pool.padding
        return self._write(
            IntegerMaxPool2D, pool.name, (x.name,), None, x.encoding, name, padding=Padding.VALID, kernel=pool.kernel,
            stride=pool.stride, row_padding=(pad[0], pad[0]), column_padding=(pad[1], pad[1]), sign=sign,
        )  # fmt: skip

    def _write(
        self, kind: type[Op], where: str, inputs: tuple[str, ...], shape: Shape | None, encoding: Encoding, name: str,
        **fields: object,
    ) -> Tensor:  # fmt: skip
        output = self._unique(name)
        op = kind(name=self._unique_op(where), inputs=inputs, outputs=(output,), **fields)
        if shape is None:
            draft = Graph(self.name, {**self.tensors, output: Tensor(output, (1,), encoding)}, (op,), (), ())
            shape = op.infer_shapes(draft.node(op))[0]
        self.ops.append(op)
        return self._add(Tensor(output, shape, encoding))

    def graph(self, output: Coded) -> Graph:
        """The finished graph.

        Raises:
            ModelError, UnsupportedError: a layer is outside what its operator does.
        """
        graph = Graph(self.name, self.tensors, tuple(self.ops), tuple(self.inputs), (output.tensor.name,))
        graph.validate()
        return graph

    def _add(self, tensor: Tensor) -> Tensor:
        self.tensors[tensor.name] = tensor
        return tensor

    def _unique(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self.tensors:
            candidate, number = f"{name}_{number}", number + 1
        return candidate

    def _unique_op(self, where: str) -> str:
        base = where.replace(".", "_")
        taken = {op.name for op in self.ops}
        candidate, number = base, 2
        while candidate in taken:
            candidate, number = f"{base}_{number}", number + 1
        return candidate


def _shifted(epilogue: Epilogue, base: int, where: str) -> Epilogue:
    """The epilogue with `base` added to its codes."""
    if base == 0:
        return epilogue
    if isinstance(epilogue, Threshold):
        raise UnsupportedError(
            f"{len(epilogue.thresholds[0])} uneven steps for codes from {base}", where=where,
            fix="Use an even quantizer there.",
        )  # fmt: skip
    offset = tuple(o + (base << s) for o, s in _pairs(epilogue))
    shift = tuple(s for _, s in _pairs(epilogue))
    return Rescale(epilogue.multiplier, offset, shift, epilogue.low + base, epilogue.high + base)


def _pairs(epilogue: Rescale) -> list[tuple[int, int]]:
    count = max(len(epilogue.offset), len(epilogue.shift))
    offsets = epilogue.offset * (count if len(epilogue.offset) == 1 else 1)
    shifts = epilogue.shift * (count if len(epilogue.shift) == 1 else 1)
    return list(zip(offsets, shifts, strict=True))
