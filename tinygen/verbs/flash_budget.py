"""`tinygen build --flash`: the fastest kernels whose firmware is no larger.

Kernels are measured, not estimated: a few firmwares are built, each with a different kernel in every layer. Their ELFs
give the size of each function, and the emulated board the cycles of each layer. From these figures candidates are
chosen and linked until the fastest that fits is known.

The figures of a layer are those of the first firmware that has the kernel. All firmwares have their layers' scratch
within the same bytes, so that a layer is as fast in one as in another.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from tinygen.builds.firmware_entry import FlashBudget, FlashPoint
from tinygen.builds.manifest import NetworkEntry
from tinygen.builds.switches import code_sizes
from tinygen.emit.model import EmittedModel
from tinygen.emit.sharing import array_key
from tinygen.errors import FitError
from tinygen.ir.branch import Branch
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.base import Node
from tinygen.lowering.branches import CHOOSING, family_within, named_branch
from tinygen.lowering.costs import has_branches
from tinygen.lowering.flash_choice import Option, Point, Way, cycles_at_worst, fitting, frontier, shortlist
from tinygen.lowering.fuse import fuse
from tinygen.lowering.layers import Layer, all_layers
from tinygen.lowering.lower import layer_of
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.plan import KernelPlan
from tinygen.lowering.program import Step, constants_of
from tinygen.lowering.streaming import Streaming
from tinygen.targets.board import Board
from tinygen.targets.emulator.cpus import need_emulator
from tinygen.verbs.branch_costs import cycles_at_most
from tinygen.verbs.compiled import Compiled
from tinygen.verbs.flash_helpers import Caller, Helpers
from tinygen.verbs.profiled import with_profiles

_ALIGNMENT = 4
_LINKS = 6
"""Largest number of candidate firmwares that are linked after the measurements."""
_SHOWN = 3
_CURVE = 128
"""Largest number of points in the manifest."""
_MOST_CYCLES = 1e9
"""Predicted cycles up to which an inference is run to measure its layers; for slower ones the prediction is used."""
Kernels = list[dict[str, str]]
"""For each switch, the kernel of each layer."""
_Built = tuple[Kernels | None, Streaming | None]
"""What a firmware is built of; kernels None for the usual ones."""


class Maker(Protocol):
    """Lowers and compiles programs."""

    network: Network
    board: Board

    @property
    def family(self) -> str: ...

    @property
    def isa(self) -> Sequence[str]: ...

    @property
    def identity(self) -> Hashable:
        """Identity of model, board, compiler and all options except the limit."""

    def lowered(
        self, streaming: Streaming | None, network: Network | None = None, kernels: Kernels | None = None
    ) -> NetworkProgram: ...

    def compiled(
        self, program: NetworkProgram, folder: Path, *, has_db: bool = True, alone: bool = True
    ) -> Compiled: ...

    def together(self, program: NetworkProgram, emitted: EmittedModel) -> NetworkEntry | None: ...


class _Layer(NamedTuple):
    """A layer of the model or of a branch: all operators of one name in a switch.

    Attributes:
        kernels: names, the fastest first.
        compact, default: indices, see `Shortlist`.
        way: the branches that contain it.
    """

    switch: int
    name: str
    kernels: tuple[str, ...]
    compact: int
    default: int
    way: Way = ()


@dataclass
class _Measured:
    """The measurements so far.

    Attributes:
        layers: of all switches.
        options: by layer and kernel; None for one with which the firmware does not fit the board.
        helpers, callers: what layers call beside their functions, and which kernels do, by layer and kernel.
        rest_bytes, rest_cycles: of what belongs to no layer.
        streaming: as all are lowered but the first.
        has_db: whether RAM had room for the benchmark's inputs; None as long as not all is measured.
    """

    layers: list[_Layer]
    options: dict[tuple[int, int], Option | None] = field(default_factory=dict)
    helpers: Helpers = field(default_factory=Helpers)
    callers: dict[tuple[int, int], set[Caller]] = field(default_factory=dict)
    rest_bytes: int = 0
    rest_cycles: int = 0
    streaming: Streaming | None = None
    has_db: bool | None = None


_KNOWN: dict[str, _Measured] = {}
"""The latest measurements of this process, by model, options and board: builds with other limits reuse them."""
_KEPT = 4


def within_flash(
    maker: Maker,
    limit: int,
    streaming: Streaming | None,
    folder: Path,
    step: Callable[[str, int, int], None],
    *,
    has_db: bool = True,
) -> Compiled:
    """Compiles in `folder` the fastest firmware found within the flash limit.

    Args:
        limit: bytes of the whole firmware.
        streaming: as for `lower`.
        folder: created if needed; its content is replaced.
        step: called with (what, done, of).
        has_db: with the buffer for the benchmark's inputs.

    Raises:
        FitError: no firmware fits the limit (the message names the smallest), or RAM is too small.
        ToolchainError: the emulator, which measures kernels, is not installed.
    """
    need_emulator()
    return _Search(maker, limit, streaming, folder, step, has_db).best()


class _Search:
    def __init__(
        self,
        maker: Maker,
        limit: int,
        streaming: Streaming | None,
        folder: Path,
        step: Callable[[str, int, int], None],
        has_db: bool,
    ) -> None:
        self.maker, self.limit, self.streaming = maker, limit, streaming
        self.folder, self.step, self.has_db = folder, step, has_db
        self.key = repr((maker.identity, streaming, has_db))
        known = _KNOWN.get(self.key)
        self.layers = known.layers if known else _layers(maker, coded=streaming is None)
        self.measured = known or _Measured(self.layers)
        self.inside: _Built | None = None
        """What the firmware in the folder was built of."""

    def best(self) -> Compiled:
        self._measure_all()
        options = [self._options(index) for index in range(len(self.layers))]
        rest = Option("", self.measured.rest_cycles, {"": self.measured.rest_bytes})
        points = frontier([*options, [rest]], self._starts(options), [*(layer.way for layer in self.layers), ()])
        made: dict[int, Compiled] = {}

        def bytes_of(index: int) -> int | None:
            self.step("linking", len(made), _LINKS)
            found = self._linked(points[index], options)
            if isinstance(found, Compiled):
                made[index] = found
                return found.result.flash_bytes
            return found

        best, sizes = fitting(points, self.limit, bytes_of, _LINKS)
        if best < 0:
            raise self._misfit(points[0], options, sizes.get(0))
        found, point = made[best], FlashPoint(sizes[best], points[best].cycles)
        kernels = self._kernels(points[best], options)
        built: _Built = kernels, self.streaming
        for other in self._others(kernels, found):
            faster = self._faster(point, *other)
            if faster is not None:
                built, (found, point) = other, faster
        if self.inside != built:
            found = self._compiled(*built)
        together = self.maker.together(found.program, found.emitted)
        curve = self._curve(points, sizes[best] - points[best].flash_bytes, best, point)
        budget = FlashBudget(self.limit, len(sizes), point.cycles_predicted, curve)
        return replace(found, manifest=replace(found.manifest, network=together, flash_budget=budget))

    def _others(self, kernels: Kernels, found: Compiled) -> Iterator[_Built]:
        """What may be faster than a choice, though it was not measured.

        First the same kernels where their arena leaves more scratch. Then those of a build without a limit: sizes of
        choices are estimated, and no kernel by name mixes the weights of experts filter by filter.

        Args:
            found: the choice's firmware.
        """
        streaming = self.streaming
        if streaming is not None and found.program.arena_bytes > (streaming.scratch_bytes or math.inf):
            yield kernels, replace(streaming, scratch_bytes=None)
        program = self.maker.lowered(streaming)
        if kernels != [{_name_of(one): one.step.kernel.name for one in all_layers(each)} for each in program.programs]:
            yield None, streaming

    def _faster(
        self, than: FlashPoint, kernels: Kernels | None, streaming: Streaming | None
    ) -> tuple[Compiled, FlashPoint] | None:
        """That firmware and its figures, if it fits the limit and is faster."""
        try:
            found = self._compiled(kernels, streaming)
        except FitError:
            return None
        if found.result.flash_bytes > self.limit:
            return None
        ways = {(layer.switch, layer.name): layer.way for layer in self.layers}
        cycles = self._cycles(found)
        total = cycles_at_worst([ways.get(key, ()) for key in cycles], list(cycles.values()))
        return (found, FlashPoint(found.result.flash_bytes, total)) if total < than.cycles_predicted else None

    @staticmethod
    def _curve(points: Sequence[Point], rest: int, best: int, chosen: FlashPoint) -> tuple[FlashPoint, ...]:
        """Bytes and cycles of the points, or some of them, and of what was chosen.

        Args:
            rest: bytes outside the measured parts, which are nearly equal for all choices.
            best: the fastest point that fits.
            chosen: that point, or the firmware of a build without a limit.
        """
        some = sorted({*range(0, len(points), -(-len(points) // _CURVE)), best, len(points) - 1})
        found = [FlashPoint(points[i].flash_bytes + rest, points[i].cycles) for i in some]
        size, cycles = chosen.flash_bytes, chosen.cycles_predicted
        smaller = [one for one in found if one.flash_bytes < size and one.cycles_predicted > cycles]
        faster = [one for one in found if one.flash_bytes > size and one.cycles_predicted < cycles]
        return (*smaller, chosen, *faster)

    def _options(self, index: int) -> list[Option]:
        found = []
        for which in range(len(self.layers[index].kernels)):
            option = self.measured.options.get((index, which))
            if option is not None:
                helpers = self.measured.helpers.parts(self.measured.callers[index, which])
                found.append(replace(option, parts={**option.parts, **helpers}))
        return found

    def _starts(self, options: Sequence[Sequence[Option]]) -> list[list[int]]:
        """The choices of family "compact" and of the one asked for; what does not fit the board is left out."""
        found = []
        for wanted in ([layer.compact for layer in self.layers], [layer.default for layer in self.layers]):
            names = [layer.kernels[index] for layer, index in zip(self.layers, wanted, strict=True)]
            pairs = zip(names, options, strict=True)
            found.append([next((i for i, o in enumerate(row) if o.kernel == name), 0) for name, row in pairs] + [0])
        return found

    def _measure_all(self) -> None:
        """Measures every kernel once: the compact ones, then the first of every layer, then the second, and so on."""
        if self.measured.has_db is not None:
            self.has_db, self.streaming = self.measured.has_db, self.measured.streaming
            return
        count = max((len(layer.kernels) for layer in self.layers), default=1)
        self.step("measuring kernels", 0, count + 1)
        self._measure({})
        self.measured.streaming = self.streaming
        count = max((len(layer.kernels) for layer in self.layers), default=1)
        for which in range(count):
            self.step("measuring kernels", which + 1, count + 1)
            wanted = {i: which for i, layer in enumerate(self.layers) if which < len(layer.kernels)}
            self._measure({i: k for i, k in wanted.items() if (i, k) not in self.measured.options})
        self.measured.has_db = self.has_db
        _KNOWN[self.key] = self.measured
        for key in list(_KNOWN)[:-_KEPT]:
            del _KNOWN[key]

    def _measure(self, wanted: Mapping[int, int]) -> None:
        """One firmware with these kernels, compact ones elsewhere; or several, where that does not fit the board.

        Raises:
            FitError: the compact ones do not fit.
        """
        if self.measured.options and not wanted:
            return
        try:
            if self.streaming is not None and self.streaming.striped is None:
                self._settle(self.streaming)
            self._record(wanted, self._compiled(self._names(wanted), self.streaming))
        except FitError as error:
            if self.has_db and error.excess.get("RAM"):
                self.has_db = False
                self._measure(wanted)
            elif len(wanted) > 1:
                items = list(wanted.items())
                half = len(items) // 2
                self._measure(dict(items[:half]))
                self._measure(dict(items[half:]))
            elif wanted:
                self.measured.options |= dict.fromkeys(wanted.items())
            else:
                raise

    def _settle(self, streaming: Streaming) -> None:
        """Decides for all firmwares whether they are in stripes, and up to which bytes their layers get scratch.

        A layer takes more code and more cycles in stripes. Whether stripes need less memory, and how much of it is free
        for scratch, depends on the kernels: if each firmware chose for itself, layers of one would say nothing about
        those of another. Within a limit of the arena, both are those of the build without a limit of flash: its kernels
        fit, so others are measured beside them. The smallest arena has the stripes of the compact kernels, and scratch
        reaches as far as the usual build's arena.
        """
        usual = self.maker.lowered(streaming)
        if streaming.arena_bytes is not None:
            self._begin_with(usual)
            self.streaming = replace(streaming, striped=any(one.streamed is not None for one in usual.programs))
            return
        compact = self.maker.lowered(streaming, kernels=self._names({}))
        striped = any(one.streamed is not None for one in compact.programs)
        scratch = max(compact.arena_bytes, usual.arena_bytes)
        self.streaming = replace(streaming, striped=striped, scratch_bytes=scratch)

    def _begin_with(self, program: NetworkProgram) -> None:
        """Takes the program's kernels instead of the compact ones where one layer's other kernels are measured."""
        kernels = {
            (number, _name_of(layer)): layer.step.kernel.name
            for number, one in enumerate(program.programs)
            for layer in all_layers(one)
        }
        for index, layer in enumerate(self.layers):
            name = kernels.get((layer.switch, layer.name), layer.kernels[layer.compact])
            names = layer.kernels if name in layer.kernels else (*layer.kernels, name)
            self.layers[index] = layer._replace(kernels=names, compact=names.index(name))

    def _record(self, wanted: Mapping[int, int], compiled: Compiled) -> None:
        parts, cycles = self._parts(compiled), self._cycles(compiled)
        measured, callers = self.measured, _callers(compiled)
        for index, layer in enumerate(self.layers):
            which = wanted.get(index, layer.compact)
            key = layer.switch, layer.name
            measured.callers.setdefault((index, which), callers.get(key, set()))
            found = Option(layer.kernels[which], cycles.pop(key, 0), parts.pop(key, {}))
            if measured.options.get((index, which)) is None:
                measured.options[index, which] = found
        # The rest belongs to no layer: operators that striping adds, and the difference from the total.
        everything = {k: n for one in self._parts(compiled).values() for k, n in one.items()}
        added = sum({k: n for one in parts.values() for k, n in one.items()}.values())
        rest = compiled.result.flash_bytes - sum(everything.values()) - measured.helpers.record(compiled) + added
        measured.rest_bytes = max(measured.rest_bytes, rest)
        measured.rest_cycles = measured.rest_cycles or sum(cycles.values())

    def _parts(self, compiled: Compiled) -> dict[tuple[int, str], dict[Hashable, int]]:
        """Bytes of functions and constants, by switch and layer."""
        sizes = code_sizes(compiled.emitted, compiled.result)
        found: dict[tuple[int, str], dict[Hashable, int]] = {}
        for number, (program, switch) in enumerate(
            zip(compiled.program.programs, compiled.emitted.switches, strict=True)
        ):
            for layer in all_layers(program):
                one = layer.step
                parts = found.setdefault((number, _name_of(layer)), {})
                parts[_function_key(one)] = _aligned(sizes.get(switch.functions[layer.number], 0))
                for constant in constants_of(one):
                    parts[array_key(constant)] = _aligned(constant.data.nbytes)
        return found

    def _cycles(self, compiled: Compiled) -> dict[tuple[int, str], int]:
        """Cycles of one inference of each switch, by layer; "" for cycles outside all layers."""
        found: dict[tuple[int, str], int] = {}
        programs = compiled.program.programs
        predicted = sum(step.plan.cycles for program in programs for step in program.layers)
        runs = predicted <= _MOST_CYCLES
        manifest = compiled.manifest
        if runs:
            manifest = with_profiles(manifest, self.folder, compiled.program, self.maker.board)
        for number, program in enumerate(programs):
            profile = manifest.switches[number].profile if manifest.switches else manifest.profile
            cycles = None if profile is None else [layer.cycles_predicted for layer in profile.layers]
            if runs and has_branches(program):
                # Of each layer, not only of those that ran.
                cycles = cycles_at_most(manifest, self.folder, number, program) or cycles
            for layer in all_layers(program):
                key = number, _name_of(layer)
                found[key] = found.get(key, 0) + (_estimated(layer) if cycles is None else cycles[layer.number])
            if profile is not None:
                found[number, ""] = profile.cycles_predicted - sum(one.cycles_predicted for one in profile.layers)
        return found

    def _linked(self, point: Point, options: Sequence[Sequence[Option]]) -> Compiled | int | None:
        """Links a point: the firmware, or the bytes that it would need; None if RAM is too small."""
        try:
            return self._compiled(self._kernels(point, options), self.streaming)
        except FitError as error:
            excess = error.excess.get("FLASH")
            return None if excess is None else self.maker.board.flash_bytes + excess

    def _compiled(self, kernels: Kernels | None, streaming: Streaming | None) -> Compiled:
        self.inside = None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        program = self.maker.lowered(streaming, kernels=kernels)
        found = self.maker.compiled(program, self.folder, has_db=self.has_db, alone=False)
        self.inside = kernels, streaming
        return found

    def _names(self, wanted: Mapping[int, int]) -> Kernels:
        names: Kernels = [{} for _ in self.maker.network.switches]
        for index, layer in enumerate(self.layers):
            names[layer.switch][layer.name] = layer.kernels[wanted.get(index, layer.compact)]
        return names

    def _kernels(self, point: Point, options: Sequence[Sequence[Option]]) -> Kernels:
        names: Kernels = [{} for _ in self.maker.network.switches]
        for layer, of_layer, chosen in zip(self.layers, options, point.chosen[:-1], strict=True):
            names[layer.switch][layer.name] = of_layer[chosen].kernel
        return names

    def _misfit(self, smallest: Point, options: Sequence[Sequence[Option]], size: int | None) -> FitError:
        needed = smallest.flash_bytes if size is None else size
        rows = [
            (sum(of_layer[chosen].parts.values()), layer)
            for layer, of_layer, chosen in zip(self.layers, options, smallest.chosen[:-1], strict=True)
        ]
        switches = self.maker.network.switches
        largest = ", ".join(
            f"{layer.name}{f' of switch {switches[layer.switch].name}' if len(switches) > 1 else ''} ({count:,} bytes)"
            for count, layer in sorted(rows, key=lambda row: -row[0])[:_SHOWN]
        )
        return FitError(
            f"the firmware does not fit {self.limit:,} bytes of flash: the smallest that was found takes {needed:,}; "
            f"largest layers in it, code and constants: {largest}",
            where=f"--flash {self.limit}",
            fix=f"Give --flash at least {needed}, or take a smaller or more strongly quantized model.",
            excess={"FLASH": needed - self.limit},
        )


def _layers(maker: Maker, *, coded: bool) -> list[_Layer]:
    found: dict[tuple[int, str], _Layer] = {}
    for number, switch in enumerate(maker.network.switches):
        for way, family, node in _nodes(switch.graph, maker.family, maker.isa):
            # Those in branches do not have their weights as code.
            of_node = shortlist(node, family, maker.isa, coded=coded and not way)
            layer = _Layer(number, node.op.name, of_node.kernels, of_node.compact, of_node.default, way)
            found.setdefault((number, node.op.name), layer)
    return list(found.values())


def _nodes(graph: Graph, family: str, isa: Sequence[str], way: Way = ()) -> Iterator[tuple[Way, str, Node]]:
    """Layers of a graph and of its branches: the branches that they lie in, their family of kernels."""
    for node in fuse(graph, family, isa).nodes():
        op = node.op
        if not isinstance(op, Branch):
            yield way, family, node
            continue
        for number in range(len(op.branches)):
            yield from _nodes(named_branch(op, number), family_within(family), isa, (*way, (op.name, number)))


def _callers(compiled: Compiled) -> dict[tuple[int, str], set[Caller]]:
    """The kernels of each switch's layers: of a layer in stripes, some may be others."""
    found: dict[tuple[int, str], set[Caller]] = {}
    for number, program in enumerate(compiled.program.programs):
        for layer in all_layers(program):
            found.setdefault((number, _name_of(layer)), set()).add(Caller.of(layer))
    return found


def _estimated(layer: Layer) -> int:
    """Cycles of a kernel; of a branch without the layers in it."""
    return round(layer.step.plan.cycles if layer.branch is None else CHOOSING)


def _name_of(layer: Layer) -> str:
    """Name of the model's layer; the operator that selects a branch has none of its own."""
    return layer_of(layer.step.node.op.name) if layer.branch is None else layer.name


def _function_key(step: Step) -> Hashable:
    """Equal for what the writer writes down once."""
    plan: KernelPlan = step.plan
    types = tuple((c.name, c.data.dtype.name, c.fields) for c in constants_of(step))
    return plan.template, json.dumps(plan.context, sort_keys=True), types, bool(plan.scratch_bytes)


def _aligned(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT
