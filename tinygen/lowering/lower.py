"""Graph to Program: choose kernels, order operators, find lifetimes, place buffers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from tinygen.lowering.scratch_search import Lowered, Prefer, cycles_of, preferred, smallest, within
from tinygen.lowering.select import Choice, choose, choose_named, choose_without_code, flash_of
from tinygen.lowering.streaming import Chooser, Streaming, stream
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
            return _in_small_arena(chosen, coded, library, streaming, io)
        first = lower_chosen(chosen, coded, library, None, io, arena)
        # The kernels are not ours to choose, or the arena is given already.
        if prefer is None or kernels is not None or arena is not None or library is not None:
            return first
        return preferred(first, prefer, _lowered_in(chosen, coded, library, io))

    # Kernels by name are those of operators as they are.
    able = mixing_layers(graph, family, isa) if mixed is None and kernels is None else {}
    if not able:
        return program(mixed or ())
    return fastest_mixing(program, able, streaming is not None and streaming.arena_bytes is None)


@dataclass(frozen=True, eq=False)
class Chosen:
    """A graph with the fastest kernel for each layer, including kernels with weights as code.

    Attributes:
        graph: with layers fused.
        choices: one per operator.
        family, isa: the kernels chosen from.
        kernels: names by layer, if they were given.
        rooms: bytes of scratch that there are for each layer, by its name; None where that is not known.
    """

    graph: Graph
    choices: Sequence[Choice]
    family: str
    isa: Collection[str]
    kernels: Mapping[str, str] | None = None
    rooms: Mapping[str, int] | None = None

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
    graph = fuse(graph, family, isa)
    return Chosen(graph, [_choice(node, family, isa, kernels) for node in graph.nodes()], family, isa, kernels)


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
    return lambda rooms, arena: lower_chosen(chosen.within(rooms), coded, library, None, io, arena)


def _in_small_arena(
    chosen: Chosen, coded: Collection[str], library: VendorLibrary | None, streaming: Streaming, io: Io
) -> Program:
    """The program in the arena that `streaming` wants; within a limit, the fastest that is found.

    Args:
        coded: layers whose weights may be instructions.

    Raises:
        FitError: there is none.
    """
    if streaming.striped is not None or chosen.kernels is not None or library is not None:
        return _striped(chosen, coded, library, streaming, io)
    lowered, limit = _lowered_in(chosen, coded, library, io), streaming.arena_bytes
    usual = lower_chosen(chosen, coded, library, None, io, limit)
    if limit is None:
        striped = _striped(chosen, coded, library, streaming, io)
        return min(striped, preferred(usual, Prefer.BALANCE, lowered), key=lambda one: one.memory.arena_bytes)
    found = list(within(usual, limit, lowered))
    try:
        found.insert(0, _striped(chosen, coded, library, streaming, io))
    except FitError as error:
        if not found:
            raise _refusal(error, limit, smallest(usual, lowered)) from error
    return min(found, key=cycles_of)


def _refusal(error: FitError, limit: int, smallest: Program) -> FitError:
    """The error of a limit that nothing fits, with the smallest arena that was found."""
    least = smallest.memory.arena_bytes
    if least - limit >= error.excess.get("arena", least):
        return error
    what = f"the arena does not fit {limit:,} bytes: {least:,} at best, with the kernels that need least scratch"
    return FitError(what, where=error.where, fix=error.fix, excess={"arena": least - limit})


def _striped(
    chosen: Chosen, coded: Collection[str], library: VendorLibrary | None, streaming: Streaming, io: Io
) -> Program:
    """The program with the fastest kernels, in stripes where that needs a smaller arena.

    Args:
        coded: layers whose weights are instructions where nothing is in stripes: each stripe would need its own copy of
            the code. Such layers need no scratch.

    Raises:
        FitError: there is none.
    """
    whole = None
    if coded and streaming.striped is None:
        with suppress(FitError):
            whole = lower_chosen(chosen, coded, library, replace(streaming, striped=False), io)
    if whole is not None and streaming.arena_bytes is not None:
        return whole
    striped = lower_chosen(chosen, (), library, streaming, io)
    if whole is not None and whole.memory.arena_bytes <= striped.memory.arena_bytes:
        return whole
    return striped


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
) -> Program:
    """The rest of `lower`.

    Args:
        coded: outputs of the layers whose weights may be instructions, see `code_budget`.
        arena: bytes that scratch may fill; None for a little more than the least.
    """
    graph, isa = chosen.graph, chosen.isa
    branches: dict[str, Choice] = {}

    def settled(node: Node, choice: Choice) -> Choice:
        if isinstance(node.op, Branch):
            if node.op.name not in branches:
                branches[node.op.name] = branched(node.op, choice, partial(_within, chosen))
            return branches[node.op.name]
        if choice.uncoded is not None and node.output.name not in coded:
            choice = choice.uncoded
        return _with_scratch(node, choice, library)

    def kernel_of(node: Node) -> Choice:
        return settled(node, chosen.choice_of(node))

    def packed_kernel_of(node: Node) -> Choice:
        return kernel_of(node) if chosen.kernels is None else settled(node, chosen.no_heavier(node))

    caller = frozenset((*graph.inputs, *graph.outputs)) if io == Io.CALLER else frozenset()
    least = _ordered(graph, [settled(*pair) for pair in zip(graph.nodes(), chosen.choices, strict=True)], caller)
    packed = pack_activations(least, packed_kernel_of, graph.ops)
    if streaming is None:
        program = finished(packed, arena)
    else:
        least = _smaller(least, packed, streaming, kernel_of)
        # If the smallest arena is asked for, scratch only gets its free bytes.
        limit, scratch = streaming.arena_bytes, streaming.scratch_bytes
        program = finished(least, least.arena_bytes if limit is None and scratch is None else limit, scratch)
    _check_alignment(program, isa)
    return replace(program, isa=frozenset(isa))


def _within(chosen: Chosen, graph: Graph) -> Program:
    """A branch of the graph. Weights as code are not used there: they would need a budget for all branches together.

    Nor are smaller arenas tried: within each other, that would take a dozen times as long for each level.
    """
    family = family_within(chosen.family)
    return lower(graph, family=family, isa=chosen.isa, code_bytes=0, io=Io.CALLER, kernels=chosen.kernels, prefer=None)


def _smaller(least: Draft, packed: Draft, streaming: Streaming, choose: Chooser) -> Draft:
    """With stripes or packed activations: the first form within the limit; without a limit the smallest.

    Raises:
        FitError: none is within the limit.
    """
    limit = streaming.arena_bytes
    if streaming.striped is False:
        return _unstriped(least, packed, limit)
    if streaming.striped:
        return stream(least, streaming, choose)
    if limit is None:
        return min(stream(least, streaming, choose), packed, key=lambda one: one.arena_bytes)
    return packed if packed.arena_bytes <= limit < least.arena_bytes else stream(least, streaming, choose, packed)


def _unstriped(least: Draft, packed: Draft, limit: int | None) -> Draft:
    if limit is not None and least.arena_bytes <= limit:
        return least
    if limit is not None and packed.arena_bytes > limit:
        what = f"the arena does not fit {limit:,} bytes: {packed.arena_bytes:,} without stripes"
        raise FitError(what, where=least.program.graph.name)
    return packed


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
