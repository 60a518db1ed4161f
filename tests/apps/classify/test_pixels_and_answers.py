"""Pixels to codes by the input's own scale; outputs to classes, probabilities and margins; labels; choices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinygen.apps.classify.answers import answer_of
from tinygen.apps.classify.choices import CHOICES, Settings, Store, Trained, parse_choices
from tinygen.apps.classify.labels import read_labels
from tinygen.apps.classify.pixels import pixel_codes
from tinygen.builds.compare import class_count
from tinygen.demo import MODEL
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.ir.encodings import Affine, Encoding, Float32, Plain
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.softmax import Softmax
from tinygen.ir.tensor import Tensor

EVERY = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def _graph(x: Encoding, shape: tuple[int, ...] = (1, 16, 16, 1), y: Encoding | None = None, classes: int = 3) -> Graph:
    """Only its ends matter here."""
    tensors = [Tensor("x", shape, x), Tensor("y", (1, classes), y or Affine("int8", (0.1,), (0,)))]
    return Graph("net", {tensor.name: tensor for tensor in tensors}, (), ("x",), ("y",))


@pytest.mark.parametrize(
    ("encoding", "wanted"),
    [
        (Affine("int8", (1.0,), (-128,)), np.arange(256) - 128),
        (Affine("int8", (1 / 255,), (-128,)), np.arange(256) - 128),
        (Affine("uint8", (1 / 255,), (0,)), np.arange(256)),
        (Affine("int8", (2 / 255,), (0,)), None),
        (Affine("int8", (0.00390625,), (-128,)), None),
    ],
)
def test_usual_ranges(encoding: Affine, wanted: np.ndarray | None) -> None:
    takes = pixel_codes(_graph(encoding))
    codes = takes.codes(EVERY)
    assert codes.dtype == encoding.dtype and codes.shape == EVERY.shape
    if wanted is not None:
        assert (codes.ravel() == wanted).all()
    real = encoding.scale[0] * (codes.astype(int).ravel() - encoding.zero_point[0])
    pixels = takes.black + np.arange(256) * (takes.white - takes.black) / 255
    assert np.abs(real - pixels).max() <= encoding.scale[0] / 2 + 0.005


def test_given_range_and_floats() -> None:
    strange = _graph(Affine("int8", (0.0371,), (-14,)))
    with pytest.raises(TinygenError, match="which may mean any pixels"):
        pixel_codes(strange)
    takes = pixel_codes(strange, (-2.0, 2.5))
    assert takes.codes(EVERY).ravel()[[0, 255]].tolist() == [round(-2 / 0.0371) - 14, round(2.5 / 0.0371) - 14]
    with pytest.raises(TinygenError, match="does not say which are black and white"):
        pixel_codes(_graph(Float32()))
    assert pixel_codes(_graph(Float32()), (-1, 1)).codes(EVERY).ravel()[[0, 255]].tolist() == [-1.0, 1.0]


def test_no_images() -> None:
    for shape in ((1, 10), (1, 49, 10, 2), (2, 8, 8, 3)):
        with pytest.raises(TinygenError, match="which is no image"):
            pixel_codes(_graph(Affine("int8", (1.0,), (-128,)), shape))
    with pytest.raises(TinygenError, match="which is no image"):
        pixel_codes(_graph(Plain("int8")))
    graph = _graph(Affine("int8", (1.0,), (-128,)))
    with pytest.raises(TinygenError, match="has 2 outputs"):
        pixel_codes(replace(graph, outputs=("y", "y")))


def test_answers_from_logits() -> None:
    graph = _graph(Float32(), y=Affine("int32", (0.001,), (0,)))
    answer = answer_of(np.array([[1000, 3000, 2500]], np.int32), graph)
    powers = np.exp([1.0, 3.0, 2.5])
    assert (answer.index, answer.margin) == (1, 500)
    assert answer.probability == pytest.approx(powers[1] / powers.sum())
    assert [index for index, _ in answer.top] == [1, 2, 0]
    # Of equal ones the first, as everywhere else.
    assert answer_of(np.array([[5, 5, 5]], np.int32), graph).index == 0
    assert answer_of(np.array([[1, 2, 0]], np.int8), _graph(Float32(), y=Plain("int8"))).probability is None


def test_answers_of_a_softmax_are_its_own() -> None:
    plain = _graph(Float32(), y=Affine("int8", (1 / 256,), (-128,)))
    graph = replace(plain, ops=(Softmax(name="s", inputs=("z",), outputs=("y",)),))
    answer = answer_of(np.array([[-128, 120, -120]], np.int8), graph)
    assert answer.probability == pytest.approx(248 / 256)
    assert answer_of(np.array([[-128, 120, -120]], np.int8), plain).probability == pytest.approx(0.5646, abs=1e-3)


def test_one_output_decides_between_two() -> None:
    graph = _graph(Float32(), y=Affine("int8", (1 / 256,), (-128,)), classes=1)
    assert class_count(graph) == 2
    yes, no = (answer_of(np.array([[code]], np.int8), graph) for code in (100, -100))
    assert (yes.index, no.index) == (1, 0)
    assert yes.probability == pytest.approx(228 / 256) and no.probability == pytest.approx(228 / 256)


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog \nbird\n\n")
    assert read_labels(path, 3) == ("cat", "dog", "bird")
    with pytest.raises(TinygenError, match="has 3 names, the model 10 classes"):
        read_labels(path, 10)
    with pytest.raises(TinygenError, match="there is no such file"):
        read_labels(tmp_path / "none", 3)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TinygenError, match="cannot be read as text"):
        read_labels(path, 3)


def test_choices() -> None:
    assert parse_choices("all") == tuple(CHOICES)
    assert parse_choices("xnor, int8") == ("xnor", "int8")
    for text, words in (("int8,w5", "there is no choice 'w5'"), ("", "no choice"), ("w4,w4", "twice")):
        with pytest.raises(TinygenError, match=words):
            parse_choices(text)


def test_store(tmp_path: Path) -> None:
    """What was kept comes back, unless it was made otherwise, or is damaged."""
    trained = Trained("int8", Network.of(load_model(MODEL)), {"": [2, 41, 42]}, 1.5)
    store = Store(tmp_path / "networks", Settings(), [b"code"])
    assert store.load("int8") is None
    store.keep(trained)
    found = store.load("int8")
    assert found is not None and found.network is not None
    assert (found.wrong, found.seconds, found.network.first.name) == ({"": [2, 41, 42]}, 1.5, "digits")
    assert [found.right(count) for count in (100, 42, 2)] == [{"": 97}, {"": 40}, {"": 2}]  # of the first so many
    assert Store(store.folder, Settings(seed=1), [b"code"]).load("int8") is None
    assert Store(store.folder, Settings(), [b"other code"]).load("int8") is None
    assert sorted(path.name for path in store.folder.iterdir()) == ["int8.json", "int8.tg"]
    content = bytearray(store.model_file("int8").read_bytes())
    content[len(content) // 2] ^= 1
    store.model_file("int8").write_bytes(content)
    assert store.load("int8") is None
    for action in (lambda: store.check("int8"), lambda: store.keep(trained)):
        with pytest.raises(TinygenError, match=r"int8\.tg: has been changed since tinygen wrote it"):
            action()
    Store(store.folder, Settings(), [b"code"], force=True).keep(trained)
    assert store.load("int8") is not None
    (store.folder / "int8.json").write_text("{}")
    assert store.load("int8") is None
    with pytest.raises(TinygenError, match=r"int8\.json: stands where"):
        store.keep(trained)
