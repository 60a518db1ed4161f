"""Firmware that listens by itself: what it says without being asked, and that commands are answered as ever."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.hil import listen_devices
from tests.hil.listen_devices import HOP, right_events, sound
from tests.support.streaming_models import needs_wake_words, wake_word
from tinygen.errors import BoardError, TinygenError
from tinygen.hil.client import DeviceClient
from tinygen.hil.transports import ProcessTransport
from tinygen.project.wakeword import c_string
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.toolchain import build_elf, find_toolchain

HOPS = 14
SOUND = sound(HOPS)
LIGHT_HOPS = 62
WINDOW, THOUSANDTHS = listen_devices.WINDOW, 1000 / 256
_CONFIG = f"""#define WAKEWORD_LISTENS 1
#define WAKEWORD_WORDS {{"yes", "no thanks"}}
#define WAKEWORD_ZERO_SUM (0)
#define WAKEWORD_THOUSANDTHS {round(THOUSANDTHS / WINDOW * 2**32)}ULL"""
_TIME = """#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <time.h>
extern unsigned heard_ms;
static int hundredth_poll(struct pollfd *files, nfds_t count, int ms)
{
    return poll(files, count, ms > 0 ? ms / 100 : ms);
}
static int sound_time(clockid_t clock, struct timespec *now)
{
    (void)clock;
    now->tv_sec = heard_ms / 1000U;
    now->tv_nsec = heard_ms % 1000U * 1000000L;
    return 0;
}
#define poll hundredth_poll
#define clock_gettime sound_time
"""
"""The firmware's clock counts what the microphone hears, 10 ms a hop; its patience is a hundredth of what it was."""


def listening_alone(tmp_path: Path, heard: np.ndarray) -> DeviceClient:
    """A program that listens to this, again and again, and loses something before every 14th hop."""
    project = listen_devices.with_microphone(listen_devices.listening_project("host", tmp_path), heard)
    for name, old, new in (
        ("wakeword/wakeword_config.h", "#define WAKEWORD_LISTENS 0", _CONFIG),
        ("board/microphone.c", "    const struct timespec hop", "    heard_ms += 10U;\n    const struct timespec hop"),
        (
            "board/microphone.c",
            "static uint32_t next;",
            "extern unsigned heard_ms;\nunsigned heard_ms;\nstatic uint32_t next;",
        ),
        ("firmware/host/board.c", "/*", _TIME + "/*"),
    ):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    elf = build_elf(project, find_toolchain("zig", project.board)).elf
    return DeviceClient(ProcessTransport([str(elf)]), nonce=0, wakes=True)


def right_lines(calls: int) -> list[str]:
    """What it must say in so many hops of 10 ms, heard or lost."""
    events = iter(right_events(np.tile(SOUND[: HOPS * HOP], calls // HOPS + 1)))
    lines, lost, told, next_ms, until, label = [], 0, 0, 0, -1, -1
    for call in range(calls):
        now_ms = 10 * (call + 1)
        if call % HOPS == 5:
            lost += 1
        elif (event := next(events)).detected:
            if event.hop > until or event.label != label:
                mean = round(THOUSANDTHS * event.window_sum / WINDOW)
                word = ("yes", "no thanks")[event.label]
                lines.append(f"m-tg-heard {mean // 1000}.{mean % 1000:03d} {event.hop} {word}")
            until, label = event.hop + LIGHT_HOPS, event.label
        if lost != told and now_ms >= next_ms:
            lines.append(f"m-tg-lost {lost}")
            told, next_ms = lost, now_ms + 1000
    return lines


def said(client: DeviceClient, count: int) -> list[str]:
    """The next lines."""
    text = b""
    while text.count(b"\r\n") < count:
        data = client.line.transport.read(1, 20.0)
        assert data, text
        text += data
    return text.decode().split("\r\n")[:-1]


def test_what_it_says(tmp_path: Path) -> None:
    """Each word once, and losses at most once a second; noise on the line stops it for a while only."""
    client = listening_alone(tmp_path, SOUND)
    client.wait_for_boot()
    right = right_lines(600)
    assert sum(line.startswith("m-tg-lost") for line in right) >= 3
    assert {line.rpartition(" ")[2] for line in right if "heard" in line} == {"yes", "thanks"}
    assert said(client, len(right)) == right
    assert client.info().name == "listens"
    assert int(client.ask("tg-listened").values("m-tg-lost")[0][0]) >= 600 // HOPS
    # A byte of no command, and then nothing more: it listens again, from hop 0.
    client.line.transport.write(b"?")
    assert next(line for line in iter(lambda: said(client, 1)[0], "") if "heard" in line) == right[1]
    assert client.info().name == "listens"
    # What it says while the command arrives spoils the reply, which is asked for again.
    assert client.troubles in ([], ["a reply arrived damaged"])
    client.close()


def test_a_microphone_that_does_not_start(tmp_path: Path) -> None:
    client = listening_alone(tmp_path, SOUND[:0])
    client.wait_for_boot()
    assert said(client, 1) == ["e-[microphone does not start]"]
    assert client.info().name == "listens"
    client.close()


class OneByteUart:
    """A board's line whose UART keeps one byte: most of what comes at once is lost while it listens."""

    def __init__(self, board: EmulatedBoard) -> None:
        self.board, self.listens, self.damaged = board, True, 0
        self.read, self.close, self.set_baud = board.read, board.close, board.set_baud

    def write(self, data: bytes) -> None:
        if self.listens and len(data) > 1:
            self.damaged += 1
            data = data[:1] + data[-3:]
        self.listens = False
        self.board.write(data)


@needs_wake_words
@pytest.mark.parametrize("name", ["f746zg", pytest.param("esp32c3", marks=pytest.mark.long)])
def test_a_spoken_wake_word(name: str, tmp_path: Path) -> None:
    """One line, of the hop that a computer is told of; sessions of any kind at any time."""
    from tests.hil.test_board_microphone import spoken
    from tinygen.audio.models import bundled
    from tinygen.hil.device import Device
    from tinygen.project.wakeword_json import read_app
    from tinygen.verbs.build import BuildOptions, build
    from tinygen.verbs.listen import listen_to_board

    model, _ = bundled()["okay_nabu"]
    app = read_app("wakeword", None, model, "mic")
    report = build(model, tmp_path / "out", BuildOptions(board=name, app=app), profile=False)
    assert report.as_json()["app"]["listens"] == "mic"
    words = spoken()
    with Device(report.folder, engine="unicorn") as device:  # at start-up, while it listens
        [word] = listen_to_board(report.folder, words, device=device).detections
        assert not device.client.troubles
    board = EmulatedBoard(load_board(name), report.folder / "firmware.elf", Watch(count=False))
    board.feed_microphone(words)
    DeviceClient(board).wait_for_boot()
    line = f"m-tg-heard {word.probability:.3f} {word.hop} Okay Nabu\r\n".encode()
    assert board.read(1000, words.size / 16_000) == line
    uart = OneByteUart(board)
    with Device(report.folder, transport=uart) as device:
        assert device.info is not None and device.info.build == report.as_json()["build_id"]
        counted = {line.split()[0]: int(line.split()[1]) for line in device.client.ask("tg-listened").lines}
        assert counted["m-tg-hops"] >= words.size // 160 - 1 and counted["m-tg-lost"] == 0
        assert not uart.damaged
    board.feed_microphone(words)
    assert list(islice(iter(lambda: board.read(1000, 14.0), b""), 2)) == [line]


@needs_wake_words
def test_what_is_refused(tmp_path: Path) -> None:
    from tinygen.project.wakeword_json import read_app
    from tinygen.verbs.build import BuildOptions, build

    model = wake_word("alexa")
    app = read_app("wakeword", None, model, "mic")
    for board in ("host", "g474re"):
        with pytest.raises(BoardError, match="no microphone to listen to") as refused:
            build(model, tmp_path / "out", BuildOptions(board=board, app=app), profile=False)
        assert refused.value.fix and not (tmp_path / "out").exists()
    with pytest.raises(TinygenError, match="listened to by 'radio'"):
        read_app("wakeword", None, model, "radio")
    with pytest.raises(TinygenError, match="listen is for an application"):
        read_app(None, None, model, "mic")


def test_words_as_c() -> None:
    text = 'Say "hi?" \\\nÉ'
    assert c_string(text) == '"Say \\042hi\\077\\042 \\134 \\303\\211"'
