"""The firmware takes any bytes: it answers the next command after a moment's silence, and never hangs."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest

from tests.hil.devices import VirtualDevice, build_virtual, model, right_outputs
from tinygen.hil.client import DeviceClient
from tinygen.hil.exchange import seal

# Not those that take as long as they say, or change the rate of the line.
WORDS = b"tg-info tg-run tg-load tg-read tg-dump tg-switch tg-seal tg-trace tg-profile tg-paint tg-marks tg-db".split()
WORDS += b"name profile help timestamp db results m-ready".split()
NUMBERS = [b"0", b"1", b"8", b"64", b"4294967295", b"4294967296", b"99999999999", b"-1", b"deadbeef", b"", b"x"]
X, Z = bytes(range(64)), bytes(range(8))


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every undefined step of its C ends it."""
    return build_virtual(tmp_path_factory.mktemp("garbage"), model(), sanitize=("undefined",))


def piece(seed: random.Random) -> bytes:
    """Something that a confused program, or a bad line, might send."""
    words = [seed.choice(WORDS), *(seed.choice(NUMBERS) for _ in range(seed.randrange(4)))]
    command = b" ".join(words)
    choice = seed.randrange(6)
    if choice == 0:
        return seed.randbytes(seed.randrange(1, 300))
    if choice == 1:
        return seal(command.decode("ascii"), seed.getrandbits(32))
    if choice == 2:
        data = seed.randbytes(seed.choice((0, 7, 8, 63, 64, 65)))
        return b"tg-load %d %d %08x%%" % (seed.randrange(3), seed.choice((8, 64, len(data))), zlib.crc32(data)) + data
    if choice == 3:
        return command + b"%" * seed.randrange(3)
    if choice == 4:
        return seed.choice((b"%", b"\r\n", b" ", b"\x00", b"\xff")) * seed.randrange(1, 200)
    return command[: seed.randrange(len(command) + 1)]


@pytest.mark.parametrize("rounds", [100, pytest.param(5000, marks=pytest.mark.long)])
def test_any_bytes(firmware: Path, rounds: int) -> None:
    seed = random.Random(rounds)
    device = VirtualDevice(firmware)
    client = DeviceClient(device, 20.0, lambda: device.now)
    for _ in range(rounds):
        device.write(b"".join(piece(seed) for _ in range(seed.randrange(1, 6))))
        before, troubles = device.now, len(client.troubles)
        assert client.info().inputs == (64, 8)
        client.set_switch(1)
        assert client.infer((X, Z)).outputs == right_outputs(X, Z, 1)
        # One command is lost at most: the one that was joined to what came before.
        assert len(client.troubles) - troubles <= 1 and device.now - before < 8.0
    device.close()
