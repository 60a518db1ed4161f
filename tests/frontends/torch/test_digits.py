"""A network trained here: what int8 costs in accuracy, and the road of a file, from .pt2 to a board's firmware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen
from tests.support.torch_models import codes_of, need, outputs_of
from tinygen.errors import TinygenError
from tinygen.ir.interpreter import evaluate
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.run import RunOptions, run
from tinygen.verbs.verify import verify

torch = need("torch")
sklearn_datasets = need("sklearn.datasets")
nn = torch.nn
torch.set_num_threads(1)


def network() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(256, 10),
    )


def digits() -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """(training images, labels, test images, labels); 8x8, a third for the test."""
    content = sklearn_datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(content.target))
    x = (content.images[order, None] / 16).astype(np.float32)
    y = content.target[order]
    return torch.from_numpy(x[:1200]), torch.from_numpy(y[:1200]), x[1200:], y[1200:]


def trained(x: Any, y: Any, epochs: int = 8) -> Any:
    torch.manual_seed(0)
    module = network()
    optimizer = torch.optim.Adam(module.parameters(), 4e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
    return module.eval()


def test_accuracy_and_files(tmp_path: Path) -> None:
    x, y, test_x, test_y = digits()
    module = trained(x, y)
    with torch.no_grad():
        wanted = module(torch.from_numpy(test_x)).argmax(1).numpy()
    graph = tinygen.export(module, x[:1], x[:100], name="digits")
    found = outputs_of(graph, test_x).argmax(1)
    accuracy = [float((answers == test_y).mean()) for answers in (wanted, found)]
    print(f"accuracy of {len(test_y)}: float {accuracy[0]:.4f}, int8 {accuracy[1]:.4f}")
    assert accuracy[0] > 0.95
    assert accuracy[1] >= accuracy[0] - 0.01
    assert (wanted == found).mean() >= 0.99

    # Both files give the graph's own answers on a board.
    tinygen.save(graph, tmp_path / "digits.tg")
    torch.export.save(torch.export.export(module, (x[:1],)), tmp_path / "digits.pt2")
    np.savez(tmp_path / "calibration.npz", x=x[:100].numpy())
    np.savez(tmp_path / "test.npz", x=test_x[:20].transpose(0, 2, 3, 1), y=test_y[:20])
    codes = np.concatenate([evaluate(graph, [row])[0] for row in codes_of(graph, test_x[:20])])
    for name, options in (
        ("digits.tg", BuildOptions(board="host")),
        ("digits.pt2", BuildOptions(board="host", calibration=tmp_path / "calibration.npz")),
    ):
        built = build(tmp_path / name, tmp_path / f"out-{name}", options, profile=False)
        run(built.folder, tmp_path / "test.npz", RunOptions(outputs=tmp_path / f"{name}.npy"))
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy").reshape(codes.shape), codes)
    report = verify(tmp_path / "digits.tg", tmp_path / "test.npz", BuildOptions(board="host"))
    assert report.identical
    assert [pair.first for pair in report.comparisons] == ["semantics"]
    with pytest.raises(TinygenError, match="takes no calibration"):
        build(tmp_path / "digits.tg", tmp_path / "o", BuildOptions(calibration=tmp_path / "calibration.npz"))
