"""The host's side of the device protocol (firmware/app/serve.c says what it is).

No result is lost or invented. Every command and reply is sealed (hil/exchange.py). An inference says what it ran on:
the sums of build, switch and inputs must be those of what was loaded here. It says what came out: the sums of what is
read later must be those. So a device that restarts, swaps places with another, or obeys a command that the line made
up can cost time, or an error, but not a wrong result.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hil.exchange import LINE_HELP, Exchange, RefusedError, Reply, check
from hil.transports import Transport
from tinygen.errors import DeviceError, DeviceGoneError, WrongBuildError

_ATTEMPTS = 4
_REPLY_SECONDS = 5.0
_T = TypeVar("_T")


class LostError(DeviceError):
    """An inference came to nothing; its inputs must be loaded again."""


@dataclass(frozen=True)
class DeviceInfo:
    """What a device says of itself.

    Attributes:
        name, build: of the model it runs.
        clock_hz: what its core runs at.
        inputs, outputs: bytes of each.
        layers: how many, of the current switch.
        switches: names of the ways to run the model; empty when there is only one.
        current: index of the one that it is run by now.
    """

    name: str
    build: str
    clock_hz: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    layers: int
    switches: tuple[str, ...] = ()
    current: int = 0


@dataclass(frozen=True)
class Inference:
    """One inference, whole.

    Attributes:
        outputs: bytes of each output.
        cycles: what the device counted.
    """

    outputs: tuple[bytes, ...]
    cycles: int


class DeviceClient:
    """Speaks to one device.

    Args:
        transport: the line.
        infer_seconds: how long an inference may take.
        clock: seconds, as `time.monotonic`; that of the line, where its time is not the computer's.
        nonce: see `Exchange`.

    Attributes:
        troubles: what it recovered from so far, in words.
    """

    def __init__(
        self,
        transport: Transport,
        infer_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        nonce: int | None = None,
    ) -> None:
        self._transport = transport
        self._infer_seconds = infer_seconds
        self._line = Exchange(transport, clock, nonce)
        self._device: DeviceInfo | None = None
        self._chosen = 0
        self._loaded: dict[int, bytes] | None = None  # None: nothing was loaded here, so no input is expected
        self._gave: dict[int, list[str]] | None = None
        self.troubles: list[str] = []

    def close(self) -> None:
        self._transport.close()

    def info(self) -> DeviceInfo:
        """Asks the device what it is; the first thing to do. What an earlier program left on the line is cleared.

        Raises:
            DeviceError: nothing answers, or not as this protocol says, or another device than before.
        """
        device = self._persist("what the device is", self._info)
        if self._device is not None and (self._device.name, self._device.build) != (device.name, device.build):
            raise WrongBuildError(
                f"runs build {device.build} of '{device.name}' now, before it was {self._device.build} of "
                f"'{self._device.name}'", fix="Was the board exchanged, or flashed anew? Start again.",
            )  # fmt: skip
        if self._device is None:
            self._chosen = device.current
        self._device = device
        return device

    def _info(self) -> DeviceInfo:
        reply = self._line.ask("tg-info", _REPLY_SECONDS)
        try:
            return DeviceInfo(
                name=_text(reply, "m-tg-name"),
                build=_text(reply, "m-tg-build"),
                clock_hz=int(reply.values("m-tg-clock")[0][0]),
                inputs=tuple(int(v[1]) for v in reply.values("m-tg-input")),
                outputs=tuple(int(v[1]) for v in reply.values("m-tg-output")),
                layers=int(reply.values("m-tg-layers")[0][0]),
                switches=tuple(v[1] for v in reply.values("m-tg-switch")),
                current=int((reply.values("m-tg-current") or [["0"]])[0][0]),
            )
        except (IndexError, ValueError) as error:
            raise RefusedError(
                "answers, but not as tinygen's firmware does", fix="Flash the firmware that `tinygen build` wrote."
            ) from error

    def set_switch(self, index: int) -> None:
        """Runs the model by switch `index` of `DeviceInfo.switches` from now on; inputs must be loaded after it.

        Raises:
            DeviceError: there is no such switch, or the line is bad.
        """
        self._known()
        self._persist(f"switch {index}", lambda: self._line.ask(f"tg-switch {index}", _REPLY_SECONDS))
        self._chosen = index
        self._loaded = self._gave = None

    def load(self, index: int, data: bytes) -> None:
        """Writes an input.

        Raises:
            DeviceError: the device refuses it, or it does not arrive whole.
        """
        self._known()
        self._gave = None
        self._loaded = self._loaded or {}
        self._loaded.pop(index, None)
        command, seconds = f"tg-load {index} {len(data)} {zlib.crc32(data):08x}", _REPLY_SECONDS + len(data) / 5000
        self._persist(f"input {index}", lambda: self._line.ask(command, seconds, data))
        self._loaded[index] = bytes(data)

    def run(self) -> int:
        """One inference; gives the cycles the device counted.

        Raises:
            LostError: the inference came to nothing, or ran on something else than what was loaded.
        """
        return self._cycles("tg-run")[1]

    def profile(self) -> tuple[list[int], int]:
        """One inference; gives cycles per layer and in all. Raises as `run`."""
        return self._cycles("tg-profile")

    def read(self, index: int) -> bytes:
        """An output's bytes, of the last inference.

        Raises:
            LostError: there was none, or its outputs are no longer there.
        """
        if self._gave is None:
            raise LostError("there is no inference whose outputs could be read")
        data = self._persist(f"output {index}", lambda: self._line.ask(f"tg-read {index}", _REPLY_SECONDS)).block
        if self._gave.get(index) != _sums(data):
            self._gave = None
            raise LostError("no longer has the outputs of the inference", fix="Did it restart?")
        return data

    def trace(self) -> list[int]:
        """One inference; gives the CRC-32 of every tensor the layers write, in order. Raises as `run`."""
        return [int(words[1], 16) for words in self._inference("tg-trace").values("m-tg-crc")]

    def dump(self, index: int) -> bytes:
        """One inference up to the layer that writes tensor `index` of `trace`; that tensor's bytes. Raises as `run`."""
        return self._inference(f"tg-dump {index}").block

    def infer(self, inputs: Sequence[bytes]) -> Inference:
        """One inference, from loading to reading, again where something came between.

        Raises:
            DeviceError: it could not be done.
        """
        return self.on_inputs(inputs, lambda: self._whole(len(self._known().outputs)))

    def _whole(self, outputs: int) -> Inference:
        cycles = self.run()
        return Inference(tuple(self.read(i) for i in range(outputs)), cycles)

    def on_inputs(self, inputs: Sequence[bytes], action: Callable[[], _T]) -> _T:
        """Loads all inputs, and gives what `action` gives: calls of `run`, `profile`, `trace`, `dump` and `read`.

        Where one of them is lost, all is done again, by the same switch.

        Raises:
            DeviceError: it could not be done.
        """
        wanted = len(self._known().inputs)
        if len(inputs) != wanted:
            raise RefusedError(f"wants {wanted} inputs, not {len(inputs)}")
        problem: DeviceError | None = None
        for _ in range(_ATTEMPTS):
            try:
                if problem is not None:
                    self._recover()
                for index, data in enumerate(inputs):
                    self.load(index, data)
                return action()
            except LostError as error:
                problem = self._note(error)
        assert problem is not None
        raise DeviceError(f"no inference in {_ATTEMPTS} attempts ({problem.what})", fix=problem.fix or LINE_HELP)

    def _recover(self) -> None:
        """After a restart: the same device and the same switch again, or an error."""
        self._persist("after a lost inference", self._line.resynchronise)
        if self.info().current != self._chosen:
            self.set_switch(self._chosen)

    def _known(self) -> DeviceInfo:
        return self._device or self.info()

    def _inference(self, command: str) -> Reply:
        """Once: the inputs are gone afterwards, whether an answer comes or not."""
        loaded, self._gave = self._loaded, None
        try:
            reply = self._line.ask(command, self._infer_seconds)
        except (RefusedError, DeviceGoneError):
            raise
        except DeviceError as error:
            raise LostError(error.what, where=error.where, fix=error.fix) from error
        if loaded is not None and reply.values("m-tg-ran") != [self._ran(loaded)]:
            raise LostError("did not run on what was loaded", fix="Did it restart?")
        self._loaded = None
        self._gave = {int(words[0]): words[1:] for words in reply.values("m-tg-gave")}
        return reply

    def _ran(self, loaded: dict[int, bytes]) -> list[str]:
        """What the device must say that it ran on."""
        device = self._known()
        missing = [i for i in range(len(device.inputs)) if i not in loaded]
        if missing:
            raise LostError(f"ran without input {missing[0]}", fix="Load all inputs before each inference.")
        inputs = b"".join(loaded[i] for i in range(len(device.inputs)))
        return _sums(device.build.encode("ascii") + bytes([self._chosen & 0xFF]) + inputs)

    def _cycles(self, command: str) -> tuple[list[int], int]:
        reply = self._inference(command)
        try:
            return [int(v[1]) for v in reply.values("m-tg-layer")], int(reply.values("m-tg-cycles")[0][0])
        except (IndexError, ValueError) as error:
            raise DeviceError(f"gave no cycle count, but {reply.lines}") from error

    def _persist(self, what: str, action: Callable[[], _T]) -> _T:
        """Does what can be done twice until it is done."""
        problem: DeviceError | None = None
        for _ in range(_ATTEMPTS):
            try:
                if problem is not None:
                    self._line.resynchronise()
                return action()
            except (RefusedError, DeviceGoneError):
                raise
            except DeviceError as error:
                problem = self._note(error)
        assert problem is not None
        message = f"{problem.what}, in {_ATTEMPTS} attempts ({what})"
        raise DeviceError(message, where=problem.where, fix=problem.fix or LINE_HELP) from problem

    def _note(self, error: DeviceError) -> DeviceError:
        if self._device is not None:
            self.troubles.append(error.what)
        return error

    def wait_for_boot(self) -> None:
        """Reads the banner of a device that has just started.

        Raises:
            DeviceError: it does not come up.
        """
        self._line.until_ready(self._line.clock() + _REPLY_SECONDS)


def _text(reply: Reply, label: str) -> str:
    return " ".join(reply.values(label)[0])


def _sums(data: bytes) -> list[str]:
    return [f"{value:08x}" for value in check(data)]
