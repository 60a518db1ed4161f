"""Firmware of MLPerf Tiny's streaming benchmark: `start%`, sound over I2S, pins, `stop%`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.hil import listen_devices
from tests.targets.tools import requires_package
from tinygen.audio.log_mel_config import STREAMING_WAKE_WORD, LogMelConfig
from tinygen.errors import BoardError, TinygenError
from tinygen.project.wakeword_json import read_app
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard

HOP, HOPS, SILENT = 160, 40, 3


def test_the_benchmarks_own_application() -> None:
    app = read_app("wakeword", STREAMING_WAKE_WORD, Path("model.tflite"), "i2s")
    assert app is not None and (app.features, app.listens) == (LogMelConfig(), "i2s")
    app.check(load_board("f746zg"))
    for board in ("esp32c3", "l4r5zi", "host"):
        with pytest.raises(BoardError, match="no I2S port"):
            app.check(load_board(board))
    with pytest.raises(TinygenError, match="listen mic or listen i2s"):
        read_app("wakeword", STREAMING_WAKE_WORD, Path("model.tflite"), "line")


def command(board: EmulatedBoard, text: str) -> str:
    board.write(f"{text}%".encode())
    return answer(board)


def answer(board: EmulatedBoard) -> str:
    said = b""
    while not said.endswith(b"m-ready\r\n"):
        byte = board.read(1, 2.0)
        assert byte, said
        said += byte
    return said.decode()


def play(board: EmulatedBoard, sound: np.ndarray) -> None:
    board.feed_microphone(sound)
    while board.sound_left:
        board.read(1, 0.01)


@requires_package("unicorn")
def test_hears_what_another_board_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice; each time from silence on. The codes are those of every hop, the pins follow them."""
    header = listen_devices._FEATURES_H.replace("RATE_HZ 1600U", "RATE_HZ 16000U")
    header = header.replace(" 16U", f" {HOP}U").replace(" 32U", f" {2 * HOP}U")
    streams = f"#define WAKEWORD_STREAMS 1\n#define WAKEWORD_HOP_SAMPLES {HOP}U"
    monkeypatch.setattr(listen_devices, "_FEATURES_H", header)
    config = listen_devices._CONFIG_H.replace("#define WAKEWORD_STREAMS 0", streams)
    monkeypatch.setattr(listen_devices, "_CONFIG_H", config)
    monkeypatch.setattr(listen_devices, "HOP", HOP)
    target = load_board("f746zg")
    board = EmulatedBoard(target, listen_devices.build_listening("f746zg", tmp_path))
    assert target.stream_pins is not None and target.core_hz is not None
    processing, detection = board.watch(target.stream_pins.processing), board.watch(target.stream_pins.detection)
    answer(board)
    assert "m-tg-idle" in command(board, "stop") and "no microphone" in command(board, "tg-listen mic 115200 00000001")
    for seed in (3, 4):
        sound = listen_devices.sound(HOPS, seed)
        events = listen_devices.right_events(np.concatenate([np.zeros(SILENT * HOP, np.int16), sound]))[SILENT:]
        assert "m-tg-streams" in command(board, "start") and "streams already" in command(board, "start")
        del processing[:], detection[:]
        play(board, sound)
        said = command(board, "stop")
        assert f"m-tg-hops {HOPS}\r\nm-tg-lost 0\r\n" in said
        codes = re.search(r"target activations:\s*\[([-\d, \r\n]*)\]\r\nm-ready", said)
        assert codes is not None and [int(c) for c in codes[1].split(",")] == [event.codes[0] for event in events]
        busy = [at for at, high in processing if high]
        assert [high for _, high in processing] == [True, False] * HOPS
        assert np.ptp(np.diff(busy)) < 1e-4 * target.core_hz
        heard = sum(event.detected for event in events[1:])
        assert heard > 0 and [high for _, high in detection] == [False, True] * (1 + heard)
    assert [high for _, high in board.edges] == [True], "timestamps are text in performance mode"
