"""Firmware that listens to the emulated board's own microphone, in the board's own time: nothing is lost, and every hop
comes to what it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.hil import listen_devices
from tests.support.command import tinygen
from tests.support.streaming_models import needs_wake_words
from tinygen.errors import TinygenError
from tinygen.hil.audio import HopEvent, listen_to_microphone, listened
from tinygen.hil.client import DeviceClient
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.peripheral import Port

BOARDS = ["f746zg", "esp32c3"]
HOPS, HOP = 30, 160


def without_cycles(events: list[HopEvent]) -> list[HopEvent]:
    return [replace(event, frontend_cycles=0, inference_cycles=0) for event in events]


@pytest.mark.parametrize("name", ["f746zg", pytest.param("esp32c3", marks=pytest.mark.long)])
def test_every_hop_is_heard(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 ms each, told at 921600 baud, which takes its time on the emulated line, too."""
    header = listen_devices._FEATURES_H.replace("RATE_HZ 1600U", "RATE_HZ 16000U").replace(
        "SAMPLES 16U", "SAMPLES 160U"
    )
    monkeypatch.setattr(listen_devices, "_FEATURES_H", header)
    monkeypatch.setattr(listen_devices, "HOP", HOP)
    sound = listen_devices.sound(HOPS)
    elf = listen_devices.build_listening(name, tmp_path)
    board = EmulatedBoard(load_board(name), elf, Watch(cost=board_cost(load_board(name), elf)))
    client = DeviceClient(board, nonce=0)
    client.wait_for_boot()
    board.feed_microphone(sound)
    lit: list[bool] = []
    for port in board.peripherals:
        if isinstance(port, Port) and port.name == "GPIOB":
            port.watched[7] = lit.append  # LD2 of f746zg
    hearing = listen_to_microphone(client)
    heard = [next(hearing) for _ in range(HOPS)]
    hearing.close()
    assert without_cycles(heard) == listen_devices.right_events(sound)
    counted = listened(client)
    assert (counted.lost, counted.overruns) == (0, 0) and counted.hops >= HOPS
    assert not client.troubles
    if name == "f746zg":
        assert True in lit and lit[-1] is False and any(event.detected for event in heard)


def test_long_hops_do_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 ms each, for longer than the device waits for a sign that somebody listens."""
    header = listen_devices._FEATURES_H.replace("RATE_HZ 1600U", "RATE_HZ 16000U")
    monkeypatch.setattr(listen_devices, "_FEATURES_H", header.replace("SAMPLES 16U", "SAMPLES 1600U"))
    elf = listen_devices.build_listening("f746zg", tmp_path)
    board = EmulatedBoard(load_board("f746zg"), elf, Watch(count=False))
    client = DeviceClient(board, nonce=0)
    client.wait_for_boot()
    board.feed_microphone(np.zeros(45 * 1600, np.int16))
    hearing = listen_to_microphone(client)
    assert [next(hearing).hop for _ in range(40)] == list(range(40))
    hearing.close()
    client.close()


def spoken() -> np.ndarray:
    """A wake word in three seconds of sound."""
    from tinygen.audio.speech import say

    silence = np.zeros(16_000, np.int16)
    return np.concatenate([silence, say("okay nabu", rate=130), silence])[:48_000]


@needs_wake_words
@pytest.mark.long
@pytest.mark.parametrize("name", BOARDS)
def test_a_wake_word_over_both_ways(name: str, tmp_path: Path) -> None:
    """Through the microphone as over the UART: the same features, codes and probabilities, hop by hop."""
    from tinygen.audio.models import bundled
    from tinygen.project.wakeword_json import wakeword_app_from_json
    from tinygen.verbs.build import BuildOptions, build
    from tinygen.verbs.listen import listen, listen_to_board

    model, description = bundled()["okay_nabu"]
    options = BuildOptions(board=name, app=wakeword_app_from_json(description))
    folder = build(model, tmp_path / "out", options, profile=False).folder
    sound = spoken()
    sent, heard = listen(folder, [sound]), listen_to_board(folder, sound)
    assert without_cycles(list(heard.events)) == without_cycles(list(sent.events))
    assert heard.probabilities == sent.probabilities and heard.detections == sent.detections
    assert len(heard.detections) == 1 and heard.detections[0].label == "Okay Nabu"
    assert (heard.counted.lost, heard.counted.overruns) == (0, 0) and not heard.troubles
    with pytest.raises(TinygenError, match="shorter than a hop, which is 160 samples"):
        listen_to_board(folder, sound[:159])


@needs_wake_words
@pytest.mark.long
def test_command_line(tmp_path: Path) -> None:
    """`tinygen listen DIR --board-mic --wav F`, and what it refuses."""
    import json
    import wave

    from tinygen.audio.models import bundled

    model, _ = bundled()["okay_nabu"]
    folder = tmp_path / "out"
    assert tinygen("build", model, "--app", "wakeword", "--board", "f746zg", "--out", folder).returncode == 0
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(spoken().tobytes())
    done = tinygen("listen", folder, "--board-mic", "--wav", tmp_path / "x.wav", "--json")
    content = json.loads(done.stdout)
    assert done.returncode == 0 and content["hops"] == spoken().size // HOP and len(content["detections"]) == 1
    for arguments, words in (
        (["--board-mic"], "hears nothing but what it is given"),
        (["--board-mic", "--wav", tmp_path / "x.wav", "--port", "/dev/ttyNONE"], "hears what there is to hear"),
        (["--board-mic", "--mic"], "nothing to listen to, or too much"),
    ):
        done = tinygen("listen", folder, *arguments)
        assert done.returncode == 1 and words in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
