"""Which kernel computes which layer: the cheapest that matches, within the family asked for."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

import tinygen.lowering.kernels  # noqa: F401  (registers every kernel)
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.ops.base import Node
from tinygen.lowering.known_plans import KnownPlans, layer_key
from tinygen.lowering.plan import Kernel, KernelPlan, kernels_of
from tinygen.lowering.program import Program


class Family(StrEnum):
    """Which kernels a program may use: all, all without weights as code, plain loops, Arm's library, Espressif's
    library; for comparisons also only dense ones, or sparse ones wherever possible.
    """

    TINYGEN = "tinygen"
    COMPACT = "compact"
    REFERENCE = "reference"
    CMSIS_NN = "cmsis-nn"
    ESP_NN = "esp-nn"
    DENSE = "dense"
    SPARSE = "sparse"


CMSIS_NN, ESP_NN = Family.CMSIS_NN, Family.ESP_NN
COMPACT, DENSE, SPARSE = Family.COMPACT, Family.DENSE, Family.SPARSE
FAMILIES = tuple(Family)

_OWN = ("tinygen", "reference")
_STAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "tinygen": (_OWN,),
    COMPACT: (_OWN,),
    "reference": (("reference",),),
    CMSIS_NN: ((CMSIS_NN,), _OWN),
    ESP_NN: ((ESP_NN,), _OWN),
    DENSE: (_OWN,),
    SPARSE: (_OWN, _OWN),
}
"""The kernel families a family tries, in turn; within one turn the cheapest kernel wins."""
_LEAST_ROOM = 16384
_FEW_ZEROS = 0.1
"""Share of zeros up to which no kernel for sparse weights is tried: none pays there."""


_EQUAL = 1.01
"""Choices whose predicted cycles differ by less are equally fast."""
_CLOSE = 1.05
_LIGHTER = 0.9
"""What is a little slower is taken all the same where so much of the weights' flash is left."""
_CLOSE_SPARSE = 1.5
"""The same for kernels of sparse weights in family "compact"."""
_CLOSE_SHARED = 1.1
"""The same for weights that other switches store anyhow. To take few bits out of 8 is slower than to take all 8: with
much more than this, a switch of few bits would be slower than one of many.
"""


@dataclass(frozen=True, eq=False)
class Choice:
    """A kernel and its plans for one layer, least scratch first.

    Attributes:
        uncoded: if the plans have the weights as code: the best kernel that reads weights as data.
        room: bytes of scratch that it is likely to get; None for no limit.
        branches: programs of a branch operator, once they are lowered.
    """

    kernel: Kernel
    variants: tuple[KernelPlan, ...]
    uncoded: Choice | None = None
    room: int | None = None
    branches: tuple[Program, ...] = ()

    @property
    def fastest(self) -> KernelPlan:
        """The fastest of the plans that are likely to get their scratch; else the plan that needs least scratch."""
        fitting = [plan for plan in self.variants if self.room is None or plan.scratch_bytes <= self.room]
        return min(fitting or self.variants[:1], key=lambda plan: plan.cycles)


def likely_room(node: Node) -> int:
    """Bytes of scratch that a layer is likely to get: half of its activations' bytes, but at least a few thousand.

    Kernels are chosen before memory is planned, so a plan that is only fast with more scratch must not decide.
    """
    tensors = [tensor for tensor in (*node.inputs, node.output) if tensor is not None and not tensor.is_constant]
    activations = sum(tensor.size * replace(tensor, code_bits=0).memory_dtype.itemsize for tensor in tensors)
    return max(_LEAST_ROOM, activations // 2)


def best_of(choices: Sequence[Choice], family: str) -> Choice:
    """The fastest choice, of equal ones that with least scratch, which it may not get; or among those about as fast the
    one that takes least flash for weights.
    """
    cycles = min(choice.fastest.cycles for choice in choices)
    equal = [choice for choice in choices if choice.fastest.cycles <= _EQUAL * cycles]
    best = min(equal, key=lambda choice: (choice.fastest.scratch_bytes, choice.fastest.cycles))
    flash = _LIGHTER * flash_of(best)
    lighter = [
        choice
        for choice in choices
        if choice.fastest.cycles <= _close(choice, family) * cycles and flash_of(choice) <= flash
    ]
    return min(lighter, key=lambda choice: (flash_of(choice), choice.fastest.cycles), default=best)


def _close(choice: Choice, family: str) -> float:
    if choice.fastest.shared_bytes:
        return _CLOSE_SHARED
    return _CLOSE_SPARSE if family == COMPACT and choice.kernel.is_sparse else _CLOSE


def flash_of(choice: Choice) -> int:
    """Bytes of weights, including weights as instructions, without those shared with other switches."""
    plan = choice.fastest
    return plan.weight_bytes + plan.code_bytes - plan.shared_bytes


def choose(node: Node, family: str, isa: Collection[str], room: int | None = None) -> Choice:
    """The kernel that is fastest for `node`.

    Args:
        node: the layer.
        family: "tinygen" allows every kernel of ours, "compact" those that do not spend flash on weights as code,
            "reference" only portable plain loops, "cmsis-nn" that library's if it can compute the layer, else ours;
            "dense" leaves out sparse kernels, "sparse" uses them wherever there is one.
        isa: what the board's core offers, e.g. {"c99", "dsp"}.
        room: bytes of scratch that there are: kernels that need more are taken only where there is no other. None:
            `likely_room`, which rules no kernel out.

    Raises:
        UnsupportedError: no kernel matches.
    """
    return _cheapest(node, family, isa, coded=family not in (COMPACT, DENSE, SPARSE), room=room)


def choose_without_code(node: Node, family: str, isa: Collection[str]) -> Choice:
    """As `choose`, without kernels that have weights as code (`KernelPlan.code_bytes`)."""
    return _cheapest(node, family, isa, coded=False)


def _cheapest(node: Node, family: str, isa: Collection[str], *, coded: bool, room: int | None = None) -> Choice:
    for choices in _turns(node, family, isa, room):
        plain = [choice for choice in choices if not choice.fastest.code_bytes]
        if coded and choices:
            best = best_of(choices, family)
            return replace(best, uncoded=best_of(plain, family)) if best.fastest.code_bytes and plain else best
        if plain:
            return best_of(plain, family)
    raise _no_kernel(node, family, isa)


@dataclass(frozen=True, eq=False)
class Alternatives:
    """All kernels among which `choose` takes one.

    Attributes:
        choices: the fastest first.
        usual: what families would choose: the family asked for, with and without weights as code, and "compact" (last).
    """

    choices: tuple[Choice, ...]
    usual: tuple[Choice, ...]


def alternatives(node: Node, family: str, isa: Collection[str], *, coded: bool) -> Alternatives:
    """
    Args:
        coded: include kernels with weights as code.

    Raises:
        UnsupportedError: no kernel matches.
    """
    coded = coded and family not in (COMPACT, DENSE, SPARSE)
    for choices in _turns(node, family, isa):
        plain = [choice for choice in choices if not choice.fastest.code_bytes]
        found = choices if coded else plain
        if found:
            smallest = COMPACT if family == Family.TINYGEN else family
            usual = (best_of(found, family), best_of(plain or found, family), best_of(plain or found, smallest))
            return Alternatives(tuple(sorted(found, key=lambda choice: choice.fastest.cycles)), usual)
    raise _no_kernel(node, family, isa)


def scratch_sizes(node: Node, family: str, isa: Collection[str]) -> set[int]:
    """Bytes of scratch of all plans for a node."""
    return {plan.scratch_bytes for turn in _turns(node, family, isa) for choice in turn for plan in choice.variants}


def choose_named(node: Node, name: str, isa: Collection[str]) -> Choice | None:
    """The kernel of that name; None where it does not match."""
    for kernel in kernels_of(type(node.op)):
        if kernel.name == name and kernel.suits(isa):
            variants = _variants(kernel, node, layer_key(node), isa)
            return Choice(kernel, variants, room=likely_room(node)) if variants else None
    return None


def _turns(node: Node, family: str, isa: Collection[str], room: int | None = None) -> Iterator[list[Choice]]:
    """Matching kernels of the families, in the order in which they are tried; `room` as for `choose`."""
    likely, layer = likely_room(node) if room is None else room, layer_key(node)
    for turn in range(len(_STAGES[family])):
        found = [(kernel, _variants(kernel, node, layer, isa)) for kernel in _allowed(node, family, isa, turn)]
        choices = [Choice(kernel, variants, room=likely) for kernel, variants in found if variants]
        fitting = [] if room is None else [one for one in choices if one.variants[0].scratch_bytes <= room]
        yield fitting or choices


def _allowed(node: Node, family: str, isa: Collection[str], turn: int) -> list[Kernel]:
    families, sparse = _STAGES[family][turn], _takes_sparse(node, family, turn)
    return [
        kernel
        for kernel in kernels_of(type(node.op))
        if kernel.suits(isa) and kernel.family in families
        if kernel.is_sparse in sparse
    ]


def _no_kernel(node: Node, family: str, isa: Collection[str]) -> UnsupportedError:
    tried = [kernel.name for turn in range(len(_STAGES[family])) for kernel in _allowed(node, family, isa, turn)]
    return UnsupportedError(
        f"no kernel of family '{family}' computes {node.op.KIND} with these encodings "
        f"(tried: {', '.join(tried) or 'none'})",
        where=node.describe(),
        fix="Use --kernels tinygen, or change the layer's types: docs/reference/operators.md has those of operators.",
    )


_known = KnownPlans()


def _variants(kernel: Kernel, node: Node, layer: Hashable, isa: Collection[str]) -> tuple[KernelPlan, ...]:
    """The kernel's plans, with the cycles of a core with these instruction sets."""
    plans = _known.variants(kernel, node, layer)
    if "armv6m" not in isa or (kernel.isa != "scalar" and kernel.family != Family.REFERENCE):
        return plans
    return tuple(plan.on_armv6m for plan in plans)


def _takes_sparse(node: Node, family: str, turn: int) -> tuple[bool, ...]:
    """Which kernels are tried: sparse ones (True), others (False)."""
    if family == SPARSE:
        return (turn == 0,)
    return (False,) if family == DENSE or not _has_zeros(node) else (False, True)


def _has_zeros(node: Node) -> bool:
    weights = node.inputs[1] if len(node.inputs) > 1 else None
    if weights is None or weights.data is None or not isinstance(weights.encoding, IntegerEncoding):
        return False
    zeros = np.count_nonzero(weights.encoding.integers(weights.data) == 0)
    return bool(zeros >= _FEW_ZEROS * weights.size)
