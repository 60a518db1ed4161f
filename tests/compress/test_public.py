"""What `tinygen.compress` offers: every name there and described, and nothing imported before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.torch_models import need

torch = need("torch")

from tinygen import compress  # noqa: E402
from tinygen.errors import TinygenError  # noqa: E402


def test_every_name_is_there_typed_and_described() -> None:
    tree = ast.parse(Path(compress.__file__).read_text())
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: line.module for line in typed.body if isinstance(line, ast.ImportFrom) for alias in line.names
    }
    assert sorted(imported) == sorted(compress.__all__) == sorted(compress._PLACE_OF)
    described = (compress.__doc__ or "").split("Masks, True", 1)[1].replace(",", " ").replace(":", " ").split()
    for name, module in imported.items():
        assert module == f"tinygen.compress.{compress._PLACE_OF[name]}"
        assert getattr(compress, name) is getattr(sys.modules[module], name)
        assert name in described, name


def test_no_name_is_a_modules_too() -> None:
    """A module that has been imported would hide the function of the same name."""
    modules = {path.stem for path in Path(compress.__file__).parent.iterdir()}
    assert not modules & set(compress.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = compress.nothing
    assert "slim" in dir(compress)


def test_light_until_asked() -> None:
    code = "import sys, tinygen, tinygen.compress; assert 'torch' not in sys.modules; from tinygen.compress import slim"
    code += "; assert 'sklearn' not in sys.modules and 'skopt' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tinygen.compress.mint", "tinygen.compress.mst_estimator"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.neighbors", None)
    with pytest.raises(TinygenError, match=r"(?s)sklearn is not installed.*pip install 'tinygen\[compress\]'"):
        _ = compress.mint_scores
