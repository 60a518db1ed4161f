"""The client: inferences, refusals, and devices that do not speak. What faults do to it: test_faults.py."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.targets.build import build
from tinygen.errors import DeviceError
from tinygen.hil.client import DeviceClient, LostError
from tinygen.hil.exchange import RefusedError
from tinygen.hil.transports import ProcessTransport, SerialTransport
from tinygen.targets.boards import load_board


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(load_board("host"), "zig", tmp_path_factory.mktemp("host")).elf


@pytest.fixture
def client(firmware: Path) -> Iterator[DeviceClient]:
    client = DeviceClient(ProcessTransport([str(firmware)]))
    client.wait_for_boot()
    yield client
    client.close()


def test_an_inference(client: DeviceClient) -> None:
    data = bytes(range(16))
    inference = client.infer([data])
    assert inference.outputs == (bytes(2 * x + 1 for x in data),)
    assert inference.cycles >= 0 and client.troubles == []


def test_step_by_step(client: DeviceClient) -> None:
    data = bytes(range(16))
    client.load(0, data)
    layers, cycles = client.profile()
    assert sum(layers.values()) == cycles and client.read(0) == bytes(2 * x + 1 for x in data)
    sums = client.on_inputs([data], client.trace)
    assert zlib.crc32(client.on_inputs([data], lambda: client.dump(1))) == sums[1]


def test_outputs_belong_to_an_inference(client: DeviceClient) -> None:
    with pytest.raises(LostError, match="no inference"):
        client.read(0)
    client.load(0, bytes(16))
    client.run()
    client.read(0)
    client.load(0, bytes(16))
    with pytest.raises(LostError, match="no inference"):
        client.read(0)


def test_what_the_device_refuses_is_not_tried_again(client: DeviceClient) -> None:
    with pytest.raises(RefusedError, match="wrong number of bytes"):
        client.infer([bytes(17)])
    with pytest.raises(RefusedError, match="wants 1 inputs, not 2"):
        client.infer([bytes(16), bytes(16)])
    with pytest.raises(RefusedError, match="no such switch"):
        client.set_switch(3)
    assert client.troubles == []
    client.infer([bytes(16)])


@pytest.mark.parametrize("port", ["/dev/ttyNOTHING0", "hwgrep://nothing", "hwgrep://(", "bogus://"])
def test_no_such_port(port: str) -> None:
    with pytest.raises(DeviceError) as caught:
        SerialTransport(port)
    assert port in str(caught.value)
    assert "Ports that are there" in caught.value.fix


class Silent:
    """A device that never answers."""

    def write(self, data: bytes) -> None:
        pass

    def read(self, size: int, timeout: float) -> bytes:
        time.sleep(min(timeout, 0.05))
        return b""

    def close(self) -> None:
        pass


def test_silence() -> None:
    with pytest.raises(DeviceError, match="does not answer"):
        DeviceClient(Silent()).info()


def test_process_that_dies(tmp_path: Path) -> None:
    client = DeviceClient(ProcessTransport(["/bin/sh", "-c", "echo broken >&2; exit 3"]))
    with pytest.raises(DeviceError, match="status 3: broken"):
        client.wait_for_boot()


class Garbage(Silent):
    """A device that speaks another language."""

    def read(self, size: int, timeout: float) -> bytes:
        return random.Random(1).randbytes(size)


def test_garbage() -> None:
    with pytest.raises(DeviceError):
        DeviceClient(Garbage(), clock=count(0.0, 0.01).__next__).info()


class Shouting(Silent):
    """A device that says something else, in control characters."""

    def read(self, size: int, timeout: float) -> bytes:
        return b"\x1b[2J\x00\xff\r\nm-ready\r\n"


def test_what_a_strange_device_says_is_no_command_to_the_terminal() -> None:
    with pytest.raises(DeviceError) as caught:
        DeviceClient(Shouting(), clock=count(0.0, 0.01).__next__).info()
    assert caught.value.what.isprintable() and "\\x1b[2J\\x00" in caught.value.what
