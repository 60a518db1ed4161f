"""Boards of a labgrid farm: tinygen acquires a place of the coordinator and uses its serial port.

labgrid (https://labgrid.readthedocs.io) says where the port is and who may use it; the bytes go through pyserial as to
a port of this computer. A place that tinygen acquired is released when the line is closed; a place that the user
already holds (`labgrid-client acquire`) is used and stays acquired.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tinygen.errors import DeviceError, DeviceGoneError, ToolchainError
from tinygen.hil.reconnect import ReconnectingTransport
from tinygen.hil.transports import SerialTransport

try:
    import grpc
    from labgrid.remote.client import ClientSession
    from labgrid.remote.generated import labgrid_coordinator_pb2 as messages
    from labgrid.resource.serialport import NetworkSerialPort
    from labgrid.util.proxy import proxymanager
except ImportError:  # an extra; open_place says so when it is wanted
    ClientSession = None

SCHEME = "labgrid"
_COORDINATOR = "127.0.0.1:20408"
_CONNECT_SECONDS = 15.0
# An exporter opens the port when its place is acquired.
_PORT_SECONDS = 15.0
_POLL_SECONDS = 0.2
# gRPC gives a process one connection to an address, and the coordinator takes one session of a connection.
_ONE_AT_A_TIME = threading.Lock()
_CONNECT_ATTEMPTS = 3
_CLASS = "NetworkSerialPort"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Place:
    """A place of a coordinator.

    Attributes:
        name: of the place.
        coordinator: its host and port.
    """

    name: str
    coordinator: str = _COORDINATOR

    def __str__(self) -> str:
        return f"{SCHEME}://{self.coordinator}/{self.name}"


def parse_place(text: str) -> Place:
    """labgrid:PLACE, with the coordinator of LG_COORDINATOR or this computer, or labgrid://HOST:PORT/PLACE.

    Raises:
        DeviceError: it is neither.
    """
    url = urlsplit(text)
    place = Place(url.path.strip("/"), url.netloc or os.environ.get("LG_COORDINATOR", _COORDINATOR))
    if url.scheme != SCHEME or not place.name or "/" in place.name:
        raise DeviceError("is no place", where=text, fix=f"{SCHEME}:PLACE or {SCHEME}://HOST:PORT/PLACE.")
    return place


class LabgridTransport:
    """The serial port of a place.

    Args:
        place: what to acquire, or labgrid:... as `parse_place` takes it.
        baud: bits per second, also when the port is opened again; None takes what the exporter says.
        resource: name of the port's resource, where the place has several.

    Raises:
        ToolchainError: labgrid is not installed.
        DeviceGoneError: no coordinator, no such place, another user holds it, or it has no serial port that answers;
            later: the port went away.
    """

    def __init__(self, place: Place | str, baud: int | None = None, resource: str = "") -> None:
        if ClientSession is None:
            raise ToolchainError("labgrid is not installed", fix="pip install 'tinygen[labgrid]'")
        self.place = place if isinstance(place, Place) else parse_place(place)
        self._ours = self._ask(self._acquire)
        try:
            entry = self._ask(lambda session: self._serial_port(session, resource))
            url, usual = _url(entry)
            self._line = ReconnectingTransport(partial(SerialTransport, url, baud or usual))
        except BaseException:
            self._release()
            raise

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        self._line.write(data)

    def read(self, size: int, timeout: float) -> bytes:
        """At most `size` bytes; fewer when `timeout` seconds have passed."""
        return self._line.read(size, timeout)

    def set_baud(self, baud: int) -> None:
        """Bits per second, from the next byte on; without effect where the port is a plain socket ("raw")."""
        self._line.set_baud(baud)

    def close(self) -> None:
        """Closes the port and releases the place."""
        try:
            self._line.close()
        finally:
            self._release()

    def _release(self) -> None:
        if self._ours:
            self._ours = False
            self._ask(self._give_back)

    def _ask(self, question: Callable[[Any], Awaitable[_T]]) -> _T:
        """Connects, sends the coordinator one request and disconnects: a place stays acquired without a connection."""

        async def talk() -> _T:
            session = await self._connect()
            try:
                return await question(session)
            finally:
                await _leave(session)

        try:
            with _ONE_AT_A_TIME, _quiet():
                return asyncio.run(talk())
        except DeviceError:
            raise
        except grpc.RpcError as error:
            raise self._error(f"the coordinator refuses: {getattr(error, 'details', str)()}") from error
        except Exception as error:  # labgrid's own are many, and of no common class
            reason = "it does not answer" if isinstance(error, TimeoutError) else str(error)
            fix = "Is labgrid-coordinator running there? LG_COORDINATOR names it."
            raise self._error(f"the coordinator cannot be asked ({reason})", fix) from error

    async def _connect(self) -> Any:
        """Opens a session; retries while the coordinator has not yet noticed that the previous one has ended."""
        left = _CONNECT_ATTEMPTS
        while True:
            left -= 1
            session = ClientSession(self.place.coordinator, asyncio.get_running_loop())
            try:
                await asyncio.wait_for(session.start(), _CONNECT_SECONDS)
                return session
            except Exception:
                await _leave(session)
                if not left:
                    raise
            await asyncio.sleep(_POLL_SECONDS)

    def _error(self, what: str, fix: str = "") -> DeviceGoneError:
        return DeviceGoneError(what, where=str(self.place), fix=fix)

    async def _acquire(self, session: Any) -> bool:
        """Acquires the place; False if the user holds it already."""
        if self.place.name not in session.places:
            there = ", ".join(sorted(session.places)) or "none"
            raise self._error("there is no such place", f"Places that are there: {there}.")
        holder = session.places[self.place.name].acquired
        if holder == f"{session.gethostname()}/{session.getuser()}":
            return False
        if holder:
            raise self._error(f"{holder} has it", "Wait, or ask for its release.")
        await session.stub.AcquirePlace(messages.AcquirePlaceRequest(placename=self.place.name))
        return True

    async def _give_back(self, session: Any) -> None:
        await session.stub.ReleasePlace(messages.ReleasePlaceRequest(placename=self.place.name))

    async def _serial_port(self, session: Any, resource: str) -> Any:
        """The place's port, once its exporter has opened it."""
        for _ in range(int(_PORT_SECONDS / _POLL_SECONDS)):
            await session.sync_with_coordinator()
            found = self._ports(session)
            names = [name for name in found if name == resource] if resource else list(found)
            if len(names) > 1:
                raise self._error(f"it has {len(names)} serial ports: {', '.join(names)}", "Say which.")
            if names and found[names[0]].avail and found[names[0]].args.get("port"):
                return found[names[0]]
            await asyncio.sleep(_POLL_SECONDS)
        wanted = f"serial port '{resource}'" if resource else "serial port"
        fix = f"Does its exporter run, and export one ({_CLASS}, RawSerialPort or USBSerialPort; these need ser2net)?"
        raise self._error(f"it has no {wanted} that is ready", fix)

    def _ports(self, session: Any) -> dict[str, Any]:
        """Serial ports by their names in the place."""
        place = session.places[self.place.name]
        found = {}
        for path in place.acquired_resources:
            exporter, group, cls, name = path
            entry = session.resources.get(exporter, {}).get(group, {}).get(name)
            match = place.getmatch(path)
            if cls == _CLASS and entry is not None and match is not None:
                found[match.rename or name] = entry
        return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences labgrid's log, which includes tracebacks: errors are raised instead."""

    def is_other(record: logging.LogRecord) -> bool:
        return "labgrid" not in Path(record.pathname).parts

    root = logging.getLogger()
    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)


async def _leave(session: Any) -> None:
    await session.stop()
    await session.close()


def _url(entry: Any) -> tuple[str, int]:
    """The URL for pyserial, and the rate; through SSH if labgrid reaches the exporter that way."""
    port = NetworkSerialPort(target=None, name=None, **entry.args)
    port.extra = entry.extra
    host, number = proxymanager.get_host_and_port(port)
    if port.protocol == "raw":
        return f"socket://{host}:{number}", port.speed
    # As labgrid's own driver: ser2net does not answer control requests.
    return f"rfc2217://{host}:{number}?ign_set_control", port.speed
