"""The recipe of docs/architecture.md: an operator is added to a copy of tinygen as the page says, and compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import ROOT

_STEP = re.compile(r"^`([\w/.]+)`, (new|an entry of `(\w+)`):\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def apply(page: str, copy: Path) -> list[str]:
    """Writes the page's files and entries; gives their names."""
    for name, _, table, text in _STEP.findall(page):
        path = copy / name
        if not table:
            assert not path.exists(), f"{name} is there already"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            continue
        content = path.read_text()
        head = re.search(rf"^{table}\b[^\n]*= {{\n", content, re.MULTILINE)
        assert head is not None, f"{name} has no {table}"
        path.write_text(content[: head.end()] + text + content[head.end() :])
    return [found[0] for found in _STEP.findall(page)]


@pytest.mark.long
def test_an_operator_is_added_as_the_page_says(tmp_path: Path) -> None:
    """LiteRT, semantics, host C and the emulated board give the same codes of a BITWISE_XOR model."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    from tests.support.tflite_builder import ModelSpec, TensorSpec, build

    copy = tmp_path / "copy"
    for name in ("tinygen", "templates"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("boards", "firmware"):
        (copy / name).symlink_to(ROOT / name)
    assert len(apply((ROOT / "docs" / "architecture.md").read_text(), copy)) == 5

    x, y = TensorSpec((2, 4, 4, 8), "int8"), TensorSpec((2, 4, 4, 8), "int8")
    codes = np.arange(-128, 128, dtype=np.int8)
    mask = TensorSpec((4, 8), "int8", data=codes[::8].reshape(4, 8))
    spec = ModelSpec(BuiltinOperator.BITWISE_XOR, [x, mask], [y])
    (tmp_path / "xor.tflite").write_bytes(build(spec))
    np.savez(tmp_path / "x.npz", x=codes.reshape(1, 2, 4, 4, 8))
    program = "import tinygen; from tinygen.cli import main; assert 'copy' in tinygen.__file__; main()"
    command = [sys.executable, "-c", program, "verify", "xor.tflite", "--inputs", "x.npz"]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "litert-ref = semantics" in done.stdout and "semantics = f746zg-emulated" in done.stdout


def test_the_recipe_is_found() -> None:
    steps = [found[:2] for found in _STEP.findall((ROOT / "docs" / "architecture.md").read_text())]
    assert [kind for _, kind in steps].count("new") == 4 and len(steps) == 5
