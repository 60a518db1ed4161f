"""Links lead somewhere, commands are what the command line takes, generated pages are up to date."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ai_edge_litert.schema_py_generated import BuiltinOperator
from typer.main import get_command

import tinygen
from tests.docs import generate
from tests.docs.pages import ROOT, anchors, blocks, links, pages, prose
from tests.support.command_line import call
from tests.support.gates import exits
from tests.support.gates import images as gate_images
from tests.support.tflite_builder import ModelSpec, TensorSpec, options
from tests.support.tflite_builder import build as tflite_of
from tinygen.bench.gated_networks import ConvLayer, Method, gated_network
from tinygen.bench.registry import find_suite
from tinygen.cli.app import app
from tinygen.demo import MODEL, load_test_digits
from tinygen.frontends.load import load_network

PAGES = pages()
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def shell_lines(page: Path) -> Iterator[list[str]]:
    """Commands behind `$`, as words, without their comments."""
    for block in blocks(page):
        for line in block.text.splitlines():
            if line.startswith("$ "):
                yield shlex.split(line[2:], comments=True)


def tinygen_lines(page: Path) -> list[list[str]]:
    return [words[1:] for words in shell_lines(page) if words[0] == "tinygen" and "..." not in words]


def test_pages_are_found() -> None:
    assert len(PAGES) >= 20
    assert sum(len(tinygen_lines(page)) for page in PAGES) >= 50


def test_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}: there is no such heading"
        inside = page.is_relative_to(ROOT / "docs")
        assert not inside or target.is_relative_to(ROOT / "docs"), f"{link} is not part of the built pages"


def test_every_page_is_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}


@pytest.mark.parametrize("name", generate.PAGES)
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == generate.PAGES[name](), "python -m tests.docs.generate --write"


@cache
def _root() -> Any:
    """The command line, with all its verbs."""
    return get_command(app)


def parse(words: list[str]) -> None:
    """As the command line would, without running anything.

    Raises:
        click's UsageError: there is no such command or option, or an argument is missing.
    """
    command = _root()
    context: Any = None
    name = "tinygen"
    while True:
        context = command.make_context(name, list(words), parent=context)
        rest = [*getattr(context, "_protected_args", []), *context.args]
        if not hasattr(command, "commands") or not rest:
            assert not rest, f"{name} does not take {rest}"
            return
        name, command, words = command.resolve_command(context, rest)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_those_of_the_command_line(page: Path) -> None:
    for words in tinygen_lines(page):
        if words and "[OPTIONS]" not in words:
            parse(words)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_suites_of_commands_are_there(page: Path) -> None:
    """By name, or as a file of a clone; `mine.py` is the reader's."""
    texts = re.findall(r"^\$ tinygen bench .*?--suite ([^ \n]+)", page.read_text(), re.MULTILINE)
    for name in set(texts) - {"mine.py"}:
        assert (ROOT / name).is_file() if name.endswith(".py") else find_suite(name), name


@pytest.mark.parametrize("words", [["build", "x.tflite"], ["bild"], ["run", "d", "--inputs", "x", "--fast"]])
def test_wrong_commands_are_noticed(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"Missing parameter|No such"):
        parse(words)


def options_of(command: Any) -> set[str]:
    mine = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    below = (options_of(one) for one in getattr(command, "commands", {}).values())
    return mine.union(*below)


_OF_RUNNER = {"--dataset_path", "--device_list"}
_OTHERS = _OF_RUNNER | {"--help", "--list", "--only", "--own", "--write", "--all", "--on", "--count"}
"""Options of MLPerf Tiny's runner, of the tests' own programs, and of `tinygen.targets.cycles.fit`."""
_SUITE = set(re.findall(r'addoption\(\s*"(--[\w-]+)"', (ROOT / "hil/conftest.py").read_text()))
"""Of `pytest hil`."""


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_options_in_sentences_exist(page: Path) -> None:
    """`--option` in the text is an option of some command; `tinygen VERB --option` of that one."""
    root = _root()
    everything = options_of(root) | _OTHERS | _SUITE
    for span in re.findall(r"`([^`\n]+)`", prose(page)):
        chosen = everything
        found = re.match(r"tinygen (\w+)", span)
        if found and found[1].islower():
            assert found[1] in root.commands, span
            chosen = options_of(root.commands[found[1]])
        if span.startswith(("-", "tinygen ", "build ")):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
                assert option in chosen, f"{page.name}: {span}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_other_commands_exist(page: Path) -> None:
    """`make X` has a target, `pip install 'tinygen[x]'` its extras, `python -m x` its module."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    for target in re.findall(r"(?:\$ |`)make ([a-z][\w-]*)", text):
        assert target in targets | {"flash"}, f"make {target}"
    for extras in re.findall(r"tinygen\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), extras
    for module in re.findall(r"python -m ((?:tests|tinygen|examples)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for name in re.findall(r"`((?:tests|tinygen|boards|templates|firmware)/[\w/.-]+)`", text):
        assert f"`{name}`, new:" in text or (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.text)


@pytest.mark.parametrize("words", [["boards"], ["doctor"], ["bench", "--list"], ["--version"]])
def test_quick_commands_run(words: list[str]) -> None:
    done = call(*words)
    assert done.returncode == 0 and done.stdout


_NOT_HERE = (
    "auto",
    "mic",
    "train",
    "classify",
    "wakeword",
    "--suite",
    "PATH",
    "labgrid",
    "hey",
    "my.yaml",
    "--cmsis-nn",
    "--esp-nn",
    "[OPTIONS]",
    "w2a2",
    "nabu",
    "kws.tg",
    "kws.pt2",
    "model.onnx",
    "xnnpack",
    "flash",
    "device",
)
"""What needs a board, a microphone, minutes, Ctrl-C, or a file that a page only speaks of."""


def runnable(page: Path) -> list[list[str]]:
    return [words for words in tinygen_lines(page) if words and not any(part in " ".join(words) for part in _NOT_HERE)]


def _hybrid(shape: tuple[int, ...]) -> bytes:
    """A convolution of floats with int8 weights."""
    x, y = (TensorSpec((*shape[:3], channels), "float32") for channels in (shape[3], 2))
    weights = TensorSpec((2, 1, 1, shape[3]), "int8", 0.1, data=np.ones((2, 1, 1, shape[3]), np.int8))
    bias = TensorSpec((2,), "float32", data=np.zeros(2, np.float32))
    chosen = options("Conv2DOptions", strideH=1, strideW=1)
    return tflite_of(ModelSpec(BuiltinOperator.CONV_2D, [x, weights, bias], [y], **chosen))


@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=lambda page: page.name)
def test_commands_run(page: Path, tmp_path: Path) -> None:
    """The commands of a page, one after the other, with the bundled model under the names that the page uses."""
    images, labels = load_test_digits()
    (tmp_path / "models").mkdir()
    for name in ("kws.tflite", "model.tflite", "ic.tflite", "models/kws.tflite"):
        shutil.copy(MODEL, tmp_path / name)
    tinygen.save(load_network(MODEL).first, tmp_path / "net.tg")
    for name in ("x.npz", "kws01.npz"):
        np.savez(tmp_path / name, x=images[:2], y=labels[:2])
    np.save(tmp_path / "x.npy", images[:2])
    (tmp_path / "hybrid.tflite").write_bytes(_hybrid(images[:1].shape))
    np.savez(tmp_path / "floats.npz", x=images[:2].astype(np.float32))
    tinygen.save(exits(), tmp_path / "exits.tg")
    rows = np.stack([row[0] for row in gate_images(3)])
    layers = (ConvLayer(8), ConvLayer(8))
    tinygen.save(gated_network("gates", layers, rows.shape[-3:], Method(Fraction(1, 2))), tmp_path / "gates.tg")
    np.savez(tmp_path / "images.npz", x=rows, y=np.zeros(len(rows), np.int64))
    np.save(tmp_path / "images.npy", rows)
    for words in runnable(page):
        if words[0] in ("run", "hil", "farm") and not (tmp_path / "kws").exists():
            assert call("build", "kws.tflite", "--out", "kws", cwd=tmp_path).returncode == 0
        done = call(*words, cwd=tmp_path)
        assert done.returncode == 0, (words, done.text)


def test_networks_that_decide_of_the_torch_page() -> None:
    torch = pytest.importorskip("torch")
    (code,) = (b.text for b in blocks(ROOT / "docs" / "from-pytorch.md") if "early_exits" in b.text)
    names: dict[str, Any] = {}
    exec(code, names)
    images = torch.randn(4, 1, 12, 12)
    with torch.no_grad():
        assert len(names["network"].train()(images)) == 2
    graph = tinygen.export(names["network"], images[:1])
    assert [state.threshold for state in graph.states] == ["SKIP_1", "EXIT_1"]


@pytest.mark.long
def test_python_of_the_torch_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float module, and torchao's PT2E flow, as they stand on the page."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchao")
    monkeypatch.chdir(tmp_path)
    layers = torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(2704, 10)
    module = torch.nn.Sequential(*layers)
    images = [torch.randn(1, 1, 28, 28) for _ in range(4)]
    code = [block.text for block in blocks(ROOT / "docs" / "from-pytorch.md") if block.language == "python"]
    assert len(code) == 7
    names = {"module": module.eval(), "example_input": images[0], "images": torch.cat(images), "labels": [1, 2, 3, 4]}
    exec(code[0], names)
    exec(code[1], names)
    exec(code[2], {"module": module.eval(), "images": images})
    for block in code[3:]:
        exec(block, {})
    for name in ("kws.tg", "digits.tg", "net.tg", "gated.tg", "masked.tg"):
        assert call("inspect", name, cwd=tmp_path).returncode == 0
