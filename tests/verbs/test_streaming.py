"""Models that keep something between inferences, on devices: every frame is the semantics', whatever the line loses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.hil.faulty import FaultyDevice, digits_on, is_unplugged, misses_the_command, resets, resets_quietly
from tests.support.streaming_models import SMALL, WAKE_WORDS, frames, needs_wake_words, wake_word
from tinygen.bench.case import case_of
from tinygen.bench.measure import Job, measure
from tinygen.builds.arrays import Samples, load_samples
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.hil import client as hil_client
from tinygen.hil.client import DeviceClient
from tinygen.hil.device import open_device
from tinygen.hil.exchange import RefusedError
from tinygen.hil.farm import Target, run_shared
from tinygen.hil.semantics import Semantics, semantics_of
from tinygen.hil.session import Session
from tinygen.ir.interpreter import Stream, evaluate
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import find_toolchain
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.farm import FarmOptions, farm
from tinygen.verbs.hil import HilOptions, hil
from tinygen.verbs.run import RunOptions, run
from tinygen.verbs.verify import verify

BOARD = "f746zg"
GRAPH = read_tflite(SMALL["accumulator"](), name="accumulator")


def slow_frames(count: int) -> list[list[np.ndarray]]:
    """Small steps, so that sums say how often each was taken."""
    return [[np.array([[i % 3 + 3, 4, 2 - i % 2, 3]], np.int8)] for i in range(count)]


def semantics(samples: list[list[np.ndarray]]) -> list[np.ndarray]:
    stream = Stream(GRAPH)
    return [stream.step(sample)[0] for sample in samples]


def write(samples: list[list[np.ndarray]], path: Path) -> Path:
    np.savez(path, x=np.stack([sample[0] for sample in samples]))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of the accumulator for the host."""
    path = tmp_path_factory.mktemp("streaming")
    model = path / "accumulator.tflite"
    model.write_bytes(SMALL["accumulator"]())
    return build(model, path / "host", BuildOptions(board="host"), profile=False).folder


@pytest.mark.parametrize("name", ["ring", pytest.param("delay_line", marks=pytest.mark.long)])
def test_verify(name: str, tmp_path: Path) -> None:
    model = tmp_path / f"{name}.tflite"
    model.write_bytes(SMALL[name]())
    inputs = write(frames(read_tflite(SMALL[name]()), 25), tmp_path / "x.npz")
    report = verify(model, inputs, BuildOptions(board=BOARD))
    assert report.identical and report.samples == 25
    pairs = [comparison.as_json()["pair"] for comparison in report.comparisons]
    assert pairs == ["litert-ref/semantics", "semantics/host", f"semantics/{BOARD}-emulated"]


def test_verify_says_where_it_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A semantics that forgets: the second frame's output."""
    model = tmp_path / "accumulator.tflite"
    model.write_bytes(SMALL["accumulator"]())
    inputs = write(slow_frames(4), tmp_path / "x.npz")
    monkeypatch.setattr(Stream, "step", lambda self, sample: evaluate(self.graph, sample))
    report = verify(model, inputs, BuildOptions(board="host"))
    assert not report.identical
    for comparison in report.comparisons:
        assert comparison.mismatches == 3 and comparison.where is not None
        assert (comparison.where.sample, comparison.where.layer) == (1, "")


@needs_wake_words
def test_a_wake_word_on_the_board(tmp_path: Path) -> None:
    model = wake_word("hey_mycroft")
    inputs = write(frames(load_model(model), 30), tmp_path / "x.npz")
    report = verify(model, inputs, BuildOptions(board=BOARD))
    assert report.identical, [comparison.as_json() for comparison in report.comparisons]


@needs_wake_words
@pytest.mark.long
@pytest.mark.parametrize(("name", "board"), zip(WAKE_WORDS, [BOARD, "esp32c3"] * 2, strict=True))
def test_wake_words_on_boards_for_long(name: str, board: str, tmp_path: Path) -> None:
    """Each on one board; on both: tests/audio/test_wakeword_models.py."""
    inputs = write(frames(load_model(wake_word(name)), 1000), tmp_path / "x.npz")
    report = verify(wake_word(name), inputs, BuildOptions(board=board))
    assert report.identical, [comparison.as_json() for comparison in report.comparisons]


def test_run_takes_the_rows_as_one_stream(folder: Path, tmp_path: Path) -> None:
    samples = slow_frames(6)
    result = run(folder, write(samples, tmp_path / "x.npz"), RunOptions(outputs=tmp_path / "y.npy"))
    assert len(result.rows) == 6
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), semantics(samples))


def test_steps_go_on_and_inferences_begin_anew(folder: Path) -> None:
    samples = slow_frames(4)
    expected = semantics(samples)
    with open_device(folder) as device:
        assert device.info is not None and device.info.state_bytes == 4
        np.testing.assert_array_equal([device.step(sample)[0] for sample in samples], expected)
        device.reset()
        np.testing.assert_array_equal(device.step(samples[0])[0], expected[0])
        np.testing.assert_array_equal(device.step(samples[1])[0], expected[1])
        np.testing.assert_array_equal(device.infer(samples[0])[0], expected[0])
        np.testing.assert_array_equal(device.infer(samples[0])[0], expected[0])
        # Behind an inference that is none of the stream's, the next step is the first.
        np.testing.assert_array_equal(device.step(samples[0])[0], expected[0])
        tensors = device.intermediate(samples[0])
        np.testing.assert_array_equal(tensors[GRAPH.outputs[0]], expected[0])


def test_painting_the_arena_begins_anew(folder: Path) -> None:
    samples = slow_frames(2)
    with open_device(folder) as device:
        device.step(samples[0])
        device.client.paint()
        np.testing.assert_array_equal(device.step(samples[0])[0], semantics(samples)[0])
        marks = device.client.marks()
        assert marks.arena is not None and marks.arena[0] <= marks.arena[1]


def test_many_inferences_by_one_command(folder: Path) -> None:
    """As MLPerf Tiny's runners have it: each goes on from the one before, warm-up included."""
    samples = slow_frames(1) * 5
    data = samples[0][0].tobytes()
    with open_device(folder) as device:
        client = device.client
        device.step(slow_frames(2)[1])
        client.load_db(data)
        client.measure(3, 2, [data])
        np.testing.assert_array_equal(np.frombuffer(client.read(0), np.int8), semantics(samples)[-1][0])
        np.testing.assert_array_equal(device.step(samples[0])[0], semantics(samples)[0])


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("tg-run", resets),
        ("tg-run", resets_quietly),
        ("tg-load", resets_quietly),
        ("tg-reset", resets),
        ("tg-reset", misses_the_command),
    ],
)
def test_nothing_is_lost_or_done_twice(
    folder: Path, command: str, fault: Callable[[FaultyDevice], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that restarts, or misses a command: what was kept is made again from the inputs."""
    if fault is misses_the_command:
        monkeypatch.setattr(hil_client, "_REPLY_SECONDS", 0.4)
    samples = slow_frames(5)
    line = FaultyDevice([folder / "firmware.elf"], command, [1, 4], fault)
    client = DeviceClient(line, infer_seconds=2.0)
    outputs = [client.infer([sample[0].tobytes()], keep=True).outputs[0] for sample in samples]
    client.close()
    np.testing.assert_array_equal([np.frombuffer(y, np.int8) for y in outputs], np.concatenate(semantics(samples)))
    assert line.count >= 1


def two_streams() -> Samples:
    """Three frames, and three more behind a reset."""
    codes = np.stack([sample[0] for sample in [*slow_frames(3), *slow_frames(3)]])
    return Samples((codes,), None, frozenset({3}))


def test_a_session_takes_its_inputs_for_streams(folder: Path) -> None:
    with open_device(folder) as device:
        found = Session(device, semantics_of(folder, None), two_streams()).collect()
    assert not found.stopped and not found.incidents and found.layers
    assert [row.matches for row in found.rows] == [True] * 6
    outputs = [row.outputs[0] for row in found.rows]
    np.testing.assert_array_equal(outputs, [*semantics(slow_frames(3))] * 2)
    assert not np.array_equal(outputs[1], evaluate(GRAPH, slow_frames(2)[1])[0])


@pytest.mark.parametrize("fault", [resets, resets_quietly])
@pytest.mark.parametrize("command", ["tg-run", "tg-load", "tg-read"])
def test_a_session_whose_line_is_lost_in_the_middle(
    folder: Path, command: str, fault: Callable[[FaultyDevice], bool]
) -> None:
    line = FaultyDevice([folder / "firmware.elf"], command, [4, 7], fault)
    with open_device(folder, transport=line) as device:
        found = Session(device, semantics_of(folder, None), two_streams()).collect(layers=False)
    assert not found.stopped and found.incidents and line.count >= 1
    assert [(row.matches, row.stable) for row in found.rows] == [(True, True)] * 6


def test_a_session_names_the_first_wrong_step_and_repeats_no_other(folder: Path) -> None:
    """All steps behind it are wrong too, up to the next stream; repeating each would take all before it each time."""
    wrong = semantics_of(folder, None)
    asked = 0

    def outputs(sample: list[np.ndarray]) -> list[np.ndarray]:
        nonlocal asked
        asked += 1  # the first is the one that is run before all
        return [codes + (asked in (3, 4)) for codes in Semantics.outputs(wrong, sample)]

    wrong.outputs = outputs  # type: ignore[method-assign, assignment]
    with open_device(folder) as device:
        found = Session(device, wrong, two_streams()).collect(layers=False)
    assert [row.matches for row in found.rows] == [True, False, False, True, True, True]
    assert [row.attempts for row in found.rows] == [1, 2, 1, 1, 1, 1] and all(row.stable for row in found.rows)
    assert found.first_mismatch is not None
    assert (found.first_mismatch.sample, found.first_mismatch.tensor) == (1, GRAPH.outputs[0])
    np.testing.assert_array_equal([row.outputs[0] for row in found.rows], [*semantics(slow_frames(3))] * 2)


def test_a_step_that_gives_something_else_once_is_done_again(folder: Path) -> None:
    """A device whose memory is spoilt: the stream is made again, and goes on."""
    with open_device(folder) as device:
        session, timed, count = Session(device, semantics_of(folder, None), two_streams()), device.timed, 0

        def spoilt(sample: list[np.ndarray], *, keep: bool = False) -> tuple[list[np.ndarray], int]:
            nonlocal count
            count += 1
            outputs, cycles = timed(sample, keep=keep)
            return ([codes + 1 for codes in outputs] if count == 4 else outputs), cycles

        device.timed = spoilt  # type: ignore[method-assign, assignment]
        found = session.collect(layers=False)
    assert [(row.matches, row.stable) for row in found.rows] == [(True, i != 2) for i in range(6)]


def test_hil_runs_the_file_as_streams(folder: Path, tmp_path: Path) -> None:
    samples = two_streams()
    np.savez(tmp_path / "x.npz", x=samples.inputs[0], reset=np.arange(6) == 3)
    report = hil(folder, HilOptions(inputs=tmp_path / "x.npz"))
    assert report.passed and report.content["switches"][0]["completed"] == 6
    np.testing.assert_array_equal(
        report.outputs["y0"], np.concatenate([semantics(slow_frames(3))] * 2).reshape(6, 1, -1)
    )
    result = run(folder, tmp_path / "x.npz", RunOptions(outputs=tmp_path / "y.npy"))
    assert len(result.rows) == 6
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), [*semantics(slow_frames(3))] * 2)


def test_verify_begins_anew_where_the_file_says_so(tmp_path: Path) -> None:
    model = tmp_path / "accumulator.tflite"
    model.write_bytes(SMALL["accumulator"]())
    np.savez(tmp_path / "x.npz", x=two_streams().inputs[0], reset=[0, 0, 0, 1, 0, 0])
    report = verify(model, tmp_path / "x.npz", BuildOptions(board="host"))
    assert report.identical and report.samples == 6


def test_a_farm_shares_streams_not_frames(tmp_path: Path, folder: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.concatenate([two_streams().inputs[0]] * 2), reset=np.arange(12) % 3 == 0)
    report = farm(folder, ["emulated", "emulated"], FarmOptions(inputs=tmp_path / "x.npz"))
    assert report.passed and report.samples == tuple(range(12))
    np.testing.assert_array_equal(report.outputs[0], [*semantics(slow_frames(3))] * 4)
    for board in report.boards:
        for stream in range(0, 12, 3):
            assert len({stream, stream + 1, stream + 2} & set(board.samples)) in (0, 3)


def test_a_stream_that_a_board_leaves_is_begun_anew_by_another(folder: Path) -> None:
    samples = slow_frames(6)
    inputs = [[sample[0].tobytes()] for sample in samples]
    gone = threading.Event()

    def unplugged(device: FaultyDevice) -> bool:
        gone.set()
        return is_unplugged(device)

    def first() -> DeviceClient:
        return DeviceClient(FaultyDevice([folder / "firmware.elf"], "tg-run", [3], unplugged), infer_seconds=2.0)

    def second() -> DeviceClient:
        assert gone.wait(60.0)
        return DeviceClient(FaultyDevice([folder / "firmware.elf"], "tg-run", [], resets), infer_seconds=2.0)

    result = run_shared([Target("a", first), Target("b", second)], inputs, streams=[range(6)])
    found = [np.frombuffer(one.outputs[0], np.int8) for one in result.inferences if one]
    np.testing.assert_array_equal(found, np.concatenate(semantics(samples)))
    a, b = result.boards
    assert a.error and a.samples == [0, 1] and not b.error and b.samples == [2, 3, 4, 5]


def test_turns_of_emulated_twins_hold_whole_streams(tmp_path: Path) -> None:
    """More than a turn in one stream, on two boards at a time."""
    model = tmp_path / "accumulator.tflite"
    model.write_bytes(SMALL["accumulator"]())
    built = build(model, tmp_path / "board", BuildOptions(board=BOARD), profile=False).folder
    codes = np.stack([sample[0] for sample in slow_frames(130)]) % 3 - 1
    np.savez(tmp_path / "x.npz", x=codes, reset=np.isin(np.arange(130), (70, 80)))
    report = hil(built, HilOptions(inputs=tmp_path / "x.npz", jobs=2))
    assert report.passed, report.content["checks"]
    (part,) = report.content["switches"]
    assert [row["sample"] for row in part["rows"]] == list(range(130))


@pytest.mark.parametrize("marks", [[0, 2, 0], [0.0, 1.0, 0.0], [[0], [1], [0]], [True, False]])
def test_marks_of_streams_that_are_none(marks: list[object], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.stack([sample[0] for sample in slow_frames(3)]), reset=marks)
    with pytest.raises(TinygenError, match=r"reset is|different numbers"):
        load_samples(tmp_path / "x.npz", (GRAPH.tensors[GRAPH.inputs[0]],))


@needs_wake_words
def test_a_wake_word_in_hil_and_bench(tmp_path: Path) -> None:
    """Frames of one stream, of which the line loses one in the middle."""
    model = wake_word("hey_mycroft")
    inputs = write(frames(load_model(model), 8), tmp_path / "x.npz")
    built = build(model, tmp_path / "host", BuildOptions(board="host"), profile=False).folder
    line = FaultyDevice([built / "firmware.elf"], "tg-run", [6], resets_quietly)
    report = hil(built, HilOptions(inputs=inputs), transport=line)
    assert report.passed and report.content["switches"][0]["incidents"]
    row = measure(
        Job(case_of("own", "hey_mycroft", model), "tinygen", find_toolchain(None, load_board(BOARD)).name, BOARD)
    )
    assert row["error"] is None and row["max_abs_diff"] == 0 and row["samples"] == 2


def test_a_reply_that_is_lost_does_not_make_two_steps_of_one(folder: Path) -> None:
    samples = slow_frames(4)

    def loses_the_reply(device: FaultyDevice) -> bool:
        device.line.write(written[-1])
        device.line.read(4096, 0.5)
        return True

    class Recording(FaultyDevice):
        def write(self, data: bytes) -> None:
            written.append(data)
            super().write(data)

    written: list[bytes] = []
    client = DeviceClient(Recording([folder / "firmware.elf"], "tg-run", [2], loses_the_reply), infer_seconds=0.6)
    outputs = [client.infer([sample[0].tobytes()], keep=True).outputs[0] for sample in samples]
    client.close()
    np.testing.assert_array_equal([np.frombuffer(y, np.int8) for y in outputs], np.concatenate(semantics(samples)))
    assert client.troubles


def test_a_model_that_keeps_nothing_is_not_reset(tmp_path: Path) -> None:
    with open_device(digits_on("host", tmp_path)) as device:
        assert not device.keeps and device.info is not None and device.info.state_bytes == 0
        device.reset()
        with pytest.raises(RefusedError, match="keeps nothing"):
            device.client.reset()
        image = np.zeros(device.manifest.inputs[0].shape, np.int8)
        np.testing.assert_array_equal(device.step([image])[0], device.infer([image])[0])
