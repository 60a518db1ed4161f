"""Suite `flash`: trained digit networks within limits of flash: what the firmware takes, and how fast it is.

Three networks of seed 0: with ternary weights, which may become instructions (`apps.digits.lowbit`); a residual
network of whose 3x3 kernels three quarters are zero (`training`); and one of eight switches, whose weights
may be shared (`apps.digits.switchable`). A case per limit. Cycles of the last are those of all its switches together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tinygen.bench.case import Case, encoding_of
from tinygen.bench.suites import Row, Section, SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.builds.flash_curve import flash_curve
from tinygen.builds.pages import page_environment
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.network import Network

SUITE = "flash"
SEED = 0
LIMITS: Mapping[str, tuple[int, ...]] = {
    "ternary": (29, 30, 32, 36, 44, 56, 72, 88),
    "pruned": (45, 46, 47, 48),
    "switchable": (112, 120, 144, 176),
}
"""KiB, of each network: from about its smallest firmware to about the fastest, on a Cortex-M7."""
_METHOD, _RATIO = "magnitude", 0.75
_INNER_LAYER = 1
_NOTE = "Firmwares built within limits of flash. Of networks with switches, cycles are those of all of them together."


@suite(
    SUITE,
    "trained networks within limits of flash (twenty minutes; needs torch)",
    ("tinygen",),
    report=lambda rows: sections(rows),
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch, mlxtend, or a package of the extra `compress` is not installed.
    """
    names = {network: [case_name(network, limit) for limit in limits] for network, limits in LIMITS.items()}
    wanted = [network for network, of_network in names.items() if any(map(options.wanted, of_network))]
    found: list[Case] = []
    for done, network in enumerate(wanted):
        if options.progress:
            options.progress("training", done, len(wanted))
        found += limit_cases(network, _trained(network), LIMITS[network])
    made = {case.name for case in found}
    return SuiteCases(found, unwanted=[name for one in names.values() for name in one if name not in made])


def limit_cases(name: str, network: Network, limits: Sequence[int]) -> list[Case]:
    """A case per limit in KiB."""
    graphs = [switch.graph for switch in network]
    count = f", {len(graphs)} switches" if network.is_switchable else ""
    return [
        Case(
            SUITE,
            case_name(name, limit),
            MemoryModel(network if network.is_switchable else network.first, name),
            f"{name}{count}, {limit} KiB",
            encoding_of(graphs[0], min(_INNER_LAYER, len(graphs[0].ops) - 1)),
            sum(node.op.macs(node) for graph in graphs for node in graph.nodes()),
            figures={"network": name, "flash_limit_bytes": 1024 * limit},
            flash_bytes=1024 * limit,
        )
        for limit in limits
    ]


def case_name(network: str, limit: int) -> str:
    return f"{network}-{limit}k"


def sections(rows: Sequence[Row]) -> list[Section]:
    """Flash against cycles, a curve for each network."""
    groups: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for row in rows:
        if row["instructions"] is not None:
            key = row["network"], row["kernels"], row["toolchain"]
            groups.setdefault(key, []).append((row["flash_bytes"], row["cycles_predicted"]))
    return [
        Section(f"Flash against cycles: {', '.join(key)}", _NOTE, picture=partial(_picture, sorted(points)))
        for key, points in groups.items()
    ]


def _picture(points: list[tuple[int, int]]) -> str:
    return page_environment().get_template("flash_curve.svg.j2").render(curve=flash_curve(points))


def _trained(name: str) -> Network:
    makers: Mapping[str, Callable[[], Network]] = {
        "ternary": _ternary,
        "pruned": _pruned,
        "switchable": _switchable,
    }
    with needs_packages(SUITE, fix="pip install 'tinygen[compress]' mlxtend"):
        return makers[name]()


def _ternary() -> Network:
    from tinygen.apps.digits import lowbit as training
    from tinygen.frontends.torch import export

    train, _ = training.load_digits()
    start = training.train_start(train, SEED, training.START_EPOCHS)
    network = training.train_on(start, training.REGIMES["ternary"], train, SEED, training.EPOCHS)
    return Network.of(export(network, train.tensors()[0][:1], name="digits_ternary"))


def _pruned() -> Network:
    from examples.studies.pruning import training
    from examples.studies.pruning.methods import METHODS
    from tinygen.apps.digits.lowbit import halved, load_digits
    from tinygen.frontends.torch import export

    train, _ = load_digits()
    start = training.train_start(halved(train), SEED, training.START_EPOCHS, training.EPOCHS)
    method = next(one for one in METHODS if one.name == _METHOD)
    network = method.make(start, _RATIO).finished()
    return Network.of(export(network, start.example, calibration=start.held[0][::2], name="digits_pruned"))


def _switchable() -> Network:
    from tinygen.apps.digits import switchable as training
    from tinygen.apps.digits.lowbit import load_digits
    from tinygen.frontends.torch import export_switches

    train, _ = load_digits()
    module = training.train_switches(
        training.train_start(train, SEED, epochs=training.START_EPOCHS),
        [*training.SWITCHES, training.FLOAT],
        train,
        SEED,
        distillation=training.DISTILLATION,
        epochs=training.EPOCHS,
    )
    return export_switches(module, train.tensors()[0][:1], name="digits_switchable")
