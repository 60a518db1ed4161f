"""Is the firmware the model, bit for bit, on your own data? LiteRT, the integer semantics, C and the board compared."""

import sys
from pathlib import Path

import numpy as np

import tinygen
from tinygen.demo import MODEL, load_test_digits


def main(out: Path) -> None:
    images, labels = load_test_digits()
    # Your data would be real values, and from PyTorch channels first: say so, and tinygen quantizes and transposes.
    real = (images[:20].astype(np.float32) + 128) / 255
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "digits.npz", x=real.transpose(0, 3, 1, 2), y=labels[:20])

    report = tinygen.verify(MODEL, out / "digits.npz", board="f746zg", layout="nchw")
    for pair in report.comparisons:
        print(f"{pair.first} = {pair.second}: {pair.mismatches} of {pair.samples} differ")
    for runtime, right in (report.accuracy or {}).items():
        print(f"{runtime}: {right} of {report.samples} right")
    assert report.identical


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples"))
