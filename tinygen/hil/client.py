"""The host's side of the device protocol (firmware/app/serve.c says what it is).

No result is lost or invented. Every command and reply is sealed (hil/exchange.py). The reply to an inference holds
checksums of build, switch and inputs, which must match what was loaded here, and checksums of the outputs, which must
match what is read later. So a device that restarts, is swapped for another, or obeys a command corrupted on the line
can cause a delay or an error, but not a wrong result.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from tinygen.errors import DeviceError, DeviceGoneError, WrongBuildError
from tinygen.hil.answers import DeviceInfo, Inference, Marks, Window
from tinygen.hil.exchange import BYTES_PER_SECOND, LINE_HELP, Exchange, RefusedError, Reply, check
from tinygen.hil.transports import RatedTransport, Transport

ENERGY_BAUD = 9600
PERFORMANCE_BAUD = 115200
_ATTEMPTS = 4
_REPLY_SECONDS = 5.0
_T = TypeVar("_T")


class LostError(DeviceError):
    """An inference failed; its inputs must be loaded again."""


class DeviceClient:
    """Speaks to one device.

    Args:
        transport: the line.
        infer_seconds: how long an inference may take.
        clock: returns seconds, as `time.monotonic`; the line's own clock if the line runs on simulated time.
        nonce, wakes: see `Exchange`.

    Attributes:
        troubles: descriptions of the errors it has recovered from so far.
        line: for what is no command.
    """

    def __init__(
        self,
        transport: Transport,
        infer_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        nonce: int | None = None,
        *,
        wakes: bool = False,
    ) -> None:
        self._transport = transport
        self._infer_seconds = infer_seconds
        self.line = Exchange(transport, clock, nonce, wakes=wakes)
        self._device: DeviceInfo | None = None
        self._chosen = 0
        self._loaded: dict[int, bytes] | None = None  # None: nothing was loaded here, so no input is expected
        self._gave: dict[int, list[str]] | None = None
        self._steps: int | None = None  # inferences since the reset; None: not known
        self._past: list[list[bytes]] | None = None  # the stream's inputs so far; None: there were other inferences
        self._thresholds: dict[str, int] = {}  # what they should be, of those that were set here
        self._cold = False  # whether it may have restarted since its last inference: its caches are empty then
        self.troubles: list[str] = []

    def close(self) -> None:
        self._transport.close()

    def ask(self, command: str) -> Reply:
        """Sends a command that may safely be executed twice, until it succeeds."""
        return self._persist(command, lambda: self.line.ask(command, _REPLY_SECONDS))

    def forget(self) -> None:
        """Drops cached device state: another program may have used the board."""
        self._loaded = self._gave = self._steps = self._past = None

    def info(self) -> DeviceInfo:
        """Asks the device what it is; the first thing to do. Bytes that an earlier program left on the line are
        discarded.

        Raises:
            DeviceError: nothing answers, the answer violates the protocol, or another device answers than before.
        """
        device = self._persist("what the device is", self._info)
        if self._device is not None and (self._device.name, self._device.build) != (device.name, device.build):
            raise WrongBuildError(
                f"runs build {device.build} of '{device.name}' now, before it was {self._device.build} of "
                f"'{self._device.name}'",
                fix="Was the board exchanged, or flashed anew? Start again.",
            )
        if self._device is None:
            self._chosen = device.current
        self._device = device
        return device

    def _info(self) -> DeviceInfo:
        reply = self.line.ask("tg-info", _REPLY_SECONDS)
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
                db_bytes=int((reply.values("m-tg-db") or [["0"]])[0][0]),
                mode=(reply.values("m-tg-mode") or [["performance"]])[0][0],
                state_bytes=int((reply.values("m-tg-state") or [["0"]])[0][0]),
                thresholds=dict(_threshold(words) for words in reply.values("m-tg-threshold")),
            )
        except (IndexError, ValueError) as error:
            raise RefusedError(
                "answers, but not as tinygen's firmware does", fix="Flash the firmware that `tinygen build` wrote."
            ) from error

    def set_switch(self, index: int) -> None:
        """Runs the model by switch `index` of `DeviceInfo.switches` from now on; inputs must be loaded after it.

        The model's states are reset.

        Raises:
            DeviceError: there is no such switch, or the line is bad.
        """
        self._known()
        self._persist(f"switch {index}", lambda: self.line.ask(f"tg-switch {index}", _REPLY_SECONDS))
        self._chosen = index
        self._loaded = self._gave = self._steps = self._past = None

    def set_thresholds(self, values: Mapping[str, int]) -> None:
        """Sets thresholds, by name; they stay until the session ends. Inputs must be loaded after it.

        Raises:
            DeviceError: there is none of that name, it cannot have that code, or the line is bad.
        """
        names = list(self._known().thresholds)
        for name, code in values.items():
            if name not in names:
                raise RefusedError(f"has no threshold '{name}'", fix=f"It has {', '.join(names) or 'none'}.")
            command = f"tg-threshold {names.index(name)} {code & 0xFFFFFFFF:08x}"
            self._persist(f"threshold {name}", partial(self.line.ask, command, _REPLY_SECONDS))
            self._thresholds[name] = code
        if values:
            self.forget()

    def reset(self) -> None:
        """Resets the model's states on the device.

        Raises:
            DeviceError: its model has no states, or the line is bad.
        """
        self._persist("reset", lambda: self.line.ask("tg-reset", _REPLY_SECONDS))
        self._steps, self._past = 0, []

    def load(self, index: int, data: bytes) -> None:
        """Writes an input.

        Raises:
            DeviceError: the device refuses it, or it does not arrive whole.
        """
        self._known()
        self._gave = None
        self._loaded = self._loaded or {}
        self._loaded.pop(index, None)
        command, seconds = f"tg-load {index} {len(data)} {zlib.crc32(data):08x}", _slowly(data)
        self._persist(f"input {index}", lambda: self.line.ask(command, seconds, data))
        self._loaded[index] = bytes(data)

    def run(self) -> int:
        """Runs one inference and returns the cycles that the device counted.

        Raises:
            LostError: the inference came to nothing, or ran on something else than what was loaded.
        """
        return self._cycles("tg-run")[1]

    def profile(self) -> tuple[dict[int, int], int]:
        """Runs one inference and returns cycles per executed layer, by its number, and in total. Raises as `run`."""
        return self._cycles("tg-profile")

    def read(self, index: int) -> bytes:
        """Returns an output's bytes from the last inference.

        Raises:
            LostError: there was none, or its outputs are no longer there.
        """
        if self._gave is None:
            raise LostError("there is no inference whose outputs could be read")
        data = self._persist(f"output {index}", lambda: self.line.ask(f"tg-read {index}", _REPLY_SECONDS)).block
        if self._gave.get(index) != _sums(data):
            self._gave = None
            raise LostError("no longer has the outputs of the inference", fix="Did it restart?")
        return data

    def trace(self) -> dict[int, int]:
        """Runs one inference and returns the CRC-32 of every tensor that the layers write, by its number. Raises as
        `run`.

        Layers of branches that do not run write none.
        """
        return {int(words[0]): int(words[1], 16) for words in self._inference("tg-trace").values("m-tg-crc")}

    def dump(self, index: int) -> bytes:
        """Runs one inference up to the layer that writes tensor `index` of `trace`, and returns that tensor's bytes.
        Raises as `run`.
        """
        return self._inference(f"tg-dump {index}").block

    def infer(self, inputs: Sequence[bytes], *, keep: bool = False) -> Inference:
        """Runs one inference from loading to reading; repeats it after a recoverable error.

        Args:
            inputs: bytes of each.
            keep: go on from the last such inference, see `step`.

        Raises:
            DeviceError: it could not be done.
        """
        return self.step(inputs, self._whole) if keep else self.on_inputs(inputs, self._whole)

    def _whole(self) -> Inference:
        cycles = self.run()
        return Inference(tuple(self.read(i) for i in range(len(self._known().outputs))), cycles)

    def on_inputs(self, inputs: Sequence[bytes], action: Callable[[], _T]) -> _T:
        """Loads all inputs and returns the result of `action`, which calls `run`, `profile`, `trace`, `dump` and
        `read`.

        If one of these calls is lost, everything is repeated with the same switch. The model's states are reset first.
        After any trouble, which may have been a restart, an inference comes before: `action` finds warm caches.

        Raises:
            DeviceError: it could not be done.
        """
        if self._known().state_bytes:
            self._past = None
            found = self.step(inputs, action)
            self._past = None
            return found
        return self._repeated(inputs, action, lambda: None)

    def step(self, inputs: Sequence[bytes], action: Callable[[], _T]) -> _T:
        """The same, but continues with the states that the last step left. States are reset for the first step, and for
        one after `reset` or after any other inference; `action` is one inference and its reads.

        If an inference is lost, the device's states are unknown: all steps since the reset are repeated.

        Raises:
            DeviceError: it could not be done.
        """
        past = self._past

        def begin() -> None:
            if past is None or self._past is None or self._steps != len(past):
                self.reset()
                for earlier in past or ():
                    self._load_all(earlier)
                    self.run()

        found = self._repeated(inputs, action, begin)
        self._past = past or []
        self._past.append([bytes(data) for data in inputs])
        return found

    def take_back(self) -> None:
        """Undoes the last step: the next `step` replaces it, after the device's states from before it are restored."""
        if self._past:
            self._past = self._past[:-1]

    def _load_all(self, inputs: Sequence[bytes]) -> None:
        for index, data in enumerate(inputs):
            self.load(index, data)

    def _repeated(self, inputs: Sequence[bytes], action: Callable[[], _T], begin: Callable[[], None]) -> _T:
        wanted = len(self._known().inputs)
        if len(inputs) != wanted:
            raise RefusedError(f"wants {wanted} inputs, not {len(inputs)}")
        problem: DeviceError | None = None
        for _ in range(_ATTEMPTS):
            try:
                if problem is not None:
                    self._recover()
                begin()
                self._load_all(inputs)
                if self._cold:
                    self.run()
                    self._cold = False
                    begin()
                    self._load_all(inputs)
                if self._cold:
                    raise LostError("may have restarted while its inputs were loaded")
                return action()
            except LostError as error:
                problem = self._note(error)
        assert problem is not None
        raise DeviceError(f"no inference in {_ATTEMPTS} attempts ({problem.what})", fix=problem.fix or LINE_HELP)

    def set_mode(self, mode: str) -> None:
        """Changes to "performance" (115200 baud, timestamps as text) or "energy" (9600 baud, timestamps by a pin).

        Raises:
            DeviceError: there is no such mode, the transport cannot change its rate, or the line is bad.
        """
        if not isinstance(self._transport, RatedTransport):
            raise RefusedError("is on a line whose rate cannot be changed", fix="Build it with --mode energy instead.")
        self._known()
        rates = (PERFORMANCE_BAUD, ENERGY_BAUD) if mode == "performance" else (ENERGY_BAUD, PERFORMANCE_BAUD)
        for _ in range(_ATTEMPTS):
            try:
                self.line.ask(f"tg-mode {mode}", _REPLY_SECONDS)
            except RefusedError:
                raise
            except DeviceError as error:  # it may have changed, and only the reply be lost
                self._note(error)
            if self._found_at(self._transport, rates) == mode:
                return
        raise DeviceError(f"does not change to mode {mode}", fix=LINE_HELP)

    def _found_at(self, transport: RatedTransport, rates: tuple[int, int]) -> str:
        """Finds the device's mode by the rate at which it answers; "" if it answers at none of them."""
        for baud in rates:
            transport.set_baud(baud)
            try:
                self.line.resynchronise()
                return self._info().mode
            except RefusedError:
                raise
            except DeviceError as error:
                self._note(error)
        return ""

    def load_db(self, data: bytes) -> None:
        """Writes an input for `measure` as the benchmark's runner sends it; it is kept until the next one.

        Raises:
            DeviceError: the device refuses it, or it does not arrive whole.
        """
        command = f"tg-db {len(data)} {zlib.crc32(data):08x}"
        self._persist("the db buffer", lambda: self.line.ask(command, _slowly(data), data))

    def measure(
        self, iterations: int, warm_up: int = 0, codes: Sequence[bytes] | None = None, *, seconds: float = 0.0
    ) -> Window:
        """Runs inferences on the input from `load_db` between two timestamps; their outputs can be read afterwards.

        Args:
            iterations, warm_up: number of measured inferences, and of unmeasured ones before them.
            codes: the model's inputs that result, if known: the device's checksums must match them.
            seconds: expected duration of the whole run; the timeout allows one more inference.

        Raises:
            LostError: the run failed, or used other inputs.
            RefusedError: nothing was loaded, or it was lost by a restart.
        """
        if self._known().state_bytes:
            self.reset()
        self._loaded = None if codes is None else dict(enumerate(codes))
        reply = self._inference(f"infer {iterations} {warm_up}", seconds, iterations + warm_up)
        laps = [int(line.removeprefix("m-lap-us-")) for line in reply.lines if line.startswith("m-lap-us-")]
        text = next((line for line in reply.lines if line.startswith("m-results-[")), "m-results-[]")
        results = tuple(float(value) for value in text[len("m-results-[") : -1].split(",") if value)
        return Window(iterations, laps[1] - laps[0] if len(laps) == 2 else None, results)

    def paint(self) -> None:
        """Fills arena and free stack with a pattern, for `marks`; inputs must be loaded after it."""
        self.ask("tg-paint")
        self.forget()
        if self._known().thresholds:
            self.info()
            self.set_thresholds(dict(self._thresholds))

    def marks(self) -> Marks:
        """Returns how much of arena and stack was written since `paint`."""
        reply = self.ask("tg-marks")
        return Marks(_pair(reply, "m-tg-arena"), _pair(reply, "m-tg-stack"))

    def _recover(self) -> None:
        """After a restart, makes sure of the same device and selects the same switch again; otherwise raises an
        error.
        """
        self._persist("after a lost inference", self.line.resynchronise)
        if self.info().current != self._chosen:
            self.set_switch(self._chosen)
        if self._thresholds:
            self.set_thresholds(dict(self._thresholds))

    def _known(self) -> DeviceInfo:
        return self._device or self.info()

    def _inference(self, command: str, seconds: float = 0.0, count: int = 1) -> Reply:
        """Runs `count` inferences, without a retry: the inputs are lost afterwards, even if no answer comes."""
        if self._known().state_bytes and self._steps is None:
            self.reset()
        loaded, steps = self._loaded, self._steps
        self._gave = self._steps = self._past = None
        try:
            reply = self.line.ask(command, self._infer_seconds + seconds)
        except (RefusedError, DeviceGoneError):
            raise
        except DeviceError as error:
            raise LostError(error.what, where=error.where, fix=error.fix) from error
        if loaded is not None and reply.values("m-tg-ran") != [self._ran(loaded, steps)]:
            raise LostError("did not run on what was loaded", fix="Did it restart?")
        self._loaded, self._steps = None, None if steps is None else steps + count
        self._gave = {int(words[0]): words[1:] for words in reply.values("m-tg-gave")}
        return reply

    def _ran(self, loaded: dict[int, bytes], steps: int | None) -> list[str]:
        """The checksums that the device must report after `steps` inferences since its reset."""
        device = self._known()
        missing = [i for i in range(len(device.inputs)) if i not in loaded]
        if missing:
            raise LostError(f"ran without input {missing[0]}", fix="Load all inputs before each inference.")
        inputs = b"".join(loaded[i] for i in range(len(device.inputs)))
        codes = (device.thresholds | self._thresholds).values()
        earlier = b"" if steps is None else steps.to_bytes(4, "little")
        earlier += b"".join(code.to_bytes(4, "little", signed=True) for code in codes)
        return _sums(device.build.encode("ascii") + bytes([self._chosen & 0xFF]) + earlier + inputs)

    def _cycles(self, command: str) -> tuple[dict[int, int], int]:
        reply = self._inference(command)
        try:
            return {int(v[0]): int(v[1]) for v in reply.values("m-tg-layer")}, int(reply.values("m-tg-cycles")[0][0])
        except (IndexError, ValueError) as error:
            raise DeviceError(f"gave no cycle count, but {reply.lines}") from error

    def _persist(self, what: str, action: Callable[[], _T]) -> _T:
        """Repeats an action that may safely be executed twice until it succeeds."""
        problem: DeviceError | None = None
        for _ in range(_ATTEMPTS):
            try:
                if problem is not None:
                    self.line.resynchronise()
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
            self._cold = True
            self.troubles.append(error.what)
        return error

    def wait_for_boot(self) -> None:
        """Reads the banner of a device that has just started.

        Raises:
            DeviceError: it does not come up.
        """
        self.line.until_ready(self.line.clock() + _REPLY_SECONDS)


def _slowly(data: bytes) -> float:
    return _REPLY_SECONDS + len(data) / BYTES_PER_SECOND


def _pair(reply: Reply, label: str) -> tuple[int, int] | None:
    return next(((int(words[0]), int(words[1])) for words in reply.values(label)), None)


def _text(reply: Reply, label: str) -> str:
    return " ".join(reply.values(label)[0])


def _threshold(words: Sequence[str]) -> tuple[str, int]:
    """Name and code of a threshold."""
    code = int(words[2], 16)
    return words[1], code - (code >> 31 << 32)


def _sums(data: bytes) -> list[str]:
    return [f"{value:08x}" for value in check(data)]
