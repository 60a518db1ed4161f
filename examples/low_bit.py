"""A network of 2-bit weights and activations: trained with tinygen.nn, built, proved on the emulated board."""

import sys
from pathlib import Path

import digits

import tinygen
import tinygen.nn as qn
from tinygen.api import hil


def main(out: Path, epochs: int = 6) -> None:
    (x, y), (test_x, test_y) = digits.load()
    network = qn.convert(digits.float_network(), "w2a2")  # first and last layer keep 8 bits
    digits.train(network, x, y, epochs)

    graph = tinygen.export(network, x[:1], name="digits_w2a2")
    built = tinygen.build(graph, out / "low_bit", board="f746zg")
    print(f"flash {built.manifest.flash_bytes:,} B, RAM {built.manifest.ram_bytes:,} B")

    report = hil(built.folder, {"x": test_x[:20].numpy(), "y": test_y[:20].numpy()}, layout="nchw")
    (found,) = report.content["switches"]
    print(f"passed: {report.passed}; accuracy {found['accuracy']['correct']} of {found['accuracy']['of']}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples"))
