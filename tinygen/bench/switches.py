"""Suite `switches`: what each switch of a network of six and of one of eight switches costs; nothing is trained.

The networks are those of `tinygen.apps.digits`: three convolutions and a dense layer on digits.
That of eight has XNOR-Net's order of layers, as activations of 1 bit ask for it, and a tanh in front of each quantizer.
A few batches of noise give weights, batch norms and ranges: cycles hardly depend on what a network has learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tinygen.bench.case import Case, encoding_of
from tinygen.bench.figures import markdown_table
from tinygen.bench.suites import Section, SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.network import Network

if TYPE_CHECKING:
    from torch import Tensor

    from tinygen.nn.switchable import SwitchSpec

SUITE = "switches"
BITS: Mapping[str, tuple[int, ...]] = {"six": (8, 4, 2), "eight": (8, 4, 2, 1)}
"""Of weights and activations, by the case's name; each in full and in half width."""
WIDTHS = (1.0, 0.5)
_BATCHES, _BATCH, _RATE = 4, 16, 1e-3
_INNER_LAYER = 1
_Row = dict[str, Any]


@suite(
    SUITE,
    "networks of six and of eight switches: cycles of each (seconds; needs torch)",
    ("compact", "tinygen"),
    report=lambda rows: sections(rows),
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch is not installed.
    """
    wanted = [name for name in BITS if options.wanted(name)]
    with needs_packages(SUITE, fix="pip install 'tinygen[torch]'"):
        found = [_case(name) for name in wanted]
    return SuiteCases(found, unwanted=[name for name in BITS if name not in wanted])


def _case(name: str) -> Case:
    network = untrained(name)
    graphs = [switch.graph for switch in network]
    macs = sum(node.op.macs(node) for graph in graphs for node in graph.nodes())
    figures = {"switch_bits": {spec.name: [spec.weight_bits, spec.width] for spec in specs_of(name)}}
    model = MemoryModel(network, f"{name} switches")
    encoding = encoding_of(graphs[0], _INNER_LAYER)
    return Case(SUITE, name, model, f"{len(graphs)} switches", encoding, macs, figures=figures)


def specs_of(name: str) -> list[SwitchSpec]:
    """The switches of a case, widest and most bits first."""
    from tinygen.nn.switchable import SwitchSpec

    return [SwitchSpec(bits, bits, width) for width in WIDTHS for bits in BITS[name]]


def untrained(name: str) -> Network:
    """A network of this case's switches, always the same."""
    import torch

    from tinygen.apps.digits.lowbit import DIGITS
    from tinygen.apps.digits.switchable import float_network
    from tinygen.frontends.torch import export_switches
    from tinygen.nn.switchable import switchable, train_switchable

    network = switchable(float_network(0) if 1 in BITS[name] else DIGITS.network(0), specs_of(name))
    optimizer = torch.optim.Adam(network.parameters(), _RATE)
    train_switchable(network, _noise(), optimizer)
    return export_switches(network.eval(), torch.rand(1, 1, 28, 28), name=f"{name}_switches")


def _noise() -> Iterator[tuple[Tensor, Tensor]]:
    """Images and classes."""
    import torch

    chance = torch.Generator().manual_seed(0)
    for _ in range(_BATCHES):
        images = torch.rand(_BATCH, 1, 28, 28, generator=chance)
        yield images, torch.randint(0, 10, (_BATCH,), generator=chance)


def sections(rows: Sequence[_Row]) -> list[Section]:
    """Cycles of all switches, and which of few bits are slow."""
    table = switch_cycles_markdown(rows)
    slow = dearer_switches(rows) or ["Fewer bits never take more cycles than more bits at the same width."]
    return [Section("Cycles of each switch", tables=[table], statements=slow)] if table else []


def switch_cycles_markdown(rows: Sequence[_Row]) -> str:
    """Cycles of every switch, boards and kernel families side by side; "" where no row is of the suite."""
    mine = _mine(rows)
    names = {_network(row): list(row["switch_cycles"]) for row in mine}
    places = list(dict.fromkeys(map(_place, mine)))
    if not places:
        return ""
    lines = []
    for network, switches in names.items():
        found = {_place(row): row["switch_cycles"] for row in mine if _network(row) == network}
        for switch in switches:
            cells = (f"{found[place][switch]:,}" if place in found else "" for place in places)
            lines.append([network, switch, *cells])
    return markdown_table(["switches", "switch", *(", ".join(place) for place in places)], lines, 2)


def dearer_switches(rows: Sequence[_Row]) -> list[str]:
    """Switches that cost more than one of more bits and the same width, as sentences; none should."""
    found = []
    for row in _mine(rows):
        cycles = row["switch_cycles"]
        for few, (bits, width) in row["switch_bits"].items():
            for many, (others, same) in row["switch_bits"].items():
                if bits < others and width == same and cycles[few] > cycles[many]:
                    place = ", ".join((_network(row), *_place(row)))
                    found.append(f"{place}: {few} takes {cycles[few]:,} cycles, {many} {cycles[many]:,}")
    return found


def _mine(rows: Sequence[_Row]) -> list[_Row]:
    return [row for row in rows if row["suite"] == SUITE and not row["error"]]


def _network(row: _Row) -> str:
    return str(row["case"]).partition("@")[0]


def _place(row: _Row) -> tuple[str, str, str]:
    return row["board"], row["kernels"], row["toolchain"]
