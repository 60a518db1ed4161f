"""Leaves each kernel out and tells what that costs: `python -m tests.kernels.needed`.

Over the layers of the bench's suites and four cores: how often each of our kernels is chosen, with weights as code and
without, and how many times its cycles and its weights' bytes what would be chosen instead takes, at most, by the
plans' own predictions. A kernel that is never chosen, or wins little everywhere, needs a reason in its docstring.
Nothing is compiled, and layers are alone: fused and packed ones, those of mixed or boosted filters and of weights that
switches share are not among them. Nor have suites layers with kernel scales, over whole windows, of one to three
outputs, sums of integer codes or of bits, and 16x8 weights of few values. Of operators that share a kernel (sums and
differences, maxima and minima, tables of functions) one is there.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygen.bench.registry import find_suite
from tinygen.bench.suites import SuiteOptions
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_network
from tinygen.ir.ops.base import Node
from tinygen.lowering.plan import Kernel, registered_kernels
from tinygen.lowering.select import Alternatives, alternatives, best_of, flash_of
from tinygen.passes.pipeline import simplify
from tinygen.targets.bare_cores import board_or_core

SUITES = ("int8-kernels", "sparse", "lowbit", "lowbit-shapes", "pairs", "operators", "gated", "switches")
CORES = ("f746zg", "netduinoplus2", "esp32c3", "cortex-m0plus")
_LITTLE = 1.03
_MUCH = 0.9
"""Flash counts where the next is not much faster."""


@dataclass
class Use:
    """How often a kernel is chosen, how often nothing but plain loops is left, and what the next takes at most."""

    chosen: int = 0
    alone: int = 0
    cycles: float = 0.0
    flash: float = 0.0
    where: str = ""

    @property
    def verdict(self) -> str:
        if not self.chosen:
            return "never chosen"
        return "" if self.alone or max(self.cycles, self.flash) >= _LITTLE else "wins little"


def uses(suites: Sequence[str], cores: Sequence[str]) -> dict[Kernel, Use]:
    """Of every kernel of ours that some core can run."""
    isas = {core: board_or_core(core).isa for core in cores}
    found: dict[Kernel, Use] = defaultdict(Use)
    for kernel in registered_kernels():
        if kernel.family == "tinygen" and any(kernel.suits(isa) for isa in isas.values()):
            found[kernel] = Use()
    for label, node in _layers(suites):
        for core, isa in isas.items():
            for coded in (True, False):
                _count(found, f"{label} on {core}", _alternatives(node, isa, coded=coded))
    return found


def _layers(suites: Sequence[str]) -> Iterator[tuple[str, Node]]:
    for name in suites:
        for case in find_suite(name).cases(SuiteOptions()).cases:
            for switch in load_network(case.model).switches:
                yield from ((case.name, node) for node in simplify(switch.graph).nodes())


def _alternatives(node: Node, isa: Sequence[str], *, coded: bool) -> Alternatives | None:
    try:
        return alternatives(node, "tinygen", isa, coded=coded)
    except TinygenError:
        return None


def _count(found: dict[Kernel, Use], label: str, among: Alternatives | None) -> None:
    """Counts what is chosen where flash is plenty, and where it is short."""
    for chosen in {} if among is None else {one.kernel: one for one in (among.usual[0], among.usual[-1])}.values():
        use = found[chosen.kernel]
        others = [one for one in among.choices if one.kernel is not chosen.kernel] if among else []
        use.chosen += 1
        if all(one.kernel.family == "reference" for one in others):
            use.alone += 1
        if others:
            next_best = best_of(others, "tinygen")
            cycles = next_best.fastest.cycles / max(chosen.fastest.cycles, 1.0)
            use.flash = max(use.flash, flash_of(next_best) / max(flash_of(chosen), 1)) if cycles > _MUCH else use.flash
            if cycles > use.cycles:
                use.cycles, use.where = cycles, f"{label}, then {next_best.kernel.name}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.needed", description=__doc__)
    parser.add_argument("--suite", action="append", metavar="NAME", help=f"default: {', '.join(SUITES)}; repeatable")
    parser.add_argument("--core", action="append", metavar="NAME", help=f"default: {', '.join(CORES)}; repeatable")
    options = parser.parse_args(arguments)
    found = uses(options.suite or SUITES, options.core or CORES)
    print(f"{'kernel':46} {'chosen':>6} {'alone':>6} {'cycles':>7} {'flash':>7}")
    own = [(kernel, use) for kernel, use in found.items() if kernel.family == "tinygen"]
    for kernel, use in sorted(own, key=lambda item: (not item[1].verdict, max(item[1].cycles, item[1].flash))):
        figures = f"{use.chosen:6} {use.alone:6} {use.cycles:7.2f} {use.flash:7.2f}"
        print(f"{kernel.name:46} {figures}  {use.verdict or use.where}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
