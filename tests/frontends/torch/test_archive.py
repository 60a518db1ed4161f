"""`.pt2` files that would run code: refused, and none of it has run."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tinygen.cli import main
from tinygen.errors import ModelError
from tinygen.frontends.load import load_model
from tinygen.frontends.tg import write_tg
from tinygen.frontends.torch import file

_PROGRAM, _SAMPLES = "models/model.json", "data/sample_inputs/model.pt"


class Making:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.proof),)


def saved(folder: Path) -> Path:
    path = folder / "net.pt2"
    torch.export.save(torch.export.export(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), (torch.zeros(1, 4),)), path)
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(9, 4)))
    return path


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The archive with other content, by names without the folder that all are in."""
    with zipfile.ZipFile(path) as archive:
        content = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(content)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(f"net/{name}", data)


def edited(change: Callable[[Any], None], name: str = _PROGRAM) -> Callable[[dict[str, bytes]], None]:
    def write(content: dict[str, bytes]) -> None:
        found = json.loads(content[name])
        change(found)
        content[name] = json.dumps(found).encode()

    return write


def pickled(proof: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save((Making(proof),), buffer)
    return buffer.getvalue()


def load(path: Path, **options: Any) -> Any:
    return load_model(path, None, path.parent / "x.npy", **options)


def filed(proof: Path) -> Callable[[Any], None]:
    """A node of an operator of torch's that makes a file."""

    def change(program: Any) -> None:
        graph = program["graph_module"]["graph"]
        node = json.loads(json.dumps(graph["nodes"][-1]))
        names, values = ("filename", "shared", "size"), ({"as_string": str(proof)}, {"as_bool": True}, {"as_int": 4})
        node["inputs"] = [{"name": n, "arg": value, "kind": 1} for n, value in zip(names, values, strict=True)]
        (output,) = node["outputs"]
        graph["tensor_values"]["made"] = graph["tensor_values"][output["as_tensor"]["name"]]
        node |= {"target": "torch.ops.aten.from_file.default", "name": "made"}
        node["outputs"] = [{"as_tensor": {"name": "made"}}]
        graph["nodes"].insert(0, node)

    return change


def sized(proof: Path) -> Callable[[Any], None]:
    def change(program: Any) -> None:
        run = f"__import__('os').mkdir({str(proof)!r})"
        (value, *_) = program["graph_module"]["graph"]["tensor_values"].values()
        value["sizes"][0] = {"as_expr": {"expr_str": run, "hint": None}}

    return change


def named(proof: Path) -> Callable[[Any], None]:
    """The name of an input is put into the source of a function, here with a default value."""

    def change(program: Any) -> None:
        graph = program["graph_module"]["graph"]
        (name,) = (one["as_tensor"]["name"] for one in graph["inputs"] if one["as_tensor"]["name"].startswith("input"))
        run = json.dumps(f"x=__import__('os').mkdir('{proof}')")
        text = json.dumps(program).replace(f'{{"name": "{name}"}}', f'{{"name": {run}}}')
        program.clear()
        program.update(json.loads(text.replace(f'"{name}": {{"dtype"', f'{run}: {{"dtype"')))

    return change


def configured(proof: Path) -> Callable[[dict[str, bytes]], None]:
    """A constant of a class of its own."""

    def write(content: dict[str, bytes]) -> None:
        entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
        content["data/constants/model_constants_config.json"] = json.dumps({"config": {"c": entry}}).encode()
        content["data/constants/opaque_obj_0"] = pickle.dumps(Making(proof))

    return write


def weighed(proof: Path) -> Callable[[dict[str, bytes]], None]:
    def change(config: Any) -> None:
        next(iter(config["config"].values()))["use_pickle"] = True

    def write(content: dict[str, bytes]) -> None:
        edited(change, "data/weights/model_weights_config.json")(content)
        content["data/weights/weight_0"] = pickled(proof)

    return write


_ATTACKS: dict[str, Callable[[Path], Callable[[dict[str, bytes]], None]]] = {
    "calls torch.ops.aten.from_file": lambda proof: edited(filed(proof)),
    "names something": lambda proof: edited(named(proof)),
    "names something ": lambda proof: edited(sized(proof)),
    "pickles 'c'": configured,
    "pickles '0.weight'": weighed,
}


@pytest.mark.parametrize("reason", _ATTACKS)
def test_what_may_run_code_is_refused(reason: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = saved(tmp_path)
    rewritten(path, _ATTACKS[reason](proof))
    with pytest.raises(ModelError, match=f"{reason.strip()}.*may run code") as caught:
        load(path)
    assert caught.value.where == str(path) and "--trust-pickle" in caught.value.fix
    assert not proof.exists()


@pytest.mark.parametrize("reason", [reason for reason in _ATTACKS if not reason.startswith("calls")])
def test_torch_would_have_run_it(reason: str, tmp_path: Path) -> None:
    """All of it but the operator, which fails in torch 2.13 before it makes the file."""
    proof = tmp_path / "proof"
    path = saved(tmp_path)
    rewritten(path, _ATTACKS[reason](proof))
    with suppress(Exception), warnings.catch_warnings():  # whatever becomes of it afterwards
        warnings.simplefilter("ignore")
        load(path, trust_pickle=True)
    assert proof.exists()


def test_sample_inputs_are_not_read(tmp_path: Path) -> None:
    """They are pickled in every file, and nothing that a model is made of."""
    proof = tmp_path / "proof"
    path = saved(tmp_path)
    plain = write_tg(load(path))
    rewritten(path, lambda content: content.update({_SAMPLES: pickled(proof)}))
    assert write_tg(load(path)) == plain and not proof.exists()
    with suppress(Exception):  # it is None instead of inputs
        load(path, trust_pickle=True)
    assert proof.exists()


def test_an_old_file(tmp_path: Path) -> None:
    """As torch 2.7 wrote it."""
    proof, path = tmp_path / "proof", tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.0")
        archive.writestr("serialized_exported_program.json", "{}")
        for name in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{name}.pt", pickled(proof))
    with pytest.raises(ModelError, match="old format, whose tensors are pickles"):
        load_model(path)
    assert not proof.exists()


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that has a pickled weight, of numbers."""
    path = saved(tmp_path)

    def change(content: dict[str, bytes]) -> None:
        weighed(tmp_path)(content)
        buffer = io.BytesIO()
        torch.save(nn.Parameter(torch.ones(2, 4)), buffer)
        content["data/weights/weight_0"] = buffer.getvalue()

    rewritten(path, change)
    words = [str(path), "--calibration", str(tmp_path / "x.npy")]
    out = ["--out", str(tmp_path / "out")]
    for verb in (
        ["inspect"],
        ["build", "--board", "host", *out],
        ["verify", "--inputs", str(tmp_path / "x.npy")],
        ["export", "--as", "c", *out],
    ):
        command = [verb[0], *words, *verb[1:]]
        monkeypatch.setattr(sys, "argv", ["tinygen", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        said = " ".join(capsys.readouterr().err.split())
        assert ended.value.code == 1 and "pickles '0.weight': reading it may run code" in said, command
    monkeypatch.setattr(sys, "argv", ["tinygen", "inspect", *words, "--trust-pickle"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0 and "8 MAC" in capsys.readouterr().out


@pytest.mark.parametrize("trust", [True, False])
def test_the_same_model(trust: bool, tmp_path: Path) -> None:
    """Also of what goes through torch in unusual ways: graphs in graphs, constants, names with dashes, in-place."""

    class Unusual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
            self.parts = nn.ModuleDict({"a-b": nn.Linear(72, 3)})
            self.register_buffer("k", torch.arange(3.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                y = torch.relu_(self.norm(self.conv(x)))
            y = torch.cond(y.max() > 0, torch.abs, torch.neg, (y,))
            return self.parts["a-b"](y.flatten(1)) + self.k * torch.tensor(2.0)

    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Unusual().eval(), (torch.zeros(1, 1, 8, 8),)), path)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9, 1, 8, 8)))
    read = file.load_pt2(path, "net", tmp_path / "x.npy", trust_pickle=trust)
    assert write_tg(read) == write_tg(file.load_pt2(path, "net", tmp_path / "x.npy", trust_pickle=True))
