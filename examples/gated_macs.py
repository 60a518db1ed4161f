"""What gates save in M-CifarNet, counted in the graphs: feature boosting and suppression, and mixed weights with it."""

import sys
from fractions import Fraction
from pathlib import Path

from tinygen.bench.gated_networks import EXPERTS, IMAGE, M_CIFAR_NET, Method, gated_network
from tinygen.ir.gated import GatedMacs, gated_layers, gated_macs, macs_at

DENSITIES = ("1.0", "0.9", "0.7", "0.5", "0.3", "0.25")


def counts(density: str, experts: int) -> tuple[float, GatedMacs]:
    """Millions of MAC with densities that are not rounded to channels, and what the graph executes."""
    kept = Fraction(density)
    graph = gated_network("m_cifar_net", M_CIFAR_NET, IMAGE, Method(kept, experts))
    return float(macs_at(gated_layers(graph), kept)) / 1e6, gated_macs(graph)


def main(out: Path) -> None:
    static = gated_network("m_cifar_net", M_CIFAR_NET, IMAGE, Method())
    mixing = gated_macs(gated_network("m_cifar_net", M_CIFAR_NET, IMAGE, Method(experts=EXPERTS)))
    print(f"static: {sum(node.op.macs(node) for node in static.nodes()) / 1e6:.1f} million MAC")
    print(f"CondConv: {mixing.executed / 1e6:.1f}, of them {mixing.mixing / 1e6:.2f} for mixing")
    print("density   FBS: thesis, executed   FBS + CondConv: thesis, executed, of them mixing and gates")
    for density in DENSITIES:
        (alone, fbs), (both, mixed) = counts(density, 0), counts(density, EXPERTS)
        parts = f"{mixed.mixing / 1e6:.2f} {mixed.gates / 1e6:.2f}"
        print(
            f"{density:>7} {alone:8.1f} {fbs.executed / 1e6:8.1f} {both:12.1f} {mixed.executed / 1e6:8.1f} {parts:>12}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples"))
