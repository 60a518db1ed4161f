"""One firmware that changes its precision between two inferences: all switches trained together, weights shared."""

import sys
from pathlib import Path

import digits
import torch

import tinygen
from tinygen.nn.switchable import SwitchSpec, switchable, train_switchable


def main(out: Path, epochs: int = 4) -> None:
    (x, y), (test_x, test_y) = digits.load()
    network = switchable(digits.float_network(), [SwitchSpec(8, 8), SwitchSpec(2, 2), SwitchSpec(8, 8, width=0.5)])
    batches = [(x[part], y[part]) for part in torch.arange(len(x)).split(50)]
    train_switchable(network, batches * epochs, torch.optim.Adam(network.parameters(), 1e-2))

    model = tinygen.export_switches(network, x[:1], name="digits")
    built = tinygen.build(model, out / "switchable", board="f746zg")
    print(f"all switches: flash {built.manifest.flash_bytes:,} B")
    for name in model.names:
        result = tinygen.run(built.folder, test_x[:10].numpy(), layout="nchw", switch=name)
        right = int((result.outputs[0].reshape(10, -1).argmax(1) == test_y[:10].numpy()).sum())
        print(f"{name}: {right} of 10 right, {result.as_json()['cycles_predicted']:,} cycles predicted")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples"))
