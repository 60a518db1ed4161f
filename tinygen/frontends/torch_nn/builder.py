"""Collects the graph's tensors and operators, and converts pending values to codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.folding import Quantizer, exact_cuts, fold, fold_real
from tinygen.frontends.rescale_fit import Cuts, threshold_of
from tinygen.frontends.torch_nn.bends import bent_cuts
from tinygen.frontends.torch_nn.values import Coded, Pending, Pool
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Affine, ChannelList, Encoding, IntegerEncoding, Plain
from tinygen.ir.epilogue import Epilogue, Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.movement import StridedSlice
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.ir.ops.requantize import Requantize
from tinygen.ir.ops.top_k import TopK
from tinygen.ir.ops.window import Padding
from tinygen.ir.state import State
from tinygen.ir.tensor import Shape, Tensor
from tinygen.ir.thresholds import new_threshold

_SAME_16 = Rescale((1,), (0,), (0,), -(2**15), 2**15 - 1)
_SAME_32 = Rescale((1,), (0,), (0,), -(2**31 - 1), 2**31 - 1)


class Builder:
    """A graph under construction.

    Args:
        name: of the graph.
        outer: for a branch, the builder with its branch operator; None for whole models.
    """

    def __init__(self, name: str, outer: Builder | None = None) -> None:
        self.name = name
        self.outer = outer
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.entry: tuple[object, Shape, Tensor] | None = None
        """The quantizer of the model's input, its shape, and its codes."""
        self.states: list[State] = []
        """Thresholds, of whole models."""
        self.captured: list[str] = []
        """Thresholds that a branch reads: inputs of it, named as outside."""
        self.quantized: dict[tuple[Coded | Pending, object], Coded] = {}
        """Codes, by the value and its quantizer."""
        self.ended: dict[str, Pending] = {}
        """What tensors were made of, by name."""

    def add_input(self, name: str, shape: Shape, encoding: Encoding, quantizer: object, where: str) -> Coded:
        """The model's input as codes of its quantizer.

        Raises:
            UnsupportedError: the input already has another quantizer.
        """
        if self.entry is None:
            self.entry = quantizer, shape, self._add(Tensor(self._unique(name), shape, encoding))
        if (quantizer, shape) != self.entry[:2]:
            raise UnsupportedError(
                "the model's input is quantized a second time",
                where=where,
                fix="Quantize it once, and give the result to all that read it.",
            )
        return Coded(self.entry[2])

    def threshold(self, kind: str, encoding: Encoding, value: int) -> Tensor:
        """A threshold for a score, which the application may set: EXIT_1, EXIT_2, ..., numbered over the whole model.

        Args:
            kind: in upper case: "EXIT".
            value: its initial code.
        """
        if self.outer is not None:
            return self.capture(self.outer.threshold(kind, encoding, value))
        number = 1 + sum(state.threshold.startswith(f"{kind}_") for state in self.states)
        tensor, state = new_threshold(f"{kind}_{number}", encoding, value)
        self.states.append(state)
        return self._add(tensor)

    def capture(self, tensor: Tensor) -> Tensor:
        """A threshold of the whole model, as an input of this branch."""
        if tensor.name not in self.captured:
            self.captured.append(tensor.name)
            self._add(tensor)
        return tensor

    def taken(self, name: str, outside: Coded) -> Coded:
        """An input of a branch, with the same codes as in the outer graph."""
        return replace(outside, tensor=self._add(replace(outside.tensor, name=self._unique(name), data=None)))

    def constant(self, name: str, codes: np.ndarray, encoding: Encoding) -> str:
        codes = np.ascontiguousarray(codes, encoding.dtype)
        return self._add(Tensor(self._unique(name), codes.shape, encoding, codes)).name

    def quantize(self, pending: Pending, quantizer: Quantizer, encoding: IntegerEncoding, name: str) -> Coded:
        """A pending value as codes: its operator with an epilogue that gives the quantizer's codes, then its pools."""
        low, _ = encoding.code_range
        epilogue: Epilogue
        if pending.bends:
            cuts = bent_cuts(pending.bends, pending.chain, quantizer.points(), pending.reach)
            epilogue, base = threshold_of(cuts), quantizer.low
        else:
            folded = fold(pending.chain, quantizer, pending.reach, from_zero=low == 0)
            epilogue, base = folded.epilogue, folded.base
            if folded.wrong:
                cuts = exact_cuts(pending.chain, quantizer.points(), pending.reach)
                if not _near(epilogue, cuts, quantizer.low - base):
                    epilogue, base = threshold_of(cuts), quantizer.low
        if base and isinstance(epilogue, Threshold):
            # Codes of thresholds count from 0, so codes from -128 on are stored as uint8.
            encoding, base = _from_zero(encoding, base, pending.where), 0
        return self._end(pending, _shifted(epilogue, base), encoding, name)

    def finish(self, pending: Pending, name: str) -> Coded:
        """A pending value as a model output: int32 codes of real values.

        Raises:
            UnsupportedError: its channels are clamped differently, or it is the output of a PReLU.
        """
        if pending.bends:
            raise UnsupportedError(
                "an output behind a PReLU, with no quantizer",
                where=pending.where,
                fix="Put Affine8() behind it, or end the network with the layer in front.",
            )
        epilogue, scale = fold_real(pending.chain, pending.reach)
        return self._end(pending, epilogue, Affine("int32", (scale,), (0,)), name)

    def accumulators(self, pending: Pending) -> Pending:
        """The same pending values over a tensor of accumulators, after pools; for several readers or a sum.

        The accumulators have 16 bits if they fit, else 32.
        """
        if pending.op is Requantize and not pending.pools:
            return pending
        fits = int(pending.reach.low.min()) >= -(2**15) and int(pending.reach.high.max()) < 2**15
        encoding = Affine("int16" if fits else "int32", (1.0,), (0,))
        if pending.plain:
            encoding = replace(encoding, scale=(float(np.float32(float(pending.chain.gain[0]))),))
        ended = self._end(pending, _SAME_16 if fits else None, encoding, f"{pending.where}.sum", as_codes=False)
        return replace(
            pending, op=Requantize, fields={}, inputs=(ended.tensor.name,), shape=ended.tensor.shape, pools=()
        )

    def exact(self, pending: Pending) -> Coded | None:
        """The accumulators as codes, if one positive scale serves all and 16 bits hold them; else None."""
        if not pending.plain:
            return None
        source = self.accumulators(pending)
        tensor = self.tensors[source.inputs[0]]
        if tensor.dtype.itemsize > 2:
            return None
        return Coded(tensor, pending.flat, pending.chain.gain[0])

    def _end(
        self, pending: Pending, epilogue: Epilogue | None, encoding: Encoding, name: str, *, as_codes: bool = True
    ) -> Coded:
        """Adds the operator and its pools.

        Args:
            as_codes: whether pools compare codes, which may fall as accumulators rise, instead of accumulators.
        """
        if pending.op is Requantize and epilogue is None:
            epilogue = _SAME_32
        result = name if not pending.pools else f"{name}.unpooled"
        tensor = self._write(
            pending.op,
            pending.where,
            pending.inputs,
            pending.shape,
            encoding,
            result,
            **pending.fields,
            epilogue=epilogue,
        )
        codes_rise = pending.rising if as_codes else (True,) * pending.chain.channels
        for index, pool in enumerate(pending.pools):
            last = index == len(pending.pools) - 1
            # The largest real value has the largest code if both rise, or both fall, with the accumulator.
            sign = tuple(1 if a == b else -1 for a, b in zip(codes_rise, pool.rising, strict=True))
            tensor = self.max_pool(tensor, pool, sign, name if last else f"{name}.pool{index}")
        self.ended[tensor.name] = pending
        return Coded(tensor, pending.flat)

    def max_pool(self, x: Tensor, pool: Pool, sign: tuple[int, ...], name: str) -> Tensor:
        """A max pool of codes; a minimum in channels whose sign is -1."""
        pad = pool.padding
        return self._write(
            MaxPool2D,
            pool.name,
            (x.name,),
            None,
            x.encoding,
            name,
            padding=Padding.VALID,
            kernel=pool.kernel,
            stride=pool.stride,
            row_padding=(pad[0], pad[0]),
            column_padding=(pad[1], pad[1]),
            sign=sign[:1] if len(set(sign)) == 1 else sign,
        )

    def concatenate(self, parts: list[Tensor], name: str) -> Tensor:
        """A concatenation of codes of equal encodings along their last axis."""
        axis = len(parts[0].shape) - 1
        names = tuple(part.name for part in parts)
        return self._write(Concatenation, name, names, None, parts[0].encoding, name, axis=axis)

    def _write(
        self,
        kind: type[Op],
        where: str,
        inputs: tuple[str, ...],
        shape: Shape | None,
        encoding: Encoding,
        name: str,
        **fields: object,
    ) -> Tensor:
        output = self._unique(name)
        op = kind(name=self._unique_op(where), inputs=inputs, outputs=(output,), **fields)
        if shape is None:
            draft = Graph(self.name, {**self.tensors, output: Tensor(output, (1,), encoding)}, (op,), (), ())
            shape = op.infer_shapes(draft.node(op))[0]
        self.ops.append(op)
        return self._add(Tensor(output, shape, encoding))

    def write(
        self, kind: type[Op], where: str, inputs: tuple[str, ...], encoding: Encoding, name: str, **fields: object
    ) -> Tensor:
        """Adds an operator with one output, whose shape follows from the operator."""
        return self._write(kind, where, inputs, None, encoding, name, **fields)

    def top_k(self, x: Tensor, k: int, where: str) -> tuple[Tensor, Tensor]:
        """The k largest elements along the last axis, and their indices."""
        shape = (*x.shape[:-1], k)
        values = Tensor(self._unique(f"{where}.values"), shape, x.encoding)
        positions = Tensor(self._unique(f"{where}.positions"), shape, Plain("int32"))
        names = (values.name, positions.name)
        self.ops.append(TopK(name=self._unique_op(where), inputs=(x.name,), outputs=names, k=k))
        return self._add(values), self._add(positions)

    def winners(self, x: Tensor, k: int, where: str) -> tuple[Tensor, Tensor]:
        """The k largest elements of [1, n] in the order of their indices, and the list of these indices."""
        shape = (*x.shape[:-1], k)
        values = Tensor(self._unique(f"{where}.values"), shape, x.encoding)
        live = Tensor(self._unique(f"{where}.live"), shape, ChannelList(x.shape[-1]))
        names = (values.name, live.name)
        self.ops.append(TopK(name=self._unique_op(where), inputs=(x.name,), outputs=names, k=k, by_position=True))
        return self._add(values), self._add(live)

    def element(self, x: Tensor, number: int, where: str) -> Tensor:
        """One element of [1, n], as [1, 1]."""
        fields = {"begin": (0, number), "step": (1, 1), "count": (1, 1), "axes": (0, 1)}
        return self.write(StridedSlice, where, (x.name,), x.encoding, where, **fields)

    def branch(self, where: str, index: Tensor, inputs: Sequence[Tensor], graphs: Sequence[Graph]) -> Tensor:
        """The operator that chooses one of several graphs of one output.

        Raises:
            UnsupportedError: the graphs have outputs of different encodings.
        """
        made = [graph.tensors[graph.outputs[0]] for graph in graphs]
        if len({(tensor.shape, tensor.encoding) for tensor in made}) > 1:
            shown = ", ".join(f"{tensor.describe()} of {tensor.encoding}" for tensor in made)
            raise UnsupportedError(f"its branches give {shown}", where=where, fix="All need one shape.")
        names = (index.name, *(tensor.name for tensor in inputs))
        return self._write(Branch, where, names, made[0].shape, made[0].encoding, where, branches=tuple(graphs))

    def graph(self, output: Coded) -> Graph:
        """The finished graph.

        Raises:
            ModelError, UnsupportedError: a layer is outside its operator's limits.
        """
        inputs = () if self.entry is None else (self.entry[2].name,)
        graph = Graph(self.name, self.tensors, tuple(self.ops), inputs, (output.tensor.name,), tuple(self.states))
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


def _near(epilogue: Epilogue, cuts: Cuts, lowest: int) -> bool:
    """Whether codes change at most one accumulator away from the exact cut.

    That is the error of a multiplier of 31 bits, and is less than float32's rounding of a sum of this size. Clamps of
    single channels, which a rescale cannot represent, cause larger errors.

    Args:
        lowest: the epilogue's code below all cuts.
    """
    least, largest = cuts.ends()
    codes = lowest + 1 + np.arange(cuts.table.shape[1])

    def given(signed: np.ndarray) -> np.ndarray:
        """[channels, cuts]"""
        return epilogue.apply((np.clip(signed, least[:, None], largest[:, None]) * cuts.sign[:, None]).T).T

    reached = (given(cuts.table + 1) >= codes) | (cuts.table > largest[:, None])
    missed = (given(cuts.table - 2) < codes) | (cuts.table <= least[:, None])
    return bool(np.all(reached & missed))


def _from_zero(encoding: IntegerEncoding, base: int, where: str) -> IntegerEncoding:
    """The encoding of the codes minus `base`."""
    if isinstance(encoding, Affine) and encoding.storage == "int8" and base == encoding.code_range[0]:
        return replace(encoding, storage="uint8", zero_point=tuple(zero - base for zero in encoding.zero_point))
    raise UnsupportedError(
        f"thresholds for codes of {encoding} from {base}", where=where, fix="Use another quantizer there, Affine8 say."
    )


def _shifted(epilogue: Epilogue, base: int) -> Epilogue:
    """The epilogue with `base` added to its codes."""
    if base == 0 or isinstance(epilogue, Threshold):
        return epilogue
    offset = tuple(o + (base << s) for o, s in _pairs(epilogue))
    shift = tuple(s for _, s in _pairs(epilogue))
    floor, ceiling = (tuple(bound + base for bound in bounds) for bounds in (epilogue.floor, epilogue.ceiling))
    return Rescale(epilogue.multiplier, offset, shift, epilogue.low + base, epilogue.high + base, floor, ceiling)


def _pairs(epilogue: Rescale) -> list[tuple[int, int]]:
    count = max(len(epilogue.offset), len(epilogue.shift))
    offsets = epilogue.offset * (count if len(epilogue.offset) == 1 else 1)
    shifts = epilogue.shift * (count if len(epilogue.shift) == 1 else 1)
    return list(zip(offsets, shifts, strict=True))
