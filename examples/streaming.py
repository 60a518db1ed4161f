"""A network over a window of frames, as one that takes each frame when it comes and keeps what it needs of the last."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import tinygen

FRAMES, BANDS = 16, 10


def main(out: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(  # images of one row per frame: [N, 1, FRAMES, BANDS]
        nn.Conv2d(1, 8, (5, BANDS)), nn.ReLU(), nn.Conv2d(8, 8, (4, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)
    )
    windows = torch.randn(50, 1, FRAMES, BANDS)
    whole = tinygen.export(network, windows[:1], windows, name="word")
    stream = tinygen.to_streaming(whole, hop=1)

    sound = np.random.default_rng(0).integers(-128, 128, (40, 1, BANDS, 1), np.int8)
    on_windows = tinygen.run(
        tinygen.build(whole, out / "whole", board="f746zg").folder,
        np.stack([sound[i : i + FRAMES, 0] for i in range(len(sound) - FRAMES + 1)]),
    )
    on_stream = tinygen.run(tinygen.build(stream, out / "stream", board="f746zg").folder, sound)
    same = np.array_equal(on_stream.outputs[0][FRAMES - 1 :], on_windows.outputs[0])
    for name, result in (("window", on_windows), ("step", on_stream)):
        print(f"{result.as_json()['cycles_predicted']:,} cycles predicted per {name}")
    print(f"the stream gives, code for code, what the windows give: {same}")
    assert same


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples"))
