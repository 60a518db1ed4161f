"""Reads a `.pt2` archive without running what is in it.

`torch.export.load` runs code that a file holds, in more ways than one: it unpickles sample inputs, tensors of classes
of their own and TorchScript objects, loads compiled libraries, evaluates sizes that are expressions (SymPy's parser is
`eval`), and puts names into Python source that it executes. So it gets another archive: of the program, the parameters
and the constants alone, with nothing pickled, and in the program no text that has not been looked at here. Whatever is
not known to be harmless is refused, operators that take a file's name among it.

The format is that of torch.export.pt2_archive and torch._export.serde.schema (torch 2.13).
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.export.pt2_archive import constants
from torch.export.pt2_archive._package import PT2ArchiveReader, PT2ArchiveWriter

from tinygen.errors import ModelError
from tinygen.frontends.aten.registry import CONVERTERS

TRUST = (
    "If you trust who made the file: build, export, verify and inspect take --trust-pickle, Python trust_pickle=True."
)
_MODEL = "model"
_TENSORS = (
    (constants.WEIGHTS_DIR, constants.WEIGHTS_CONFIG_FILENAME_FORMAT, constants.WEIGHT_FILENAME_PREFIX),
    (constants.CONSTANTS_DIR, constants.CONSTANTS_CONFIG_FILENAME_FORMAT, constants.TENSOR_CONSTANT_FILENAME_PREFIX),
)
"""Folder, the file that says which tensor lies where in it, and what its files of tensors are called."""
_OLD = ("serialized_exported_program.json", "version")
_NAME = re.compile(r"[\w.+-]*", re.ASCII)
"""No call, no quotes, no spaces: nothing that runs as Python, wherever torch puts it."""
_SIZE = re.compile(r"(?:\d+|[suz]\d+|(?:Max|Min|Mod|PythonMod|FloorDiv|CleanDiv)\b|[ (),+/-]|\*(?!\*))*", re.ASCII)
_TEXT = ("as_string", "as_strings")
"""Arguments of operators: torch writes them into source as literals."""
_OPERATORS = ("target", "as_operator")
_SPECS = ("in_spec", "out_spec")
_CONTAINERS = {None, "builtins.tuple", "builtins.list", "builtins.dict"}
_FUNCTIONS = {
    *(f"_operator.{name}" for name in ("getitem", "add", "sub", "mul", "neg", "floordiv", "mod", "and_", "or_")),
    *(f"_operator.{name}" for name in ("eq", "ne", "lt", "le", "gt", "ge")),
    *(f"torch.{name}" for name in ("sym_int", "sym_float", "sym_not", "sym_max", "sym_min", "sym_ite")),
    *(f"math.{name}" for name in ("ceil", "floor", "trunc")),
    *(f"torch.ops.higher_order.{name}" for name in ("cond", "wrap_with_set_grad_enabled", "wrap_with_autocast")),
}


def without_code(path: Path) -> io.BytesIO:
    """An archive of the same program for `torch.export.load`, which cannot run anything of the file's.

    Raises:
        ModelError: the file holds something that torch would have to unpickle, or that may run code.
        Exception: of many kinds, where it is damaged: torch's readers have no common base for theirs.
    """
    content = path.read_bytes()
    _refuse_old(content)
    archive = PT2ArchiveReader(io.BytesIO(content))
    program = json.loads(archive.read_bytes(constants.MODELS_FILENAME_FORMAT.format(_MODEL)))
    program["guards_code"] = []
    made = io.BytesIO()
    with PT2ArchiveWriter(made) as writer:
        writer.write_string(constants.MODELS_FILENAME_FORMAT.format(_MODEL), json.dumps(_checked(program)))
        # Sample inputs, which are pickled, are nothing that tinygen needs.
        writer.write_bytes(constants.SAMPLE_INPUTS_FILENAME_FORMAT.format(_MODEL), b"")
        for folder, config, prefix in _TENSORS:
            _copy_tensors(archive, writer, folder, config.format(_MODEL), prefix)
    made.seek(0)
    return made


def _refuse_old(content: bytes) -> None:
    """Formats that torch still reads and no longer writes, whose tensors are pickles."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
    legacy = [f"{folder}{_MODEL}.pt" for folder in (constants.WEIGHTS_DIR, constants.CONSTANTS_DIR)]
    if set(_OLD) <= set(names) or any(name.endswith(tuple(legacy)) for name in names):
        raise ModelError(
            "is of an old format, whose tensors are pickles: reading them may run code",
            fix=f"Write it again with torch 2.13 or newer. {TRUST}",
        )


def _copy_tensors(archive: PT2ArchiveReader, writer: PT2ArchiveWriter, folder: str, config: str, prefix: str) -> None:
    """Tensors of plain bytes, and what says where they lie."""
    tensors = json.loads(archive.read_bytes(config))["config"]
    for name, entry in tensors.items():
        if entry["use_pickle"] or not re.fullmatch(rf"{prefix}\d+", entry["path_name"], re.ASCII):
            raise _refused(f"pickles '{name}'")
    writer.write_string(config, json.dumps({"config": _checked(tensors)}))
    for file in sorted({entry["path_name"] for entry in tensors.values()}):
        writer.write_bytes(f"{folder}{file}", archive.read_bytes(f"{folder}{file}"))


def _checked(value: Any, key: str = "") -> Any:
    """A part of the program, of which every text is known to be harmless."""
    if isinstance(value, dict):
        if key == "metadata":  # nothing else of it is needed: where an operator comes from
            return {name: text for name, text in value.items() if name == "nn_module_stack"}
        return {_checked(name): _checked(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_checked(part, key) for part in value]
    if isinstance(value, str):
        _check_text(value, key)
    return value


def _check_text(text: str, key: str) -> None:
    if key in _OPERATORS:
        if text not in _FUNCTIONS and not _computes(text):
            raise _refused(f"calls {text}")
    elif key in _SPECS:
        _check_spec(json.loads(text)[1])
    elif key not in _TEXT and not (_SIZE if key == "expr_str" else _NAME).fullmatch(text):
        raise _refused(f"names something {text!r}")


def _check_spec(spec: dict[str, Any]) -> None:
    """How inputs and outputs are nested; torch imports modules that some other kinds name."""
    context = json.loads(spec["context"]) if spec["context"] else None
    if spec["type"] not in _CONTAINERS or not (context is None or isinstance(context, list)):
        raise _refused(f"nests inputs or outputs in a {spec['type']}")
    if not all(isinstance(item, str | int) for item in context or []):
        raise _refused(f"nests inputs or outputs in a {spec['type']}")
    for child in spec["children_spec"]:
        _check_spec(child)


@cache
def _computes(target: str) -> bool:
    """Whether it is an operator that reads and gives numbers, and nothing else: no file, no memory of others."""
    match target.split("."):
        case ["torch", "ops", "quantized_decomposed", _, _]:
            return True
        case ["torch", "ops", "aten", name, overload]:
            full = f"aten::{name}" if overload == "default" else f"aten::{name}.{overload}"
            if full not in _dispatched():
                return False
            operator = getattr(getattr(torch.ops.aten, name), overload)
            if any(one.name == "filename" or "Stor" in str(one.type) for one in operator._schema.arguments):
                return False
            known = f"aten.{name}" in CONVERTERS or torch.Tag.core in operator.tags or name.startswith("_assert")
            return known or not name.startswith("_")
    return False


@cache
def _dispatched() -> frozenset[str]:
    """Operators on tensors; TorchScript's, as aten::save, which torch.ops.aten has too, are none."""
    return frozenset(torch._C._dispatch_get_all_op_names())


def _refused(what: str) -> ModelError:
    return ModelError(f"{what}: reading it may run code", fix=TRUST)
