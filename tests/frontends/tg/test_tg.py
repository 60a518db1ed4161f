"""`.tg` files: what is written is read again, and nothing else is."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.demo import MODEL
from tinygen.errors import ModelError, TinygenError
from tinygen.frontends.load import load_model
from tinygen.frontends.tg import load_tg, read_tg, save_tg, write_tg
from tinygen.frontends.tg.decode import Decoder
from tinygen.ir.encodings import (
    Affine,
    Binary,
    Codebook,
    Encoding,
    Float32,
    IntegerEncoding,
    Levels,
    Plain,
    PowerOfTwo,
    Ternary,
)
from tinygen.ir.epilogue import Epilogue, Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.conv_2d_add import Conv2DAdd
from tinygen.ir.ops.pad import Pad
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Tensor
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build

DIGITS = load_model(MODEL)
CONTENT = write_tg(DIGITS)


def same(a: Graph, b: Graph) -> None:
    assert (a.name, a.ops, a.inputs, a.outputs) == (b.name, b.ops, b.inputs, b.outputs)
    assert list(a.tensors) == list(b.tensors)
    for first, second in zip(a.tensors.values(), b.tensors.values(), strict=True):
        for field in fields(first):
            if field.name != "data":
                assert getattr(first, field.name) == getattr(second, field.name)
        assert (first.data is None) == (second.data is None)
        if first.data is not None and second.data is not None:
            assert first.data.dtype == second.data.dtype
            np.testing.assert_array_equal(first.data, second.data)


def fused() -> Graph:
    """An operator that holds an encoding and another operator, a -inf, and a tuple of pairs."""
    encoding = Affine("int8", (0.1,), (3,))
    tensors = {
        "x": Tensor("x", (1, 2, 2, 1), encoding),
        "w": Tensor("w", (1, 1, 1, 1), Affine("int8", (0.25,), (0,), 0), np.array([[[[7]]]], np.int8)),
        "s": Tensor("s", (1, 2, 2, 1), encoding),
        "p": Tensor("p", (1, 4, 3, 1), encoding),
        "f": Tensor("f", (1, 2), Float32()),
        "g": Tensor("g", (2, 4), Float32()),
        "i": Tensor("i", (), Plain("int32"), np.array(5, np.int32)),
    }
    add = Add(name="add", inputs=("y", "x"), outputs=("s",))
    conv = Conv2DAdd(
        name="conv",
        inputs=("x", "w", "", "x"),
        outputs=("s",),
        padding=Padding.VALID,
        stride=(1, 1),
        row_padding=(0, 0),
        between=encoding,
        sum=add,
    )
    pad = Pad(name="pad", inputs=("s",), outputs=("p",), paddings=((0, 0), (1, 1), (0, 1), (0, 0)), value=-128)
    border = Pad(name="border", inputs=("f",), outputs=("g",), paddings=((1, 0), (2, 0)), value=-np.inf)
    return Graph("fused", tensors, (conv, pad, border), ("x", "f"), ("p", "g"))


def low_bit() -> Graph:
    """Every encoding below 8 bits, and both epilogues."""
    rng = np.random.default_rng(1)
    encodings: list[IntegerEncoding] = [
        Levels((0.5,), bits=3, signed=True),
        Binary((0.25, 0.5, 0.125, 1.0), 0),
        Ternary((0.1,)),
        PowerOfTwo((0.01,), exponents=5),
        Codebook((2.0,), table=(-300, -1, 0, 70)),
    ]
    tensors = {"x0": Tensor("x0", (1, 3, 3, 4), Levels((0.1,), bits=2, signed=False))}
    ops: list[Op] = []
    for index, encoding in enumerate(encodings):
        low, high = encoding.code_range
        codes = rng.integers(low, high + 1, (4, 1, 1, 4)).astype(encoding.dtype)
        x, y, weights = f"x{index}", f"x{index + 1}", f"w{index}"
        epilogue: Epilogue = Threshold(((-3, 0, 5),) * 4, (1, -1, 1, 1))
        if index % 2:
            epilogue = Rescale((3, -1, 2, 5), (1 << 40, 8, 0, -3), (30,), 0, 3)
        tensors[weights] = Tensor(weights, codes.shape, encoding, codes)
        tensors[y] = Tensor(y, (1, 3, 3, 4), Levels((0.1,), bits=2, signed=False))
        ops.append(
            Conv2D(
                name=f"conv{index}",
                inputs=(x, weights),
                outputs=(y,),
                padding=Padding.VALID,
                stride=(1, 1),
                epilogue=epilogue,
            )
        )
    return Graph("low_bit", tensors, tuple(ops), ("x0",), (y,))


@pytest.mark.parametrize("graph", [DIGITS, fused(), low_bit()], ids=lambda graph: graph.name)
def test_round_trip(graph: Graph) -> None:
    content = write_tg(graph)
    again = read_tg(content)
    same(graph, again)
    assert write_tg(again) == content
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 4, graph.tensors[n].shape).astype(graph.tensors[n].dtype) for n in graph.inputs]
    for a, b in zip(evaluate(graph, inputs), evaluate(again, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_layout_does_not_matter() -> None:
    """Strided and Fortran-ordered arrays give the bytes of plain ones."""
    tensors = {
        name: tensor if tensor.data is None else replace(tensor, data=np.asfortranarray(tensor.data))
        for name, tensor in DIGITS.tensors.items()
    }
    assert write_tg(replace(DIGITS, tensors=tensors)) == CONTENT


def test_build_and_names(tmp_path: Path) -> None:
    """The firmware of the .tg is that of the .tflite."""
    save_tg(DIGITS, tmp_path / "other.tg")
    assert load_model(tmp_path / "other.tg").name == "digits"
    assert load_model(tmp_path / "other.tg", "mine").name == "mine"
    options = BuildOptions(board="host")
    build(MODEL, tmp_path / "a", options, profile=False)
    build(tmp_path / "other.tg", tmp_path / "b", options, profile=False)
    for name in ("digits_weights.c", "digits_kernels.c"):
        first, second = ((tmp_path / folder / "model" / name).read_text() for folder in "ab")
        assert first.replace("digits.tflite", "other.tg") == second


def test_refused_names(tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="not saved as"):
        save_tg(DIGITS, tmp_path / "digits.tflite")
    with pytest.raises(TinygenError, match="cannot be written"):
        save_tg(DIGITS, tmp_path / "nowhere" / "digits.tg")
    with pytest.raises(ModelError, match="cannot be read"):
        load_tg(tmp_path)


def rewritten(change: Callable[[dict[str, Any]], object], files: dict[str, bytes | None] | None = None) -> bytes:
    """The digits' file with its JSON changed, and entries replaced, added, or (None) left out."""
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    structure = json.loads(entries["graph.json"])
    change(structure)
    entries["graph.json"] = json.dumps(structure).encode()
    changed = {name: content for name, content in (entries | (files or {})).items() if content is not None}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in changed.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def op(structure: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return structure["graph"]["ops"][index]


def tensor(structure: dict[str, Any]) -> dict[str, Any]:
    return next(t for t in structure["graph"]["tensors"].values() if t["data"])


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "format": (lambda s: s.update(format="zip"), "not that of a tinygen graph"),
    "version": (lambda s: s.update(version=3), "has version 3"),
    "no graph": (lambda s: s.pop("graph"), "holds None"),
    "unknown op": (lambda s: op(s).update(type="FlashAttention"), "'FlashAttention' is no Op"),
    "abstract op": (lambda s: op(s).update(type="Op"), "'Op' is no Op"),
    "not an op": (lambda s: op(s).update(type="Affine"), "'Affine' is no Op"),
    "type is a list": (lambda s: op(s).update(type=["Conv2D"]), "is no Op"),
    "unknown field": (lambda s: op(s).update(wings=2), "has no field wings"),
    "missing field": (lambda s: op(s).pop("name"), "lacks its field name"),
    "wrong type": (lambda s: op(s).update(name=7), "holds 7 in place of str"),
    "boolean for int": (lambda s: tensor(s).update(shape=[True]), "holds True in place of int"),
    "wrong member": (lambda s: op(s)["epilogue"].update(activation="relu7"), "holds 'relu7' in place of Activation"),
    "wrong tuple": (lambda s: op(s).update(stride=[1, 1, 1]), "3 entries instead of 2"),
    "missing array": (lambda s: tensor(s).update(data={"array": 999}), "array 999 is missing"),
    "another array": (lambda s: tensor(s).update(data={"array": 2}), "its array"),
    "unknown tensor": (lambda s: op(s).update(inputs=["nothing"]), "no tensor 'nothing'"),
    "unknown input": (lambda s: s["graph"].update(inputs=["nothing"]), "no tensor 'nothing'"),
    "order": (lambda s: s["graph"]["ops"].reverse(), "used before anything writes it"),
    "same names": (lambda s: op(s, 1).update(name=op(s)["name"]), "two operators have one name"),
    "op name": (lambda s: op(s).update(name="a; int b"), "cannot be called 'a; int b'"),
    "tensor name": (lambda s: tensor(s).update(name="nothing"), "is called 'nothing' too"),
    "empty shape": (lambda s: tensor(s).update(shape=[0]), "has shape"),
    "C name": (lambda s: s["graph"].update(name="int"), "cannot name a model"),
    "encoding": (lambda s: tensor(s).update(encoding={"type": "Logarithmic"}), "in place of"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_wrong_structure(case: str) -> None:
    change, message = CHANGES[case]
    with pytest.raises(TinygenError, match=message) as caught:
        read_tg(rewritten(change), where="net.tg")
    assert caught.value.where.startswith("net.tg") or case == "C name"


ENTRIES: dict[str, tuple[dict[str, bytes | None], str]] = {
    "no array": ({"arrays/0.npy": None}, "nothing refers to"),
    "stray": ({"extra.txt": b"x"}, "holds extra.txt"),
    "not npy": ({"arrays/0.npy": b"x" * 200}, "damaged"),
    "short": ({"arrays/0.npy": npy(np.zeros(5))[:-1]}, "has 39 bytes of data"),
    "pickle": ({"arrays/0.npy": npy(np.array([{}], object), version=(1, 0))}, "not plain"),
    "fortran": ({"arrays/0.npy": npy(np.asfortranarray(np.zeros((3, 4))), version=(1, 0))}, "row by row"),
    "big-endian": ({"arrays/0.npy": npy(np.zeros(4, ">i4"), version=(1, 0))}, "little-endian"),
    "version 2": ({"arrays/0.npy": npy(np.zeros(4), version=(2, 0))}, "version 1.0"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_wrong_entries(case: str) -> None:
    files, message = ENTRIES[case]
    with pytest.raises(ModelError, match=message):
        read_tg(rewritten(lambda s: None, files))


def test_no_structure() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("arrays/0.npy", npy(np.zeros(3), version=(1, 0)))
    with pytest.raises(ModelError, match=r"has no graph\.json"):
        read_tg(buffer.getvalue())


def test_huge_claim() -> None:
    """A header that claims a terabyte is refused before anything is allocated."""
    header = npy(np.zeros(3, np.int8), version=(1, 0)).replace(b"(3,), }", b"(1000000000000,), }")
    with pytest.raises(ModelError):
        read_tg(rewritten(lambda s: None, {"arrays/0.npy": header}))


def test_compressed_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("graph.json", b" " * 100_000)
    with pytest.raises(ModelError, match="compressed"):
        read_tg(buffer.getvalue())


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"null", b"[" * 100_000, b'{"format": NaN}', b'{"a": 1, "a": 2}', b"\xff"]
)
def test_wrong_json(text: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("graph.json", text)
    with pytest.raises(ModelError):
        read_tg(buffer.getvalue())


def test_truncated_and_changed() -> None:
    """Every cut is an error; every changed byte is one, or is a byte that does not count."""
    for length in range(0, len(CONTENT), 211):
        with pytest.raises(ModelError):
            read_tg(CONTENT[:length])
    errors, rng = 0, random.Random(5)
    for _ in range(400):
        data = bytearray(CONTENT)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            same(read_tg(bytes(data)), DIGITS)
        except TinygenError:
            errors += 1
    assert errors > 300


def test_not_a_file_for_unknown_objects() -> None:
    """What files cannot hold is refused when it is written."""

    @dataclass(frozen=True, kw_only=True)
    class Strange(Conv2D):
        extra: object = None

    conv = next(op for op in DIGITS.ops if isinstance(op, Conv2D))
    values = {field.name: getattr(conv, field.name) for field in fields(conv)}
    strange = Strange(**values, extra=object())
    ops = tuple(strange if op is conv else op for op in DIGITS.ops)
    with pytest.raises(TinygenError, match="a object cannot be saved"):
        write_tg(replace(DIGITS, ops=ops))


def test_classes_outside_the_ir_are_not_made() -> None:
    """A class that a user derives from an operator cannot be called up by a file."""

    @dataclass(frozen=True, kw_only=True)
    class Foreign(Conv2D):
        pass

    content = {"type": "Foreign", "name": "a", "inputs": [], "outputs": [], "padding": "same", "stride": [1, 1]}
    with pytest.raises(ModelError, match="'Foreign' is no Op"):
        Decoder([]).decode(content, Op, "op")
    assert isinstance(Decoder([]).decode(content | {"type": "Conv2D"}, Op, "op"), Conv2D)


def test_unions_keep_types() -> None:
    """int | float: 1 stays an int, 1.0 a float; None is one of a union's choices."""
    decoder = Decoder([])
    assert type(decoder.decode(1, int | float, "x")) is int
    assert type(decoder.decode(1.0, float | int, "x")) is float
    assert decoder.decode(None, tuple[int, int] | None, "x") is None
    assert decoder.decode({"type": "Plain", "storage": "int32"}, Encoding, "x") == Plain("int32")
    with pytest.raises(ModelError, match="in place of a number"):
        decoder.decode(10**400, float, "x")


def encoded(encoding: dict[str, Any]) -> Callable[[dict[str, Any]], object]:
    """Gives an int8 constant another encoding."""

    def change(structure: dict[str, Any]) -> None:
        tensors = structure["graph"]["tensors"].values()
        next(t for t in tensors if t["data"] and t["encoding"]["storage"] == "int8").update(encoding=encoding)

    return change


ENCODINGS: dict[str, tuple[dict[str, Any], str]] = {
    "storage": ({"type": "Affine", "storage": "object", "scale": [1.0], "zero_point": [0]}, "codes of type 'object'"),
    "zero scale": ({"type": "Affine", "storage": "int8", "scale": [0.0], "zero_point": [0]}, "not a positive number"),
    "infinite": ({"type": "Affine", "storage": "int8", "scale": [{"float": "inf"}], "zero_point": [0]}, "positive"),
    "zero points": ({"type": "Affine", "storage": "int8", "scale": [1.0], "zero_point": [0, 0]}, "1 scales and the"),
    "far zero": ({"type": "Affine", "storage": "int8", "scale": [1.0], "zero_point": [300]}, "zero points"),
    "no axis": ({"type": "Affine", "storage": "int8", "scale": [1.0, 2.0], "zero_point": [0, 0]}, "no axis"),
    "axis": ({"type": "Affine", "storage": "int8", "scale": [1], "zero_point": [0], "axis": 9}, "along axis 9"),
    "bits": ({"type": "Levels", "scale": [1.0], "bits": 9, "signed": True}, "levels of 9 bits"),
    "exponents": ({"type": "PowerOfTwo", "scale": [1.0], "exponents": 40}, "40 exponents"),
    "table": ({"type": "Codebook", "scale": [1.0], "table": [1]}, "a table that is not"),
    "wide table": ({"type": "Codebook", "scale": [1.0], "table": [1, 99999]}, "a table that is not"),
    "codes": ({"type": "Ternary", "scale": [1.0]}, "ternary scale 1 has -1 to 1"),
}


@pytest.mark.parametrize("case", ENCODINGS)
def test_wrong_encodings(case: str) -> None:
    encoding, message = ENCODINGS[case]
    with pytest.raises(ModelError, match=message):
        read_tg(rewritten(encoded(encoding)))


def leaves(content: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything in a JSON document."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [found for key, item in pairs for found in ((content, key), *leaves(item))]


def random_value(rng: random.Random, old: Any) -> Any:
    numbers = [0, 1, -1, 2, 7, 255, 2**31, -(2**63), 10**30, 0.5, -2.0, 1e300]
    others = [None, True, "", "x", "Conv2D", "same", [], [1, 1], [[0, 0]] * 4, {}, {"array": 0}, {"float": "nan"}]
    if isinstance(old, list) and old and rng.random() < 0.5:
        return old[:-1] if rng.random() < 0.5 else old + old[:1]
    if isinstance(old, int) and rng.random() < 0.4:
        return old + rng.choice([-1, 1, 3])
    return rng.choice(numbers + others)


def outcome(seed: int) -> str:
    """What a file with one or two values changed gives: "error", or "fine" when it goes all the way."""
    rng = random.Random(seed)

    def change(structure: dict[str, Any]) -> None:
        for _ in range(rng.choice([1, 1, 2])):
            container, key = rng.choice(leaves(structure["graph"]))
            container[key] = random_value(rng, container[key])

    try:
        graph = simplify(read_tg(rewritten(change), where="net.tg"))
        if sum(node.op.macs(node) for node in graph.nodes()) < 1 << 24:
            evaluate(graph, [np.zeros(graph.tensors[n].shape, graph.tensors[n].dtype) for n in graph.inputs])
        lower(graph, isa=("c99", "dsp"))
    except TinygenError as error:
        assert error.where, error
        return "error"
    return "fine"


@pytest.mark.parametrize("count", [60, pytest.param(1500, marks=pytest.mark.long)])
def test_changed_values(count: int) -> None:
    with np.errstate(all="ignore"):
        results = Counter(outcome(seed) for seed in range(count))
    print(dict(results))
    assert results["error"] > count / 3
    assert results["fine"] > 0
