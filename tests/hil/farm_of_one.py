"""labgrid's coordinator and exporter on this computer, in front of boards that are emulated here."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from serial.rfc2217 import PortManager

from tinygen.hil.transports import RatedTransport

try:
    import grpc
    from labgrid.remote.generated import labgrid_coordinator_pb2 as messages
    from labgrid.remote.generated import labgrid_coordinator_pb2_grpc as coordinator
except ImportError:  # tests that need it are skipped
    pass

_TICK = 0.002
_START_SECONDS = 60.0


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(board: RatedTransport, protocol: str) -> Iterator[int]:
    """A TCP server in front of an emulated board, as ser2net is in front of a real one; gives its port.

    Args:
        board: its time passes as that of this computer.
        protocol: "raw" or "rfc2217", as labgrid calls them.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()
        thread = threading.Thread(target=_serve, args=(server, board, protocol, stop), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def _serve(server: socket.socket, board: RatedTransport, protocol: str, stop: threading.Event) -> None:
    while not stop.is_set():
        if select.select([server], [], [], 0.05)[0]:
            connection, _ = server.accept()
            with connection:
                _bridge(connection, board, protocol, stop)


def _bridge(connection: socket.socket, board: RatedTransport, protocol: str, stop: threading.Event) -> None:
    manager = _port_manager(connection) if protocol == "rfc2217" else None
    before = time.monotonic()
    while not stop.is_set():
        if select.select([connection], [], [], _TICK)[0]:
            try:
                data = connection.recv(4096)
            except ConnectionError:
                return
            if not data:
                return
            data = b"".join(manager.filter(data)) if manager else data
            if manager:
                board.set_baud(manager.serial.baudrate)
            board.write(data)
        now = time.monotonic()
        said = board.read(4096, now - before)
        before = now
        if said:
            connection.sendall(b"".join(manager.escape(said)) if manager else said)


def _port_manager(connection: socket.socket) -> PortManager:
    """The server's side of RFC 2217, for a port whose settings change nothing."""
    nothing = {name: lambda: None for name in ("reset_input_buffer", "reset_output_buffer")}
    lines = dict.fromkeys(("rts", "dtr", "cts", "dsr", "cd"), True) | {"ri": False, "break_condition": False}
    flow = {"xonxoff": False, "rtscts": False, "dsrdtr": False}
    port: Any = SimpleNamespace(baudrate=115200, bytesize=8, parity="N", stopbits=1, **nothing, **lines, **flow)
    output: Any = SimpleNamespace(write=connection.sendall)
    return PortManager(port, output)


class Farm:
    """A coordinator and an exporter.

    Args:
        exports: arguments of each exported port, by the name of its group.
        places: the group whose port a place has, by the place's name.

    Attributes:
        address: host and port of the coordinator.
    """

    def __init__(self, folder: Path, exports: Mapping[str, Mapping[str, object]], places: Mapping[str, str]) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []
        resources = {name: {"NetworkSerialPort": dict(arguments)} for name, arguments in exports.items()}
        (folder / "exports.yaml").write_text(yaml.safe_dump(resources), encoding="utf-8")
        # What the coordinator keeps of `labgrid-client create` and `add-match`, each of which takes a second.
        kept = {name: {"matches": [{"exporter": "*", "group": group, "cls": "*"}]} for name, group in places.items()}
        (folder / "places.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
        # A connection of its own, tried again soon: the coordinator has yet to start.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)]
        self._channel = grpc.insecure_channel(self.address, options)

    def start(self) -> None:
        """Raises TimeoutError, with what they said, when they do not come up."""
        self._start("labgrid-coordinator", "-l", self.address)
        self._until(self._answers, "coordinator")
        exporter = ("labgrid-exporter", "-c", self.address, "-n", "exporter", "--hostname", "127.0.0.1", "exports.yaml")
        self._start(*exporter)
        self._until(lambda: "Exporter ready" in self._said("exporter"), "exporter")
        self._until(lambda: "exporter" in self.client("resources").stdout, "exporter")

    def client(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """labgrid's own command line."""
        command = [program("labgrid-client"), "-x", self.address, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_START_SECONDS)

    def holder(self, name: str) -> str:
        """Who has a place; empty when nobody."""
        found = coordinator.CoordinatorStub(self._channel).GetPlaces(messages.GetPlacesRequest()).places
        return str(next(place for place in found if place.name == name).acquired)

    def stop(self) -> None:
        """Ends both."""
        self._channel.close()
        for running in reversed(self._programs):
            running.kill()
            running.wait()

    def _start(self, name: str, *arguments: str) -> None:
        with (self._folder / f"{name}.txt").open("wb") as log:
            self._programs.append(
                subprocess.Popen([program(name), *arguments], cwd=self._folder, stdout=log, stderr=log)
            )

    def _until(self, condition: object, what: str) -> None:
        assert callable(condition)
        end = time.monotonic() + _START_SECONDS
        while not condition():
            if time.monotonic() > end or self._programs[-1].poll() is not None:
                raise TimeoutError(f"labgrid-{what} does not come up: {self._said(what)}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            coordinator.CoordinatorStub(self._channel).GetPlaces(messages.GetPlacesRequest())
        except grpc.RpcError:
            return False
        return True

    def _said(self, what: str) -> str:
        return (self._folder / f"labgrid-{what}.txt").read_text(encoding="utf-8", errors="replace")


def program(name: str) -> str:
    """Where it is: beside this interpreter, or on the path."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found
