"""Graph to Program: choose kernels, order operators, find lifetimes, place buffers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tinygen.errors import FitError, TinygenError, UnsupportedError
from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.lowering.branches import branched, family_within
from tinygen.lowering.code_budget import CODE_BYTES, coded_layers
from tinygen.lowering.fuse import fuse
from tinygen.lowering.fuse_mixing import fastest_mixing, fuse_mixing, mixing_layers
from tinygen.lowering.order import best_order
from tinygen.lowering.packed_activations import pack_activations
from tinygen.lowering.place import Draft, draft, finished, least_scratch
from tinygen.lowering.program import Io, Ordering, Program
from tinygen.lowering.scratch_search import Lowered, Prefer, best, cycles_of, preferred, ways
from tinygen.lowering.select import Choice, Family, choose, choose_named, choose_without_code, flash_of, scratch_sizes
from tinygen.lowering.streaming import Streaming, stream
from tinygen.lowering.vendor import VendorLibrary
from tinygen.passes.stripe_stage import model_layer


def lower(
    graph: Graph,
    *,
    family: str = "tinygen",
    isa: Collection[str] = ("c99",),
    library: VendorLibrary | None = None,
    streaming: Streaming | None = None,
    code_bytes: int = CODE_BYTES,
    io: Io = Io.ARENA,
    kernels: Mapping[str, str] | None = None,
    mixed: Collection[str] | None = None,
    prefer: Prefer | None = Prefer.BALANCE,
) -> Program:
    """Chooses a kernel per layer, orders the layers for the smallest arena and places every tensor.

    Args:
        graph: a validated graph, after the passes.
        family: one of `select.FAMILIES`.
        isa: instruction sets of the board's core.
        library: what a family such as "cmsis-nn" calls.
        streaming: whether and why to compute the first stage in stripes.
        code_bytes: limit of code that stands for weights, in all layers together.
        io: where inputs and outputs are stored.
        kernels: kernel names by layer (`branch/0/conv` within branches), instead of the fastest within `code_bytes`;
            see `choose_kernels`.
        mixed: convolutions that mix their experts' weights filter by filter (of `mixing_layers`); None for what takes
            the fewest cycles.
        prefer: how much a smaller arena is worth, where nothing limits it; None for the fastest kernels.

    Raises:
        UnsupportedError: no kernel matches a layer, or a state's update cannot be copied to it.
        TinygenError: the family needs a library and none is given, or it lacks a function.
        FitError: the arena cannot be made as small as `streaming` wants.
    """

    def program(layers: Collection[str], arena: int | None = None) -> Program:
        chosen = choose_kernels(fuse_mixing(graph, layers), family, isa, kernels)
        coded = coded_layers(chosen.graph, chosen.choices, code_bytes)
        if streaming is not None:
            return limited(chosen, coded, library, streaming, io)
        first = lower_chosen(chosen, coded, library, None, io, arena)
        # The kernels are not ours to choose, or the arena is given already.
        if prefer is None or kernels is not None or arena is not None or library is not None:
            return first
        return preferred(first, chosen.cycles, prefer, _lowered_in(chosen, coded, library, io), chosen.scratch_sizes)

    # Kernels by name are those of operators as they are.
    able = mixing_layers(graph, family, isa) if mixed is None and kernels is None else {}
    if not able:
        return program(mixed or ())
    return fastest_mixing(program, able, streaming is not None and streaming.arena_bytes is None)


_NEAR = 1.02
"""Arenas this close to the smallest count as equal."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A graph with the fastest kernel for each layer, including kernels with weights as code.

    Attributes:
        graph: with layers fused.
        choices: one per operator.
        family, isa: the kernels chosen from.
        source: the graph before that.
        kernels: names by layer, if they were given.
        rooms: bytes of scratch that there are for each layer, by its name; None where that is not known.
        branches: operators that choose, by name, with their branches lowered: once for all ways to lower the graph.
    """

    graph: Graph
    choices: Sequence[Choice]
    family: str
    isa: Collection[str]
    source: Graph
    kernels: Mapping[str, str] | None = None
    rooms: Mapping[str, int] | None = None
    branches: dict[str, Choice] = field(default_factory=dict)

    @property
    def cycles(self) -> float:
        """Of all layers with all the scratch that helps them."""
        return sum(min(plan.cycles for plan in choice.variants) for choice in self.choices)

    def scratch_sizes(self, node: Node) -> Collection[int]:
        """Bytes of scratch that plans for a layer need."""
        if self.kernels is not None or isinstance(node.op, Branch):
            return {plan.scratch_bytes for plan in self.choice_of(node).variants}
        return scratch_sizes(node, self.family, self.isa)

    def choice_of(self, node: Node) -> Choice:
        """Choice for a layer, or a stripe of one."""
        return _choice(node, self.family, self.isa, self.kernels, self.rooms)

    def within(self, rooms: Mapping[str, int]) -> Chosen:
        """The fastest kernels with so much scratch at most."""
        choices = [_choice(node, self.family, self.isa, self.kernels, rooms) for node in self.graph.nodes()]
        return replace(self, choices=choices, rooms=rooms)

    def no_heavier(self, node: Node) -> Choice:
        """Choice for a layer with packed codes: if the given kernel does not match, one whose weights take no more
        flash.

        Raises:
            UnsupportedError: there is none.
        """
        given = next(c for op, c in zip(self.graph.ops, self.choices, strict=True) if op.outputs == node.op.outputs)
        choice = self.choice_of(node)
        if flash_of(choice) > flash_of(given):
            raise UnsupportedError("packed codes would take more flash", where=node.describe())
        return choice


def choose_kernels(graph: Graph, family: str, isa: Collection[str], kernels: Mapping[str, str] | None = None) -> Chosen:
    """The fastest kernels of a graph; see `lower`.

    Args:
        kernels: names by layer. A layer that is not named, or whose kernel does not match (as for some stripes), gets
            the fastest kernel without weights as code.
    """
    fused = fuse(graph, family, isa)
    choices = [_choice(node, family, isa, kernels) for node in fused.nodes()]
    return Chosen(fused, choices, family, isa, graph, kernels)


def _choice(
    node: Node,
    family: str,
    isa: Collection[str],
    kernels: Mapping[str, str] | None,
    rooms: Mapping[str, int] | None = None,
) -> Choice:
    if kernels is None:
        return choose(node, family, isa, None if rooms is None else rooms.get(layer_of(node.op.name)))
    given = choose_named(node, kernels.get(layer_of(node.op.name), ""), isa)
    return given or choose_without_code(node, family, isa)


def _lowered_in(chosen: Chosen, coded: Collection[str], library: VendorLibrary | None, io: Io) -> Lowered:
    """Lowers with the scratch and the arena that there are."""

    def lowered(rooms: Mapping[str, int] | None = None, arena: int | None = None, *, packs: bool = True) -> Program:
        at = chosen if rooms is None else chosen.within(rooms)
        return lower_chosen(at, coded, library, None, io, arena, packs=packs)

    return lowered


def limited(
    chosen: Chosen, coded: Collection[str], library: VendorLibrary | None, streaming: Streaming, io: Io = Io.ARENA
) -> Program:
    """The fastest program in the arena that `streaming` wants; without a limit, one with a small arena.

    Args:
        coded: layers whose weights may be instructions, where nothing is in stripes: each stripe would need its own
            copy of the code.

    Raises:
        FitError: there is none.
    """
    limit = streaming.arena_bytes
    if streaming.scratch_bytes is not None:
        return lower_chosen(chosen, () if streaming.striped else coded, library, streaming, io)
    # The smallest arena is wanted of the kernels asked for; to fit a limit, others are better than none.
    plain = _plain(chosen) if chosen.kernels is None and library is None and limit is not None else None
    found: list[Program] = []
    if not streaming.striped:
        found = _whole(chosen, coded, library, io) + ([] if plain is None else _whole(plain, (), None, io))
    if limit is None and found:
        found = [best(found, Prefer.RAM)]
    quickest = min(map(cycles_of, found), default=0.0)
    error = None
    # The search for stripes takes long. That some are predicted to be faster than all rows at once is left.
    if streaming.striped is not False and not any(cycles_of(one) <= quickest for one in _fitting(found, limit)):
        striped, error = _striped(chosen, library, streaming, io)
        if striped is None and plain is not None and not _fitting(found, limit):
            striped, other = _striped(plain, None, streaming, io)
            error = min((error, other), key=_missing)
        found += [] if striped is None else [striped]
    if limit is None:
        least = min(one.memory.arena_bytes for one in found)
        return min((one for one in found if one.memory.arena_bytes <= _NEAR * least), key=cycles_of)
    if fitting := _fitting(found, limit):
        return min(fitting, key=lambda one: (cycles_of(one), one.memory.arena_bytes))
    raise _refusal(chosen.graph.name, limit, found, error)


def _fitting(found: Sequence[Program], limit: int | None) -> list[Program]:
    return [one for one in found if limit is not None and one.memory.arena_bytes <= limit]


def _striped(
    chosen: Chosen, library: VendorLibrary | None, streaming: Streaming, io: Io
) -> tuple[Program | None, FitError | None]:
    try:
        return lower_chosen(chosen, (), library, replace(streaming, striped=True), io), None
    except FitError as error:
        return None, error


def _missing(error: FitError | None) -> float:
    """Bytes of the arena."""
    return math.inf if error is None else error.excess["arena"]


def _plain(chosen: Chosen) -> Chosen | None:
    """The graph with the kernels that need no scratch; None where a layer has none."""
    try:
        return choose_kernels(chosen.source, Family.REFERENCE, chosen.isa)
    except UnsupportedError:
        return None


def _whole(chosen: Chosen, coded: Collection[str], library: VendorLibrary | None, io: Io) -> list[Program]:
    """Programs without stripes for arenas of all sizes."""
    lowered = _lowered_in(chosen, coded, library, io)
    return ways(lowered(), lowered, chosen.scratch_sizes)


def _refusal(where: str, limit: int, found: Sequence[Program], error: FitError | None) -> FitError:
    """The error of a limit that nothing fits, with the smallest arena that was found.

    Args:
        found: what was found without stripes.
        error: of what was found in stripes, where that was tried.
    """
    whole = min((one.memory.arena_bytes - limit for one in found), default=math.inf)
    least = limit + int(min(whole, _missing(error)))
    how = "without stripes" if error is None else "in stripes" if _missing(error) < whole else "and stripes do not help"
    return FitError(
        f"the arena does not fit {limit:,} bytes: {least:,} at best {how}",
        where=where,
        fix="Take a model with smaller activations or input, or a board with more RAM.",
        excess={"arena": least - limit},
    )


def layer_of(name: str) -> str:
    """The layer that an operator of that name computes, wholly or a stripe of it."""
    return model_layer(name) or name


def lower_chosen(
    chosen: Chosen,
    coded: Collection[str],
    library: VendorLibrary | None,
    streaming: Streaming | None,
    io: Io = Io.ARENA,
    arena: int | None = None,
    *,
    packs: bool = True,
) -> Program:
    """The rest of `lower`.

    Args:
        coded: outputs of the layers whose weights may be instructions, see `code_budget`.
        arena: bytes that scratch may fill; None for a little more than the least.
        packs: whether activations may be packed.
    """
    graph, isa = chosen.graph, chosen.isa

    def settled(node: Node, choice: Choice) -> Choice:
        if isinstance(node.op, Branch):
            if node.op.name not in chosen.branches:
                chosen.branches[node.op.name] = branched(node.op, choice, partial(_within, chosen))
            return chosen.branches[node.op.name]
        if choice.uncoded is not None and node.output.name not in coded:
            choice = choice.uncoded
        return _with_scratch(node, choice, library)

    def kernel_of(node: Node) -> Choice:
        return settled(node, chosen.choice_of(node))

    def packed_kernel_of(node: Node) -> Choice:
        return kernel_of(node) if chosen.kernels is None else settled(node, chosen.no_heavier(node))

    caller = frozenset((*graph.inputs, *graph.outputs)) if io == Io.CALLER else frozenset()
    least = _ordered(graph, [settled(*pair) for pair in zip(graph.nodes(), chosen.choices, strict=True)], caller)
    packed = pack_activations(least, packed_kernel_of, graph.ops) if packs else least
    if streaming is not None and streaming.striped:
        program = stream(least, streaming, kernel_of)
    else:
        program = finished(packed, arena, None if streaming is None else streaming.scratch_bytes)
    _check_alignment(program, isa)
    return replace(program, isa=frozenset(isa))


def _within(chosen: Chosen, graph: Graph) -> Program:
    """A branch of the graph. Weights as code are not used there: they would need a budget for all branches together.

    Nor are smaller arenas tried: within each other, that would take a dozen times as long for each level.
    """
    family = family_within(chosen.family)
    return lower(graph, family=family, isa=chosen.isa, code_bytes=0, io=Io.CALLER, kernels=chosen.kernels, prefer=None)


def _check_alignment(program: Program, isa: Collection[str]) -> None:
    """Checks alignment: a vector unit silently reads from the wrong address if data are not aligned.

    Raises:
        UnsupportedError: a tensor within another one is not aligned for vectors.
    """
    for step in program.layers if "pie" in isa else ():
        for name in (*step.node.op.inputs, *step.node.op.outputs):
            if program.offsets.get(name, 0) % step.plan.alignment:
                raise UnsupportedError(
                    f"{name} does not begin at a multiple of {step.plan.alignment} bytes",
                    where=step.node.describe(),
                    fix="Use --kernels tinygen.",
                )


def _ordered(graph: Graph, choices: Sequence[Choice], caller: frozenset[str]) -> Draft:
    """The program with the smaller arena: in the graph's order, or in the best order found."""
    given = draft(graph, choices, caller=caller)
    schedule = best_order(graph, least_scratch(choices), caller=caller)
    if schedule.order == tuple(range(len(graph.ops))):
        return _with_ordering(given, Ordering(given.arena_bytes, False, schedule.optimal))
    reordered = draft(
        replace(graph, ops=tuple(graph.ops[i] for i in schedule.order)),
        [choices[i] for i in schedule.order],
        caller=caller,
    )
    changed = reordered.arena_bytes < given.arena_bytes
    ordering = Ordering(given.arena_bytes, changed, schedule.optimal and changed)
    return _with_ordering(reordered if changed else given, ordering)


def _with_ordering(least: Draft, ordering: Ordering) -> Draft:
    return replace(least, program=replace(least.program, ordering=ordering))


def _with_scratch(node: Node, choice: Choice, library: VendorLibrary | None) -> Choice:
    """A plan that calls a library, with the scratch that the library asks for; other plans unchanged."""
    if all(plan.library is None for plan in choice.variants):
        return choice
    if library is None:
        raise TinygenError(
            f"kernels of family {choice.kernel.family} call a library, and none is given",
            where=node.describe(),
            fix="Give lower() a `library`.",
        )
    variants = []
    for plan in choice.variants:
        size = 0 if plan.library is None else library.scratch_bytes(plan.library)
        variants.append(replace(plan, scratch_bytes=size, context={**plan.context, "scratch_bytes": size}))
    return Choice(choice.kernel, tuple(variants))
