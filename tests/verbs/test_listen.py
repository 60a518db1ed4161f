"""Sound to the firmware of a wake word: codes are the semantics' on the features that NumPy computes, the averages and
detections pymicro-wakeword's on those codes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import tinygen
from tests.support.streaming_models import needs_wake_words, wake_word
from tests.targets.tools import requires_package, requires_tool
from tinygen.audio.codes import FeatureCodes
from tinygen.audio.micro_frontend import MicroFrontend
from tinygen.audio.speech import say
from tinygen.audio.wav import write_wav
from tinygen.errors import BoardError, TinygenError
from tinygen.frontends.load import load_model
from tinygen.frontends.tg import save_tg
from tinygen.hil.audio import HopEvent
from tinygen.hil.device import open_device
from tinygen.ir.encodings import Affine
from tinygen.ir.interpreter import Stream
from tinygen.ir.network import Network, Switch
from tinygen.project.wakeword_json import wakeword_app_from_json
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.listen import ListenReport, listen, listen_to_board

pytestmark = [needs_wake_words, requires_package("espeakng_loader")]
NAME, CUTOFF = "alexa", 0.9


@cache
def speech() -> np.ndarray:
    """int16: somebody says the word, in noise."""
    quiet = np.zeros(6400, np.int16)
    parts = [quiet, say("Alexa"), quiet, say("good morning", voice="en-gb")]
    noise = np.random.default_rng(5).normal(0, 40, sum(part.size for part in parts))
    return np.clip(np.concatenate(parts) + noise, -32768, 32767).astype(np.int16)


def build_for(board: str, out: Path, toolchain: str | None = None) -> Path:
    model = wake_word(NAME)
    app = wakeword_app_from_json(model.with_suffix(".json"))
    options = BuildOptions(board=board, toolchain=toolchain, app=app)
    return build(model, out, options, profile=False).folder


def semantics(sound: np.ndarray) -> list[int]:
    """The output code of each inference."""
    graph = load_model(wake_word(NAME))
    encoding = graph.tensors[graph.inputs[0]].encoding
    assert isinstance(encoding, Affine)
    frames = FeatureCodes(encoding).apply(MicroFrontend().process(sound))
    stream = Stream(graph)
    return [int(stream.step([frames[None, i : i + 3]])[0].item()) for i in range(0, len(frames) - 2, 3)]


def check(report: ListenReport, sound: np.ndarray) -> None:
    codes = semantics(sound)
    ran = [event for event in report.events if event.ran]
    assert [event.codes[0] for event in ran] == codes and len(set(codes)) > 5
    # The first frame is there with the third hop, and an inference every third frame.
    assert [event.hop for event in ran] == list(range(4, len(report.events), 3))
    means = [0.0] * 4 + [statistics.mean([c / 256 for c in codes[i : i + 5]]) for i in range(len(codes) - 4)]
    assert list(report.probabilities) == means
    assert [event.detected for event in ran] == [mean > CUTOFF for mean in means]
    assert report.counted.detections == sum(mean > CUTOFF for mean in means)
    assert report.counted.hops == len(report.events) == sound.size // 160
    # QEMU's clock is the computer's: under load a hop may be late, and is asked for again.
    late = report.troubles if report.device.endswith("-qemu") else ()
    assert all(one.endswith(" was sent again") for one in late) and late == report.troubles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the host."""
    return build_for("host", tmp_path_factory.mktemp("listen") / "host")


def test_on_the_host(folder: Path) -> None:
    sound = speech()
    heard: list[tuple[int, float]] = []
    report = listen(folder, [sound], on_event=lambda event, probability: heard.append((event.hop, probability)))
    check(report, sound)
    assert report.counted.detections > 0 and report.detections
    assert [hop for hop, _ in heard] == list(range(sound.size // 160))
    first = report.detections[0]
    assert first.label == "Alexa" and first.seconds == pytest.approx((first.hop + 1) / 100)
    assert first.probability <= first.highest == max(report.probabilities)


def test_on_the_emulated_board(tmp_path: Path) -> None:
    path, sound = build_for("f746zg", tmp_path / "board"), speech()
    report = listen(path, [sound[:1000], sound[1000:]])
    check(report, sound)
    time = report.as_json()["time"]
    assert time["cycles_source"] == "predicted" and time["hops_over_budget"] == 0 and time["budget_ms"] == 10
    without, within = report.without_inference, report.with_inference
    assert without.worst is not None and within.worst is not None and within.median is not None
    assert 10_000 < without.worst < 60_000 and within.worst < 200_000 and within.median <= within.worst
    assert report.counted.worst_with == max(e.frontend_cycles + e.inference_cycles for e in report.events)
    assert report.share is not None and 0.005 < report.share < 0.1


@pytest.mark.long
@pytest.mark.parametrize(
    ("board", "toolchain"),
    [
        ("esp32c3", "zig"),
        pytest.param("f746zg", "gcc", marks=requires_tool("arm-none-eabi-gcc")),
        pytest.param("esp32c3", "gcc", marks=requires_tool("riscv64-unknown-elf-gcc")),
        pytest.param("netduinoplus2", "zig", marks=requires_tool("qemu-system-arm")),
        ("l4r5zi", "zig"),
        ("u575zi-q", "zig"),
        ("h743zi", "zig"),
    ],
)
def test_on_other_boards(board: str, toolchain: str, tmp_path: Path) -> None:
    sound = speech()
    check(listen(build_for(board, tmp_path / "board", toolchain), [sound]), sound)


def test_each_switch_has_its_cutoff(tmp_path: Path) -> None:
    """The same network twice: the second one detects what the first one does not."""
    graph = load_model(wake_word(NAME))
    save_tg(Network("twice", (Switch("strict", graph), Switch("lenient", graph))), tmp_path / "twice.tg")
    app = replace(wakeword_app_from_json(wake_word(NAME).with_suffix(".json")), switch_cutoffs={"strict": 0.99})
    out = build(tmp_path / "twice.tg", tmp_path / "out", BuildOptions(board="host", app=app), profile=False).folder
    sound = speech()
    with open_device(out) as device:
        reports = []
        for index in (0, 1, 0):
            device.client.set_switch(index)
            reports.append(listen(out, [sound], device=device))
    for report, cutoff in zip(reports, (0.99, CUTOFF, 0.99), strict=True):
        assert report.probabilities == reports[0].probabilities
        ran = [event.detected for event in report.events if event.ran]
        assert ran == [mean > cutoff for mean in report.probabilities]
    assert reports[1].counted.detections > reports[0].counted.detections


def test_an_interruption_keeps_what_was_heard(folder: Path) -> None:
    def interrupt(event: HopEvent, probability: float) -> None:
        if event.hop == 20:
            raise KeyboardInterrupt

    with open_device(folder) as device:
        report = listen(folder, [speech()], device=device, on_event=interrupt)
        assert len(report.events) == report.counted.hops == 21
        assert len(listen(folder, [speech()[:8000]], device=device).events) == 50


def test_the_firmware_does_all_else_too(folder: Path) -> None:
    """The same device, before and after: the model's own inferences, and listening again."""
    frame = [np.zeros((1, 3, 40), np.int8)]
    sound = speech()[:8000]
    with open_device(folder) as device:
        before = device.infer(frame)
        one = listen(folder, [sound], device=device)
        np.testing.assert_array_equal(device.infer(frame), before)
        two = listen(folder, [sound], device=device)
    assert one.probabilities == two.probabilities


def test_the_manifest_says_what_it_listens_for(folder: Path) -> None:
    app = json.loads((folder / "manifest.json").read_text())["app"]
    assert (app["kind"], app["wake_word"], app["cutoff_sums"]) == ("wakeword", "Alexa", [[1153]])  # 1152 / 1280 is 0.9
    assert app["features"]["hop_ms"] == 10 and app["step_frames"] == app["frames"] == 3
    assert 2000 < app["ram_bytes"] < 4000 < app["flash_bytes"] < 40000


@pytest.mark.long
@requires_tool("make")
@requires_tool("cc")
def test_the_projects_own_makefile_builds_it(folder: Path) -> None:
    done = subprocess.run(["make", "-C", str(folder), "firmware.elf"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "audio/features.c" in done.stdout and "firmware/wakeword/listen.c" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("board", ["esp32s3", "f746zg"])
def test_projects_for_other_tools_have_its_sources(board: str, tmp_path: Path) -> None:
    path = build_for(board, tmp_path / "board")
    text = (path / ("main/CMakeLists.txt" if board == "esp32s3" else "platformio.ini")).read_text()
    for source in ("audio/features.c", "firmware/wakeword/wakeword.c", "firmware/wakeword/block.c"):
        assert source in text and (path / source).is_file()
    assert (path / "wakeword/wakeword_config.h").is_file() and (path / "firmware/wakeword/listen.h").is_file()


def test_the_command(folder: Path, tmp_path: Path) -> None:
    sound = speech()[:16000]
    write_wav(tmp_path / "a.wav", sound)
    done = tinygen("listen", folder, "--wav", tmp_path / "a.wav", "--wav", tmp_path / "a.wav", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["hops"] == 200 and report["wake_word"] == "Alexa" and report["time"]["cycles_source"] == "measured"
    assert report["probabilities"] == list(listen(folder, [sound, sound]).probabilities)
    text = tinygen("listen", folder, "--wav", tmp_path / "a.wav")
    assert text.returncode == 0 and "budget 10 ms" in text.stdout and "of real time" in text.stdout


def test_the_command_refuses(folder: Path, tmp_path: Path) -> None:
    for arguments, words in (
        ([folder], "--wav FILE"),
        ([folder, "--wav", tmp_path / "missing.wav"], "missing.wav"),
        ([folder, "--wav", "x.wav", "--mic"], "too much"),
    ):
        done = tinygen("listen", *arguments)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert words in " ".join(done.stderr.split()), done.stderr


def test_sound_shorter_than_a_hop(folder: Path) -> None:
    with pytest.raises(TinygenError, match="shorter than a hop, which is 160 samples"):
        listen(folder, [np.zeros(100, np.int16), np.zeros(59, np.int16)])


def test_what_no_microphone_hears(folder: Path) -> None:
    with pytest.raises(BoardError, match="nothing can be played to its microphone: it is not emulated"):
        listen_to_board(folder, np.zeros(160, np.int16))


def test_a_build_that_does_not_listen(tmp_path: Path) -> None:
    path = build(wake_word(NAME), tmp_path / "plain", BuildOptions(board="host"), profile=False).folder
    with pytest.raises(TinygenError, match="its firmware does not listen"):
        listen(path, [speech()[:1600]])
    assert not (path / "audio").exists()


def test_the_build_command(tmp_path: Path) -> None:
    done = tinygen("build", wake_word(NAME), "--board", "host", "--app", "wakeword", "--out", tmp_path / "x")
    assert done.returncode == 0, done.stderr
    assert "Alexa, cutoff 0.9 over 5; flash" in done.stdout
    refused = tinygen("build", wake_word(NAME), "--app", "wakeword", "--config", "none.json", "--out", tmp_path / "y")
    assert refused.returncode == 1 and "none.json" in refused.stderr and not (tmp_path / "y").exists()
