"""Network to programs: one per switch, which share arena and flash."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.thresholds import full_name, thresholds_of
from tinygen.lowering.code_budget import CODE_BYTES, coded_in_all
from tinygen.lowering.lower import choose_kernels, limited, lower, lower_chosen
from tinygen.lowering.planner import ALIGNMENT, aligned
from tinygen.lowering.program import Io, Program
from tinygen.lowering.scratch_search import Prefer
from tinygen.lowering.streaming import Streaming
from tinygen.lowering.vendor import VendorLibrary

STATE_BYTES = ALIGNMENT
"""What stands at the arena's start of a network that can be switched, without thresholds: the switch, and padding."""
_WORD = 4
_TAKEN = re.compile(
    r"switches|layers|arena_.*|no_.*|(input|output|ladder)(_.*)?|h|build_id|(build|kernels|weights|ladder)_h"
)
"""Names that the C gives to something else: `NAME_SWITCHES`, `NAME_NO_SUCH_SWITCH`."""


@dataclass(frozen=True, eq=False)
class SwitchProgram:
    """One switch of a network, ready for `emit`."""

    name: str
    program: Program


@dataclass(frozen=True, eq=False)
class NetworkProgram:
    """A network ready for `emit`.

    Attributes:
        name: of the network, in C.
        switches: in the network's order. Only one uses the arena at a time, from the end of the network's state on.
    """

    name: str
    switches: tuple[SwitchProgram, ...]

    @staticmethod
    def of(program: Program) -> NetworkProgram:
        """A network of a single program."""
        return NetworkProgram(program.graph.name, (SwitchProgram("only", program),))

    @property
    def is_switchable(self) -> bool:
        return len(self.switches) > 1

    @property
    def first(self) -> Program:
        return self.switches[0].program

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(switch.name for switch in self.switches)

    @property
    def programs(self) -> tuple[Program, ...]:
        return tuple(switch.program for switch in self.switches)

    def __iter__(self) -> Iterator[SwitchProgram]:
        return iter(self.switches)

    @property
    def state_bytes(self) -> int:
        """Bytes from the arena's start to the programs' offset 0."""
        graphs = [program.graph for program in self.programs]
        return aligned(_state_bytes(graphs), max(ALIGNMENT, self.alignment)) if self.is_switchable else 0

    @property
    def alignment(self) -> int:
        """The arena's, in bytes."""
        return max(program.alignment for program in self.programs)

    @property
    def kept_bytes(self) -> int:
        """Bytes kept between invocations, of the switch that keeps most."""
        return max(program.state_bytes for program in self.programs)

    @property
    def arena_bytes(self) -> int:
        """Bytes of the network's state and of the switch that needs most."""
        return self.state_bytes + max(program.memory.arena_bytes for program in self.programs)


def lower_network(
    network: Network,
    *,
    family: str = "tinygen",
    isa: Collection[str] = ("c99",),
    library: VendorLibrary | None = None,
    streaming: Streaming | None = None,
    code_bytes: int = CODE_BYTES,
    io: Io = Io.ARENA,
    kernels: Sequence[Mapping[str, str]] | None = None,
    prefer: Prefer | None = Prefer.BALANCE,
) -> NetworkProgram:
    """Lowers every switch; arguments and errors are those of `lower`.

    Args:
        network: of validated graphs, after the passes.
        streaming: a limit holds for the whole arena, the state included.
        code_bytes: the most code that may stand for weights, in all layers of all switches together.
        io: where inputs and outputs lie.
        kernels: of each switch, by the layer's name; see `lower`.
        prefer: of a network without switches; see `lower`.

    Raises:
        UnsupportedError: buffers of the caller for a switchable network.
        ModelError: a switch has a name that the generated C uses, or two thresholds have the same C name.
    """
    if not network.is_switchable:
        return NetworkProgram.of(
            lower(
                network.first,
                family=family,
                isa=isa,
                library=library,
                streaming=streaming,
                code_bytes=code_bytes,
                io=io,
                kernels=None if kernels is None else kernels[0],
                prefer=prefer,
            )
        )
    if io == Io.CALLER:
        raise UnsupportedError(
            "a network with several switches has its inputs and outputs in the arena",
            where=network.name,
            fix="Leave out --io caller, or build one switch alone.",
        )
    _check_names(network)
    if streaming is not None:
        streaming = streaming.less(aligned(_state_bytes([switch.graph for switch in network]), ALIGNMENT))
    named = [None] * len(network.switches) if kernels is None else kernels
    chosen = [choose_kernels(switch.graph, family, isa, one) for switch, one in zip(network, named, strict=True)]
    # Each stripe of a layer would have a copy of its code.
    budget = 0 if streaming else code_bytes
    coded = coded_in_all([(one.graph, one.choices) for one in chosen], budget)
    switches = []
    for switch, one, names in zip(network, chosen, coded, strict=True):
        try:
            program = limited(one, names, library, streaming) if streaming else lower_chosen(one, names, library, None)
            switches.append(SwitchProgram(switch.name, program))
        except TinygenError as error:
            error.where = f"switch '{switch.name}'" + (f": {error.where}" if error.where else "")
            raise
    return NetworkProgram(network.name, tuple(switches))


def _state_bytes(graphs: Sequence[Graph]) -> int:
    """Bytes at the arena's start of a switchable network: the current switch, and all thresholds."""
    return _WORD * (1 + sum(len(thresholds_of(graph)) for graph in graphs))


def _check_names(network: Network) -> None:
    for switch in network:
        if _TAKEN.fullmatch(switch.name):
            raise ModelError(
                f"a switch cannot be called '{switch.name}': the C gives {network.name.upper()}_{switch.name.upper()} "
                "to something else",
                where=network.name,
                fix="Name it after its bits, as w4a4.",
            )
    taken = {switch.name.upper() for switch in network}
    for switch in network:
        for one in thresholds_of(switch.graph):
            name = full_name(switch.name, one.name)
            if name in taken:
                raise ModelError(
                    f"two thresholds, or a threshold and a switch, are called {name} in the C",
                    where=f"{network.name}, switch '{switch.name}'",
                    fix="Give thresholds other names.",
                )
            taken.add(name)
