"""Sound over a line that fails: every event is the right one, or there is an error; never a wrong one, never a hang.

`python -m pytest -m long tests/hil/test_audio.py` injects each kind 100 times on the host firmware and 3 times on the
emulated board.
"""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.hil import faults
from tests.hil.devices import OTHER_BUILD, EmulatedDevice, Hang, TimedDevice, VirtualDevice, build_virtual, model
from tests.hil.faults import BOOT_SECONDS, FOREVER, At, Fault, FaultyLine, Noisy, OtherBaud
from tests.hil.listen_devices import HOP, build_listening, right_events, sound
from tinygen.errors import DeviceError, TinygenError
from tinygen.hil.audio import HopEvent, block, listen, listen_to_microphone, listened
from tinygen.hil.client import DeviceClient
from tinygen.hil.exchange import RefusedError
from tinygen.hil.reconnect import ReconnectingTransport
from tinygen.hil.transports import ProcessTransport

BOARD = "f746zg"
HOPS = 14
SOUND = sound(HOPS)
RIGHT = right_events(SOUND)
# Bytes that a session without faults sends and gets, rounded down.
TO, FROM = 800, 1500
_HOP_LINE = rb"m-tg-hop "

Make = Callable[[random.Random, Path], Fault]
OK, ANY, ERROR = ("recovered",), ("recovered", "clean error"), ("clean error",)


def _at(way: str, happen: faults.Happening, after: bytes = b"", spread: int = 0) -> Make:
    return lambda seed, other: At(seed, way, happen, spread or (TO if way == "to" else FROM), after)


# How many blocks were sent by then is drawn, too; a device that has heard something cannot hear it again.
_BLOCK = b"\xb5\x10\x00"
KINDS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "no fault": (lambda seed, other: Fault(seed), OK),
    "a byte lost, to the device": (_at("to", faults.lost(1)), OK),
    "a byte lost, from the device": (_at("from", faults.lost(1)), OK),
    "a bit flipped, to the device": (_at("to", faults.flipped), OK),
    "a bit flipped, from the device": (_at("from", faults.flipped), OK),
    "another digit in an event": (_at("from", faults.other_digit, _HOP_LINE + rb"[0-9a-f]{8} \d+ \d \d \d ", 1), OK),
    "a byte doubled, to the device": (_at("to", faults.doubled), OK),
    "a byte doubled, from the device": (_at("from", faults.doubled), OK),
    "a burst of noise, to the device": (_at("to", faults.noise), OK),
    "a burst of noise, from the device": (_at("from", faults.noise), OK),
    "50 bytes lost, to the device": (_at("to", faults.lost(50)), OK),
    "50 bytes lost, from the device": (_at("from", faults.lost(50)), OK),
    "a whole block lost": (_at("to", faults.lost(len(block(0, 0, SOUND[:HOP]))), rb"\xb5\x10\x00", 1), OK),
    "a packet comes twice, to the device": (_at("to", faults.repeated), OK),
    "a packet comes twice, from the device": (_at("from", faults.repeated), OK),
    "the CRC-32 generator added to a block": (_at("to", faults.same_crc, _BLOCK, 30), OK),
    "the CRC-32 generator added to an event": (_at("from", faults.same_crc, _HOP_LINE, 40), OK),
    "an answer comes 4 seconds late": (_at("from", faults.late(4.0)), OK),
    "line dead for 3 seconds": (_at("to", faults.silence(3.0)), OK),
    "line dead for 12 seconds": (_at("to", faults.silence(12.0)), OK),
    "line dead for ever": (_at("to", faults.silence(FOREVER)), ERROR),
    "one byte in 500 spoilt, both ways": (lambda seed, other: Noisy(seed, 0.002), ANY),
    "one byte in 50 spoilt, both ways": (lambda seed, other: Noisy(seed, 0.02), ANY),
    "wrong baud rate for 2 seconds": (lambda seed, other: OtherBaud(seed, 2.0), OK),
    "cable pulled, device has power, back after 3 s": (_at("from", faults.unplugged(3.0, powered=True)), OK),
    "cable pulled for ever": (_at("to", faults.unplugged(FOREVER)), ERROR),
    "the host's write blocks": (_at("to", faults.blocked), OK),
    "reset anywhere": (_at("to", faults.restarted), ANY),
    "reset anywhere, unnoticed": (_at("to", faults.restarted_unnoticed), ANY),
    "another device put in meanwhile": (
        lambda seed, other: At(seed, "to", faults.unplugged(2.0, elf=other), TO),
        ANY,
    ),
}


def trial(kind: str, number: int, device: TimedDevice, other: Path) -> tuple[str, str]:
    """Outcome, and why."""
    seed = random.Random(f"{kind} {number}")
    device.read(4096, BOOT_SECONDS)
    line = FaultyLine(device, KINDS[kind][0](seed, other))
    transport = ReconnectingTransport(line.reopen, 10.0, line.clock, line.sleep)
    client = DeviceClient(transport, 20.0, line.clock, nonce=seed.getrandbits(32))
    try:
        client.info()
        events = list(listen(client, [SOUND], hop_samples=HOP))
        if without_cycles(events) != RIGHT:
            return "wrong result", f"{events}"
        if not all(said(event, line.said) for event in events):
            return "wrong result", "cycles that the device has not said"
        counted = listened(client)
        if counted.hops not in (0, HOPS) and not client.troubles:
            return "wrong result", f"{counted}"
    except DeviceError as error:
        return "clean error" if error.what else "wrong result", str(error)
    except Hang as hang:
        return "hang", str(hang)
    assert line.fault.happened, f"{kind} {number}: did not happen"
    return "recovered", ""


def without_cycles(events: list[HopEvent]) -> list[HopEvent]:
    return [replace(event, frontend_cycles=0, inference_cycles=0) for event in events]


def said(event: HopEvent, stream: bytearray) -> bool:
    """Whether the device gave these cycles for that hop."""
    text = rf"m-tg-hop [0-9a-f]{{8}} {event.hop} \d \d \d+ \d+ {event.frontend_cycles} {event.inference_cycles} "
    return re.search(text.encode(), stream) is not None


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> tuple[Callable[[], TimedDevice], Path]:
    folder = tmp_path_factory.mktemp("listening")
    ours = build_listening("host", folder / "ours", virtual=True)
    return lambda: VirtualDevice(ours), build_virtual(folder / "other", model(OTHER_BUILD))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Callable[[], TimedDevice], Path]:
    pytest.importorskip("unicorn")
    folder = tmp_path_factory.mktemp("listening")
    ours = build_listening(BOARD, folder / "ours")
    return lambda: EmulatedDevice(BOARD, ours), ours


def check(device: tuple[Callable[[], TimedDevice], Path], trials: int, kinds: list[str]) -> None:
    make, other = device
    counts: dict[str, dict[str, int]] = {}
    for kind in kinds:
        for number in range(trials):
            one = make()
            try:
                outcome, why = trial(kind, number, one, other)
            finally:
                one.close()
            counts.setdefault(kind, {}).setdefault(outcome, 0)
            counts[kind][outcome] += 1
            assert outcome in KINDS[kind][1], f"{kind} {number}: {outcome}, {why}"
    for kind, found in counts.items():
        print(f"{kind:50} {found}")


def test_faults_on_the_host(host: tuple[Callable[[], TimedDevice], Path]) -> None:
    check(host, 1, list(KINDS))


def test_faults_on_the_emulated_board(board: tuple[Callable[[], TimedDevice], Path]) -> None:
    check(board, 1, ["a bit flipped, to the device", "another digit in an event"])


@pytest.mark.long
def test_faults_on_the_host_100_times(host: tuple[Callable[[], TimedDevice], Path]) -> None:
    check(host, 100, list(KINDS))


@pytest.mark.long
def test_faults_on_the_emulated_board_3_times(board: tuple[Callable[[], TimedDevice], Path]) -> None:
    check(board, 3, [kind for kind in KINDS if "ever" not in kind and "put in" not in kind])


def test_without_the_sums_events_would_be_wrong(
    host: tuple[Callable[[], TimedDevice], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the faults are ones that need them, and that a wrong event shows."""
    monkeypatch.setattr("tinygen.hil.audio._is_whole", lambda body, crc, adler: True)
    outcomes = set()
    for number in range(6):
        device = host[0]()
        outcomes.add(trial("another digit in an event", number, device, host[1])[0])
        device.close()
    assert "wrong result" in outcomes


@pytest.fixture
def client(host_elf: Path) -> DeviceClient:
    found = DeviceClient(ProcessTransport([str(host_elf)]))
    found.wait_for_boot()
    return found


@pytest.fixture(scope="module")
def host_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_listening("host", tmp_path_factory.mktemp("host"))


def test_sound_in_pieces_of_any_size(client: DeviceClient) -> None:
    cuts = [0, 1, 3, 20, 21, 90, 200, SOUND.size]
    pieces = [SOUND[a:b] for a, b in itertools.pairwise(cuts)]
    assert without_cycles(list(listen(client, pieces, hop_samples=HOP))) == RIGHT
    counted = listened(client)
    assert (counted.hops, counted.inferences) == (HOPS, sum(event.ran for event in RIGHT))
    assert counted.detections == sum(event.detected for event in RIGHT) > 0
    assert counted.budget == 10_000_000  # 16 samples at 1600 Hz, in nanoseconds
    assert counted.worst_with > 0 and not client.troubles
    client.close()


def test_listening_again_begins_anew_and_other_commands_work_between(client: DeviceClient) -> None:
    first = listen(client, [SOUND], hop_samples=HOP)
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert client.info().name == "listens"
    client.infer([bytes(12)], keep=True)
    assert without_cycles(list(listen(client, [SOUND], hop_samples=HOP))) == RIGHT
    assert client.infer([bytes(12)], keep=True).outputs == (bytes([0, 1]),)
    client.close()


@pytest.mark.parametrize("wrong", [np.zeros(64), np.zeros((4, 16), np.int16), [0] * 64])
def test_sound_that_is_none(client: DeviceClient, wrong: object) -> None:
    with pytest.raises(TinygenError, match="sound is one-dimensional int16"):
        list(listen(client, [wrong], hop_samples=HOP))  # type: ignore[list-item]
    assert client.info().name == "listens"
    client.close()


@pytest.fixture(scope="module")
def hearing_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that hears `SOUND`, each hop in its time, again and again, and loses something before every 14th."""
    return build_listening("host", tmp_path_factory.mktemp("hearing"), microphone=SOUND)


def test_the_boards_own_microphone(hearing_elf: Path) -> None:
    client = DeviceClient(ProcessTransport([str(hearing_elf)]))
    client.wait_for_boot()
    hearing = listen_to_microphone(client)
    assert without_cycles([next(hearing) for _ in range(HOPS)]) == RIGHT
    hearing.close()  # type: ignore[attr-defined]
    counted = listened(client)
    # Four hops end it; the first may be the last one that was waited for.
    assert counted.hops >= HOPS + 3 and counted.lost == (counted.hops + counted.lost + HOPS - 6) // HOPS
    # The next one begins anew, whoever speaks.
    assert without_cycles(list(listen(client, [SOUND], hop_samples=HOP))) == RIGHT
    hearing = listen_to_microphone(client)
    assert without_cycles([next(hearing)])[0].hop == 0
    hearing.close()  # type: ignore[attr-defined]
    client.close()


def test_a_board_whose_computer_is_gone_takes_commands_again(hearing_elf: Path) -> None:
    client = DeviceClient(ProcessTransport([str(hearing_elf)]))
    client.wait_for_boot()
    hearing = listen_to_microphone(client)
    # Longer than the three seconds that it waits for a sign that somebody is there.
    begun, heard = time.monotonic(), 0
    while time.monotonic() - begun < 3.5:
        assert next(hearing).hop == heard
        heard += 1
    time.sleep(3.2)
    with pytest.raises(DeviceError, match="stopped listening"):
        for _ in hearing:
            pass
    assert client.info().name == "listens"
    assert listened(client).hops > heard
    client.close()


def test_a_microphone_that_does_not_start(tmp_path: Path) -> None:
    client = DeviceClient(ProcessTransport([str(build_listening("host", tmp_path, microphone=SOUND[:0]))]))
    client.wait_for_boot()
    with pytest.raises(RefusedError, match="does not start"):
        next(listen_to_microphone(client))
    assert client.info().name == "listens"
    client.close()


def test_commands_that_are_refused(client: DeviceClient) -> None:
    for command, answer in (
        ("tg-listened", "has not listened"),
        ("tg-listen", "tg-listen wants"),
        ("tg-listen 921600", "tg-listen wants"),
        ("tg-listen 12345 00000001", "no such rate"),
        ("tg-listen mic 921600 00000001", "no microphone"),
    ):
        with pytest.raises(RefusedError, match=answer):
            client.ask(command)
    client.close()


def test_a_firmware_that_does_not_listen(tmp_path: Path) -> None:
    client = DeviceClient(VirtualDevice(build_virtual(tmp_path, model())))  # type: ignore[arg-type]
    client.wait_for_boot()
    with pytest.raises(DeviceError, match="rate cannot be changed"):
        list(listen(client, [SOUND]))


def test_faults_are_drawn_from_the_whole_session(host: tuple[Callable[[], TimedDevice], Path]) -> None:
    device = host[0]()
    device.read(4096, BOOT_SECONDS)
    line = FaultyLine(device, Fault(random.Random(0)))
    client = DeviceClient(line, 20.0, line.clock)
    client.info()
    assert len(list(listen(client, [SOUND], hop_samples=HOP))) == HOPS
    listened(client)
    device.close()
    assert TO <= line.told < TO * 1.1 and FROM <= len(line.said) < FROM * 1.2
