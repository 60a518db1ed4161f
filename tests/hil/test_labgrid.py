"""Places of a labgrid coordinator as lines: coordinator and exporter on this computer, the boards emulated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.hil.devices import BUILD, build_board, model, right_outputs
from tests.hil.farm_of_one import Farm, free_port, served
from tests.targets.tools import requires_package
from tinygen.errors import DeviceError, DeviceGoneError, ToolchainError
from tinygen.hil import labgrid
from tinygen.hil.client import DeviceClient
from tinygen.hil.labgrid import LabgridTransport, Place, parse_place
from tinygen.hil.transports import SerialTransport
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch

BOARD = "f746zg"
needs_labgrid = requires_package("labgrid")
X, Z = bytes(range(64)), bytes(range(8))


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("farm")
    elf = build_board(BOARD, folder / "firmware", model())
    with ExitStack() as stack:
        exports: dict[str, dict[str, object]] = {"dead": {"host": "127.0.0.1", "port": free_port(), "protocol": "raw"}}
        for protocol in ("raw", "rfc2217"):
            port = stack.enter_context(served(EmulatedBoard(load_board(BOARD), elf, Watch(count=False)), protocol))
            exports[protocol] = {"host": "127.0.0.1", "port": port, "speed": 115200, "protocol": protocol}
        farm = Farm(folder, exports, {name: name for name in exports} | {"empty": "no-such-group"})
        stack.callback(farm.stop)
        farm.start()
        yield farm


@needs_labgrid
@pytest.mark.parametrize("protocol", ["raw", "rfc2217"])
def test_inferences_on_a_place(farm: Farm, protocol: str) -> None:
    client = DeviceClient(LabgridTransport(f"labgrid://{farm.address}/{protocol}"))
    try:
        assert farm.holder(protocol)
        assert client.info().build == BUILD
        client.set_switch(1)
        for number in range(3):
            x = bytes((v * number) & 0xFF for v in X)
            assert client.infer((x, Z)).outputs == right_outputs(x, Z, 1)
    finally:
        client.close()
    assert not farm.holder(protocol)
    client.close()


@needs_labgrid
def test_the_rate_of_a_place_can_be_changed(farm: Farm) -> None:
    """By RFC 2217: into energy mode and back."""
    client = DeviceClient(LabgridTransport(Place("rfc2217", farm.address)))
    try:
        client.info()
        client.set_switch(0)
        for mode in ("energy", "performance"):
            client.set_mode(mode)
            assert client.info().mode == mode
            assert client.infer((X, Z)).outputs == right_outputs(X, Z, 0)
    finally:
        client.close()


@needs_labgrid
def test_a_place_is_released_when_its_port_cannot_be_opened(farm: Farm) -> None:
    with pytest.raises(DeviceGoneError, match="cannot be opened"):
        LabgridTransport(Place("dead", farm.address))
    assert not farm.holder("dead")


@needs_labgrid
def test_a_place_without_a_serial_port(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labgrid, "_PORT_SECONDS", 0.5)
    with pytest.raises(DeviceGoneError, match="no serial port that is ready") as caught:
        LabgridTransport(Place("empty", farm.address))
    assert "ser2net" in caught.value.fix
    with pytest.raises(DeviceGoneError, match="no serial port 'other' that is ready"):
        LabgridTransport(Place("raw", farm.address), resource="other")
    assert not farm.holder("empty") and not farm.holder("raw")


@needs_labgrid
def test_the_rate_is_the_firmwares_whenever_the_port_is_opened(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what the exporter says: a build for energy mode begins with another."""
    rates = []

    class Noted(SerialTransport):
        def __init__(self, port: str, baud: int) -> None:
            rates.append(baud)
            super().__init__(port, baud)

    monkeypatch.setattr(labgrid, "SerialTransport", Noted)
    transport = LabgridTransport(Place("rfc2217", farm.address), 9600)
    transport._line._reopen(DeviceGoneError("the board went away"))
    transport.close()
    assert rates == [9600, 9600]


@needs_labgrid
def test_a_place_that_its_user_holds_is_used_and_kept(farm: Farm) -> None:
    assert farm.client("-p", "raw", "acquire").returncode == 0
    client = DeviceClient(LabgridTransport(Place("raw", farm.address)))
    assert client.info().name == "faulty"
    client.close()
    assert farm.holder("raw")
    assert farm.client("-p", "raw", "release").returncode == 0


@needs_labgrid
def test_a_place_that_somebody_else_holds(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert farm.client("-p", "raw", "acquire").returncode == 0
    monkeypatch.setenv("LG_USERNAME", "somebody-else")
    with pytest.raises(DeviceGoneError, match="has it"):
        LabgridTransport(Place("raw", farm.address))
    monkeypatch.delenv("LG_USERNAME")
    assert farm.holder("raw")
    assert farm.client("-p", "raw", "release").returncode == 0


@needs_labgrid
def test_no_such_place_no_coordinator(farm: Farm) -> None:
    with pytest.raises(DeviceGoneError, match="no such place") as caught:
        LabgridTransport(Place("nowhere", farm.address))
    assert "raw, rfc2217" in caught.value.fix
    with pytest.raises(DeviceGoneError, match="coordinator cannot be asked") as caught:
        LabgridTransport(Place("raw", f"127.0.0.1:{free_port()}"))
    assert "labgrid-coordinator" in caught.value.fix


def test_names_of_places(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_place("labgrid://farm:1234/desk") == Place("desk", "farm:1234")
    monkeypatch.delenv("LG_COORDINATOR", raising=False)
    assert parse_place("labgrid:desk") == Place("desk", "127.0.0.1:20408")
    monkeypatch.setenv("LG_COORDINATOR", "farm:5")
    assert parse_place("labgrid:desk") == Place("desk", "farm:5")
    for wrong in ("desk", "labgrid:", "labgrid://farm", "labgrid:a/b", "rfc2217://farm/desk"):
        with pytest.raises(DeviceError, match="is no place"):
            parse_place(wrong)


def test_without_labgrid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labgrid, "ClientSession", None)
    with pytest.raises(ToolchainError, match="labgrid is not installed"):
        LabgridTransport("labgrid:desk")
