"""The client on a bad line: recovered or a clean error; never a wrong result, never a hang."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from hil.client import DeviceClient
from hil.transports import ProcessTransport, SerialTransport, Transport
from tests.targets.build import build
from tinygen.errors import DeviceError
from tinygen.targets.board import load_board

ATTEMPTS = 12


class FaultyTransport:
    """Passes bytes on, now and then dropping, changing or repeating one."""

    def __init__(self, inner: Transport, kind: str, rate: float, seed: int) -> None:
        self.inner, self.kind, self.rate = inner, kind, rate
        self.random = random.Random(seed)

    def _spoil(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if self.random.random() >= self.rate:
                out.append(byte)
            elif self.kind == "flip":
                out.append(byte ^ 1 << self.random.randrange(8))
            elif self.kind == "duplicate":
                out += bytes([byte, byte])
            elif self.kind == "noise":
                out += bytes([byte, self.random.randrange(256)])
        return bytes(out)

    def write(self, data: bytes) -> None:
        self.inner.write(self._spoil(data))

    def read(self, size: int, timeout: float) -> bytes:
        data = self.inner.read(size, min(timeout, 0.7))
        return self._spoil(data)

    def close(self) -> None:
        self.inner.close()


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(load_board("host"), "zig", tmp_path_factory.mktemp("host")).elf




@pytest.mark.parametrize("kind", ["drop", "flip", "duplicate", "noise"])
def test_bad_line(firmware: Path, kind: str) -> None:
    clean = DeviceClient(ProcessTransport([str(firmware)]))
    clean.wait_for_boot()
    data = bytes(range(16))
    clean.load(0, data)
    clean.run()
    right = clean.read(0)
    clean.close()
    outcomes = {"right": 0, "error": 0}
    for seed in range(ATTEMPTS):
        inner = ProcessTransport([str(firmware)])
        DeviceClient(inner).wait_for_boot()
        client = DeviceClient(FaultyTransport(inner, kind, 0.004, seed), infer_seconds=3.0)
        begun = time.monotonic()
        try:
            client.load(0, data)
            client.run()
            assert client.read(0) == right
            outcomes["right"] += 1
        except DeviceError as error:
            assert error.what
            outcomes["error"] += 1
        finally:
            client.close()
        assert time.monotonic() - begun < 60
    assert outcomes["right"] >= ATTEMPTS // 2, outcomes


def test_no_such_port() -> None:
    with pytest.raises(DeviceError) as caught:
        SerialTransport("/dev/ttyNOTHING0")
    assert "/dev/ttyNOTHING0" in str(caught.value)
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
        return bytes(random.Random(1).randrange(256) for _ in range(size))


def test_garbage() -> None:
    with pytest.raises(DeviceError):
        DeviceClient(Garbage()).info()
