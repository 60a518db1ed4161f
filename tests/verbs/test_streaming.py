"""Models that keep something between inferences, on devices: every frame is the semantics', whatever the line loses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hil.client import DeviceClient
from hil.exchange import RefusedError
from hil.law import law_of
from hil.session import Session
from tests.hil.faulty import FaultyDevice, digits_on, misses_the_command, resets, resets_quietly
from tests.support.streaming_models import SMALL, WAKE_WORDS, frames, needs_wake_words, wake_word
from tinygen.frontends.load import load_model
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.interpreter import Stream, evaluate
from tinygen.verbs.arrays import Samples
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.device import open_device
from tinygen.verbs.run import run
from tinygen.verbs.verify import verify

BOARD = "f746zg"
GRAPH = read_tflite(SMALL["accumulator"](), name="accumulator")


def slow_frames(count: int) -> list[list[np.ndarray]]:
    """Small steps, so that sums say how often each was taken."""
    return [[np.array([[i % 3 + 3, 4, 2 - i % 2, 3]], np.int8)] for i in range(count)]


def law(samples: list[list[np.ndarray]]) -> list[np.ndarray]:
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


@pytest.mark.parametrize("name", ["ring", "delay_line"])
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
@pytest.mark.parametrize("board", [BOARD, "esp32c3"])
@pytest.mark.parametrize("name", WAKE_WORDS)
def test_wake_words_on_boards_for_long(name: str, board: str, tmp_path: Path) -> None:
    inputs = write(frames(load_model(wake_word(name)), 1000), tmp_path / "x.npz")
    report = verify(wake_word(name), inputs, BuildOptions(board=board))
    assert report.identical, [comparison.as_json() for comparison in report.comparisons]


def test_run_takes_the_rows_as_one_stream(folder: Path, tmp_path: Path) -> None:
    samples = slow_frames(6)
    result = run(folder, write(samples, tmp_path / "x.npz"), outputs=tmp_path / "y.npy")
    assert len(result.rows) == 6
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), law(samples))


def test_steps_go_on_and_inferences_begin_anew(folder: Path) -> None:
    samples = slow_frames(4)
    expected = law(samples)
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
        np.testing.assert_array_equal(device.step(samples[0])[0], law(samples)[0])
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
        np.testing.assert_array_equal(np.frombuffer(client.read(0), np.int8), law(samples)[-1][0])
        np.testing.assert_array_equal(device.step(samples[0])[0], law(samples)[0])


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
def test_nothing_is_lost_or_done_twice(folder: Path, command: str, fault: Callable[[FaultyDevice], bool]) -> None:
    """A device that restarts, or misses a command: what was kept is made again from the inputs."""
    samples = slow_frames(5)
    line = FaultyDevice([folder / "firmware.elf"], command, [1, 4], fault)
    client = DeviceClient(line, infer_seconds=2.0)
    outputs = [client.infer([sample[0].tobytes()], keep=True).outputs[0] for sample in samples]
    client.close()
    np.testing.assert_array_equal([np.frombuffer(y, np.int8) for y in outputs], np.concatenate(law(samples)))
    assert line.count >= 1


def test_a_session_holds_each_input_against_a_first_inference(folder: Path) -> None:
    samples = [*slow_frames(3), *slow_frames(3)]
    with open_device(folder) as device:
        codes = np.stack([sample[0] for sample in samples])
        found = Session(device, law_of(folder, None), Samples((codes,), None)).collect()
    assert not found.stopped and not found.incidents
    assert [row.matches for row in found.rows] == [True] * 6
    np.testing.assert_array_equal(found.rows[1].outputs[0], evaluate(GRAPH, samples[1])[0])


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
    client = DeviceClient(Recording([folder / "firmware.elf"], "tg-run", [2], loses_the_reply), infer_seconds=2.0)
    outputs = [client.infer([sample[0].tobytes()], keep=True).outputs[0] for sample in samples]
    client.close()
    np.testing.assert_array_equal([np.frombuffer(y, np.int8) for y in outputs], np.concatenate(law(samples)))
    assert client.troubles


def test_a_model_that_keeps_nothing_is_not_reset(tmp_path: Path) -> None:
    with open_device(digits_on("host", tmp_path)) as device:
        assert not device.keeps and device.info is not None and device.info.state_bytes == 0
        device.reset()
        with pytest.raises(RefusedError, match="keeps nothing"):
            device.client.reset()
        image = np.zeros(device.manifest["inputs"][0]["shape"], np.int8)
        np.testing.assert_array_equal(device.step([image])[0], device.infer([image])[0])
