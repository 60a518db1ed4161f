"""A TFLite model as firmware: build it, look at the figures, run it on the emulated board."""

import sys
from pathlib import Path

import tinygen
from tinygen.demo import MODEL, load_test_digits  # a classifier of digits, and images for it


def main(out: Path) -> None:
    model = tinygen.inspect(MODEL)
    print(f"{model['model']}: {len(model['operators'])} operators, {model['macs']:,} multiply-accumulates")

    built = tinygen.build(MODEL, out / "digits", board="f746zg")
    manifest = built.manifest
    print(f"flash {manifest.flash_bytes:,} B, RAM {manifest.ram_bytes:,} B: {built.folder / 'firmware.elf'}")

    images, labels = load_test_digits()
    result = tinygen.run(built.folder, images[:5])
    cycles = result.as_json()["cycles_predicted"]
    print(f"answers {result.outputs[0].reshape(5, 10).argmax(1)}, labels {labels[:5]}; {cycles:,} cycles predicted")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples"))
