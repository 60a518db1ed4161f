"""Kernel plans: the single source for selection, packing, scratch, cost and the C call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, TypedDict, TypeVar, Unpack

import numpy as np

from tinygen.ir.interpreter import Evaluate
from tinygen.ir.ops.base import Node, Op
from tinygen.ir.ops.summing import Summing

PlanFunction = Callable[[Node], "KernelPlan | Sequence[KernelPlan] | None"]
"""The plan for a node; several when scratch can be traded for cycles; None or nothing when it does not match."""
Kind = Literal["", "tflite", "codes"]
"""Of operators of sums; see `Kernel.of`."""
Arithmetic = Evaluate
"""What a kernel computes, with the arguments and results of `Op.evaluate`."""
ON_ARMV6M = 1.7
"""What kernels for cores without SIMD take there of the cycles that they predict, those of RV32IM: only eight registers
multiply, and none gives the high half of a product. Plain loops, whose predictions are those of a Cortex-M7, take 1.3
to 3 times as many."""


@dataclass(frozen=True)
class Field:
    """A member of a C struct of int32_t: one value, or an array of `count`."""

    name: str
    count: int | None = None

    @property
    def words(self) -> int:
        return 1 if self.count is None else self.count


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that the kernel reads from flash, in the order of its inner loop.

    Attributes:
        name: the parameter's name in the C function ("weights").
        data: int8/uint8/int16/int32/float32 codes; the C type follows from the dtype.
        comment: one line on the layout, shown above the array.
        fields: for int32 [rows, words], the struct members of a row. The C array then has a struct per row, whose type
            is NAME_type in the template.
    """

    name: str
    data: np.ndarray
    comment: str = ""
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class VendorCall:
    """A call of a vendor's library that a plan's C makes.

    Attributes:
        headers: needed declarations, in the order of inclusion.
        functions: what the C calls, the main function first.
        buffer_query: the library's function that returns the bytes of scratch that the call needs; "" if it needs none.
        buffer_arguments: its arguments: an int by value, a tuple of ints as a pointer to a struct of int32_t.
    """

    headers: tuple[str, ...]
    functions: tuple[str, ...]
    buffer_query: str = ""
    buffer_arguments: tuple[int | tuple[int, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Follower:
    """A kernel that another one calls for each block of its outputs, so that these are never stored whole.

    Attributes:
        node: its layer.
        plan: of any number of pixels, the last argument of its C function.
    """

    node: Node
    plan: KernelPlan


@dataclass(frozen=True, eq=False)
class KernelPlan:
    """How one layer is computed.

    Attributes:
        template: file under templates/kernels/, or "" for an alias: nothing is computed, the output has the input's
            address (then `inplace` has one pair).
        stem: readable core of the C function's name: "conv_2d_s8_3x3".
        context: values of the template (numbers, strings, booleans, lists of them). Layers with equal
            template and context share one C function, so it must contain nothing specific to one layer.
        operands: (parameter name, index of the operator's input), in call order.
        results: (parameter name, index of the operator's output), in call order.
        constants: arrays passed after the operands.
        scratch_bytes: working memory passed as `scratch`, 8-byte aligned.
        inplace: pairs (operator input, operator output) that may start at the same address.
        view_offset: for an alias: bytes from the input's start to the output's.
        part_offsets: for an alias of several inputs: for each pair of `inplace`, the input's offset in the output, in
            bytes. The operator that computes the input writes it there.
        headers: C headers the function needs.
        cycles: predicted cost, for the choice between kernels.
        armv6m_cycles: the same on a Cortex-M0+, of kernels for several cores; None for `ON_ARMV6M` times as much.
        live_cycles: the same as a function of the number of live outputs and inputs, where lists are read whose length
            depends on the input; None where `cycles` is the cost of every input.
        code_bytes: approximate code that stands for weights, if any; see `lowering.code_budget`.
        shared_bytes: bytes of constants that layers of other switches read too.
        library: the vendor's function that does the work; then `scratch_bytes` is asked of the library.
        alignment: of buffers, constants and scratch, in bytes.
        mixed_bytes: of scratch, those that hold mixed weights of experts.
        follower: what it calls for each block of outputs, by the template value `follower`.
    """

    template: str
    stem: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    operands: tuple[tuple[str, int], ...] = (("input", 0),)
    results: tuple[tuple[str, int], ...] = (("output", 0),)
    constants: tuple[Constant, ...] = ()
    scratch_bytes: int = 0
    inplace: tuple[tuple[int, int], ...] = ()
    view_offset: int = 0
    part_offsets: tuple[int, ...] = ()
    headers: tuple[str, ...] = ("tinygen_math.h",)
    cycles: float = 0.0
    armv6m_cycles: float | None = None
    live_cycles: Callable[[float, float], float] | None = None
    code_bytes: int = 0
    shared_bytes: int = 0
    library: VendorCall | None = None
    alignment: int = 8
    mixed_bytes: int = 0
    follower: Follower | None = None

    @property
    def on_armv6m(self) -> KernelPlan:
        """The plan with the cycles of a Cortex-M0+."""
        known = self.armv6m_cycles
        return replace(self, cycles=ON_ARMV6M * self.cycles if known is None else known, armv6m_cycles=None)

    @property
    def is_alias(self) -> bool:
        return not self.template

    @property
    def weight_bytes(self) -> int:
        return sum(constant.data.nbytes for constant in self.constants)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A way to compute one kind of operator.

    Attributes:
        name: unique, for reports and `--kernels`.
        ops: the operators' classes.
        plan: see `PlanFunction`.
        family: "reference" (portable, plain loops), "tinygen" (tuned), or that of a vendor's library ("cmsis-nn").
        isa: the instruction set it needs: "c99", "dsp" (Armv7E-M SIMD; its C also runs on any host
            through portable twins of the intrinsics) or "scalar" (no SIMD, but a product in a cycle; likewise).
        arithmetic: what it computes, if a library rounds differently from the operator's semantics.
        unless: an instruction set for which there is a better form of this kernel; "" for none.
        is_sparse: it skips zero weights, and stores the positions of the others.
        unpacks, packs: it reads, and writes, packed codes of 4 and 2 bits (`Tensor.code_bits`).
        moves: it copies elements, or looks each up in a table: there is nothing to tune.
        of: which operators of sums it is for: those with TFLite's epilogue ("tflite"), those of codes with another
            ("codes"), or both ("").
    """

    name: str
    ops: tuple[type[Op], ...]
    plan: PlanFunction
    family: str = "reference"
    isa: str = "c99"
    arithmetic: Arithmetic | None = None
    unless: str = ""
    is_sparse: bool = False
    unpacks: bool = False
    packs: bool = False
    moves: bool = False
    of: Kind = ""

    def suits(self, isa: Collection[str]) -> bool:
        """Whether it is for a core with these instruction sets."""
        return self.isa in isa and self.unless not in isa

    def variants(self, node: Node) -> tuple[KernelPlan, ...]:
        """Its plans for a node, least scratch first; empty if it does not match."""
        packed_in = any(tensor is not None and tensor.code_bits for tensor in node.inputs)
        packed_out = any(tensor.code_bits for tensor in node.outputs)
        takes = (self.unpacks or not packed_in) and (self.packs or not packed_out) and self._is_for(node)
        plans = self.plan(node) if takes else None
        if plans is None:
            return ()
        several = (plans,) if isinstance(plans, KernelPlan) else tuple(plans)
        return tuple(sorted(several, key=lambda plan: plan.scratch_bytes))

    def _is_for(self, node: Node) -> bool:
        return not self.of or (isinstance(node.op, Summing) and node.op.is_tflite == (self.of == "tflite"))


_KERNELS: list[Kernel] = []
_Plan = TypeVar("_Plan", bound=PlanFunction)


class Traits(TypedDict, total=False):
    """Optional properties of a kernel; see `Kernel` for the defaults."""

    family: str
    isa: str
    arithmetic: Arithmetic
    unless: str
    is_sparse: bool
    unpacks: bool
    packs: bool
    moves: bool
    of: Kind


def kernel(*ops: type[Op], name: str, **traits: Unpack[Traits]) -> Callable[[_Plan], _Plan]:
    """Registers the decorated plan function as a kernel of these operators."""

    def register(function: _Plan) -> _Plan:
        assert all(existing.name != name for existing in _KERNELS), name
        _KERNELS.append(Kernel(name, ops, function, **traits))
        return function

    return register


def registered_kernels() -> tuple[Kernel, ...]:
    return tuple(_KERNELS)


def kernels_of(op: type[Op]) -> tuple[Kernel, ...]:
    """Those of an operator, in the order in which they were registered."""
    return _kernels_of(op, len(_KERNELS))


@cache
def _kernels_of(op: type[Op], _: int) -> tuple[Kernel, ...]:
    return tuple(kernel for kernel in _KERNELS if op in kernel.ops)
