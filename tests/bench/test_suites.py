"""What is in the suites, and what others have published about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.models import FOLDER, KWS, RESNET, needs_models
from tinygen.bench.case import Case, case_of, samples_of
from tinygen.bench.published import published, verdict
from tinygen.bench.registry import all_suites, find_suite
from tinygen.bench.suites import SuiteOptions
from tinygen.builds.predicted import error_of
from tinygen.demo import MODEL
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.targets.boards import load_board

PUBLISHED_KERNELS = 17
KERNELS = find_suite("int8-kernels").cases(SuiteOptions()).cases


def test_names() -> None:
    assert {"models", "int8-kernels"} <= {entry.name for entry in all_suites()}
    names = [case.name for case in KERNELS]
    assert len(names) == len(set(names)) >= 14
    with pytest.raises(TinygenError, match="int9"):
        find_suite("int9")


@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
def test_layers_are_worth_measuring(case: Case) -> None:
    """Outputs spread over the codes instead of sitting at a clamp, so that a wrong kernel cannot hide."""
    graph = load_model(case.model)
    outputs = [evaluate(graph, sample)[0].astype(int) for sample in samples_of(graph)]
    for codes in outputs:
        values, counts = np.unique(codes, return_counts=True)
        assert len(values) >= min(codes.size, 10) // 2
        assert counts.max() <= max(0.8 * codes.size, 1)
    assert not np.array_equal(*outputs)
    assert case.encoding == "int8"
    assert case.shape


LOWBIT = [case for case in find_suite("lowbit").cases(SuiteOptions()).cases if "1x1" in case.name][1:]
"""The first is int8."""


@pytest.mark.parametrize("case", LOWBIT, ids=lambda case: case.name)
def test_low_bit_layers_are_worth_measuring(case: Case) -> None:
    """Every code occurs often enough that a wrong kernel cannot hide."""
    graph = load_model(case.model)
    low, high = graph.tensors[graph.outputs[0]].code_range
    codes = np.concatenate([evaluate(graph, sample)[0].reshape(-1) for sample in samples_of(graph)])
    values, counts = np.unique(codes, return_counts=True)
    assert len(values) >= 0.9 * (high - low + 1)
    assert counts.max() <= 0.8 * codes.size


def test_same_weights_every_time() -> None:
    again = find_suite("int8-kernels").cases(SuiteOptions()).cases
    for one, other in zip(KERNELS, again, strict=True):
        assert isinstance(one.model, MemoryModel) and isinstance(other.model, MemoryModel)
        assert one.model.read_bytes() == other.model.read_bytes()
    assert len({case.model.read_bytes() for case in KERNELS}) == len(KERNELS)


@pytest.mark.parametrize("board", ["f746zg", "netduinoplus2"])
def test_published_kernels(board: str) -> None:
    """Every published layer is met by a case with the same number of multiply-accumulates (asserted within)."""
    found = [entry for case in KERNELS if (entry := published(case, load_board(board)))]
    assert len(found) == PUBLISHED_KERNELS
    assert all(entry["instructions"] > 1000 and entry["source"] and entry["who"] for entry in found)


@needs_models
def test_published_models(tmp_path: Path) -> None:
    m4, m7 = load_board("netduinoplus2"), load_board("f746zg")
    kws = published(case_of("models", "anything", KWS), m7)
    assert kws is not None and (kws["instructions"], kws["arena_bytes"]) == (7645571, 22820)
    assert (kws["best_ms"], kws["best_cycles"]) == (17.75, 3_834_000)
    ic = published(case_of("own", "x", RESNET), m4)
    assert ic is not None and ic["instructions"] == 29863086
    assert "best_ms" not in ic, "published at 120 MHz, this board runs at 168"
    assert ic["best_cycles"] == 19_812_000
    # A file that is not the published one is recognised by name and work together, not by either alone.
    copy, other = tmp_path / "my_KWS.tflite", tmp_path / "speech.tflite"
    for path in (copy, other):
        path.write_bytes(KWS.read_bytes() + b"\0")
    assert published(case_of("models", "a", copy), m7) == kws
    assert published(case_of("models", "a", other), m7) is None
    assert published(case_of("models", "digits", MODEL), m7) is None


def test_no_prediction_is_ranked_within_its_interval() -> None:
    board = load_board("l4r5zi")
    low, high = error_of(board).interval or (1.0, 1.0)
    best = {"best_cycles": 1_000_000}
    assert verdict(round(0.99e6 / high), best, board) == {"verdict": "fewer"}
    assert verdict(round(1.01e6 / low), best, board) == {"verdict": "more"}
    for cycles in (round(1.01e6 / high), 1_000_000, round(0.99e6 / low)):
        assert verdict(cycles, best, board) == {"verdict": "open"}
    assert verdict(None, best, board) == verdict(1, {"instructions": 1}, board) == verdict(1, None, board) == {}
    assert verdict(1, best, replace(board, core="cortex-m3")) == {}


def test_person_detection() -> None:
    """The layers that Espressif publishes a time of; values vary to the end, so that a wrong layer cannot hide."""
    (case,) = find_suite("mobilenet").cases(SuiteOptions()).cases
    assert (case.macs, case.shape, case.encoding) == (7157888, "1x96x96x1 -> 1x2", "int8")
    graph = load_model(case.model)
    assert [op.KIND for op in graph.ops].count("depthwise_conv_2d") == 14
    values = [evaluate_all(graph, sample) for sample in samples_of(graph)]
    for op in graph.ops[:-3]:
        codes, others = (one[op.outputs[0]] for one in values)
        assert len(np.unique(codes)) > 30 and not np.array_equal(codes, others), op.name
    found = published(case, load_board("esp32c3"))
    assert found is not None and (found["best_ms"], found["best_cycles"]) == (426, 68_160_000)
    assert published(case, load_board("f746zg")) is None


@needs_models
def test_folder_of_models() -> None:
    content = find_suite("models").cases(SuiteOptions([FOLDER]))
    assert {"digits", "kws_ref_model", "pretrainedResnet_quant"} <= {case.name for case in content.cases}
    resnet = next(case for case in content.cases if case.name == "pretrainedResnet_quant")
    assert (resnet.macs, resnet.shape, resnet.encoding) == (12501632, "1x32x32x3 -> 1x10", "int8")


def test_folders_that_do_not_serve(tmp_path: Path) -> None:
    models = find_suite("models")
    with pytest.raises(TinygenError, match="is not a directory"):
        models.cases(SuiteOptions([tmp_path / "nowhere"]))
    with pytest.raises(TinygenError, match="holds no"):
        models.cases(SuiteOptions([tmp_path]))
    (tmp_path / "broken.tflite").write_bytes(b"TFL3" * 9)
    (tmp_path / "digits.tflite").write_bytes(MODEL.read_bytes())
    content = models.cases(SuiteOptions([tmp_path]))
    assert [Path(entry.name).name for entry in content.skipped] == ["broken.tflite"]
    assert content.skipped[0].reason
    assert [case.name for case in content.cases[:2]] == ["digits", "digits_2"]


def test_samples() -> None:
    graph = load_model(MODEL)
    uniform, walk = (sample[0].astype(int) for sample in samples_of(graph))
    assert uniform.min() == -128 and uniform.max() == 127
    steps = np.abs(np.diff(walk.reshape(-1)))
    assert steps.max() <= 9 and walk.max() - walk.min() > 60
