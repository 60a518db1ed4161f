"""Half of the filters leave a float network, three quarters of the kernels become zeros; then int8, and the board."""

import sys
from pathlib import Path

import digits

import tinygen
from tinygen.compress import apply_masks, filter_masks, groups, prune_by_magnitude, slim, weight_norm


def main(out: Path, epochs: int = 4) -> None:
    (x, y), _ = digits.load()
    network = digits.train(digits.float_network(filters=16), x, y, epochs)
    whole = tinygen.export(network, x[:1], x[:200], name="whole")

    halves = filter_masks(weight_norm(network), 0.5, groups=groups(network, x[:1]))
    network = digits.train(slim(network, x[:1], halves), x, y, epochs)
    apply_masks(network, prune_by_magnitude(network, 0.75, level="kernel", scope="layer", exclude=("0", "7")))
    digits.train(network, x, y, epochs)  # what is masked stays zero
    pruned = tinygen.export(network, x[:1], x[:200], name="pruned")

    for graph in (whole, pruned):
        built = tinygen.build(graph, out / graph.name, board="f746zg")
        cycles = tinygen.run(built.folder, x[:1].numpy(), layout="nchw").as_json()["cycles_predicted"]
        print(f"{graph.name}: flash {built.manifest.flash_bytes:,} B, {cycles:,} cycles predicted")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples"))
