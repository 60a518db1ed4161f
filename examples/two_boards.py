"""One model on two boards: a Cortex-M7 and a RISC-V core give the same codes, at different costs."""

import sys
from pathlib import Path

import numpy as np

import tinygen
from tinygen.demo import MODEL, load_test_digits


def main(out: Path) -> None:
    images, _ = load_test_digits()
    outputs = []
    for board in ("f746zg", "esp32c3"):
        built = tinygen.build(MODEL, out / board, board=board)
        result = tinygen.run(built.folder, images[:3])
        outputs.append(result.outputs[0])
        figures, manifest = result.as_json(), built.manifest
        print(
            f"{board}: {figures['milliseconds_predicted']:.2f} ms predicted per inference; "
            f"flash {manifest.flash_bytes:,} B, RAM {manifest.ram_bytes:,} B"
        )
    print(f"the same codes: {np.array_equal(*outputs)}")
    assert np.array_equal(*outputs)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples"))
