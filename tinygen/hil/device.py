"""A build directory on its device: emulated, native, on QEMU or labwired, or real on a serial port."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from tinygen.builds.codes import from_memory, in_memory
from tinygen.builds.manifest import Manifest, ProgramEntry, Unfinished, read_manifest
from tinygen.errors import BoardError, DeviceError, TinygenError, WrongBuildError
from tinygen.hil.answers import DeviceInfo
from tinygen.hil.client import ENERGY_BAUD, DeviceClient
from tinygen.hil.ports import EMULATED, LABWIRED, QEMU, STAND_INS, is_line_to_hardware, is_place, port_path
from tinygen.hil.reconnect import ReconnectingTransport
from tinygen.hil.transports import ProcessTransport, RatedTransport, SerialTransport, Transport
from tinygen.project.choices import Mode
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard, Profile
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.emulator.cpus import need_emulator
from tinygen.targets.qemu import qemu_command

_T = TypeVar("_T")
INFER_SECONDS = 60.0
MEASURED, PREDICTED = "measured", "predicted"
REPORTED = "reported"
"""Source of cycles behind a pseudo-terminal or a network: it may be a board (measured) or an emulator (predicted)."""


@dataclass(frozen=True)
class Measured:
    """One inference: outputs and what it took.

    Attributes:
        outputs: codes per model output.
        profile: executed instructions, if the device counts them.
        cycles: from the device's own cycle counter.
        path: the branches that ran, by operator.
        ran: numbers of the executed layers, for a model with branches.
    """

    outputs: list[np.ndarray]
    profile: Profile | None
    cycles: int
    path: Mapping[str, int] = field(default_factory=dict)
    ran: tuple[int, ...] = ()


class Device:
    """A model on a device, ready for inferences; use as a context manager.

    Attributes:
        name: of the runtime, for reports: "host", "f746zg-emulated", "f746zg-serial".
        engine: what runs it: "unicorn", "qemu", "labwired", "native", "serial".
        port: what the serial port is opened by; "" for the other engines.
        info: the device's latest description of itself; None before the context is entered.
        path: the branches that the last `step` ran, by operator.
    """

    def __init__(
        self,
        folder: Path | Unfinished,
        *,
        port: str | None = None,
        engine: str | None = None,
        count: bool = False,
        transport: Transport | None = None,
        infer_seconds: float = INFER_SECONDS,
    ) -> None:
        built = folder if isinstance(folder, Unfinished) else Unfinished(folder, read_manifest(folder))
        self.folder, self.manifest = built.folder, built.manifest
        self.board = load_board(self.manifest.board)
        self.engine, self.port = ("serial", "") if transport else _place(self.board, port, engine)
        self.name = _runtime_name(self.board, self.engine)
        self._program: ProgramEntry = self.manifest
        self._switch = 0
        self.info: DeviceInfo | None = None
        self.path: Mapping[str, int] = {}
        self._thresholds: dict[str, int] = {}
        self._emulated: EmulatedBoard | None = None
        # QEMU and labwired do not count: the same firmware runs beside them in our own emulated board.
        others = count and self.engine in (QEMU, LABWIRED)
        self._twin = Device(built, engine="unicorn", count=True) if others else None
        # The cycles that checking a command takes depend on its nonce: with a fixed one, an emulated board reports the
        # same cycles at every run.
        nonce = None if self.engine == "serial" else 0
        wakes = self.manifest.app is not None and self.manifest.app.listens == "mic"
        clock = time.process_time if self.engine == LABWIRED else time.monotonic
        line = transport or self._transport(count)
        self.client = DeviceClient(line, infer_seconds, clock, nonce, wakes=wakes)

    def _transport(self, count: bool) -> Transport:
        if self.engine == "serial":
            # A board whose USB is its own goes away with every reset, and comes back.
            return ReconnectingTransport(self._open_line)
        elf = (self.folder / "firmware.elf").resolve()
        if not elf.is_file():
            raise TinygenError("firmware.elf is missing", where=str(self.folder), fix="Build it again.")
        if self.engine == "native":
            return ProcessTransport([str(elf)])
        if self.engine == "qemu":
            return ProcessTransport(qemu_command(self.board, elf))
        if self.engine == LABWIRED:
            # Not before: labwired is an extra.
            from tinygen.hil.labwired import LabwiredTransport

            return LabwiredTransport(self.board, elf)
        cost = board_cost(self.board, elf) if count else None
        self._emulated = EmulatedBoard(self.board, elf, Watch(count=count, cost=cost))
        self._emulated.set_baud(first_baud(self.board, self.manifest))
        return self._emulated

    def _open_line(self) -> RatedTransport:
        if is_place(self.port):
            # Not before: labgrid is an extra, and takes its time.
            from tinygen.hil.labgrid import LabgridTransport

            return LabgridTransport(self.port, first_baud(self.board, self.manifest))
        return SerialTransport(self.port, first_baud(self.board, self.manifest))

    def __enter__(self) -> Device:
        try:
            if self.engine != "serial":
                self.client.wait_for_boot()
            if self._twin is not None:
                self._twin.__enter__()
            self.check()
        except BaseException:
            self.client.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def check(self) -> DeviceInfo:
        """Asks the device what it runs and selects the chosen switch: at the start, and whenever its state is
        uncertain.

        After a reset, the first switch is selected; on a real board, an earlier session may have selected another.

        Raises:
            WrongBuildError: it runs another firmware.
            DeviceError: it does not answer.
        """
        info = self.client.info()
        if info.build != self.manifest.build_id:
            raise WrongBuildError(
                f"runs build {info.build} of '{info.name}', this directory holds {self.manifest.build_id}",
                where=self.name,
                fix="Flash the firmware of this directory.",
            )
        if info.current != self._switch:
            self.client.set_switch(self._switch)
        wanted = self.manifest.default_thresholds | self._thresholds
        # A real board may still have those of an earlier session.
        self.client.set_thresholds({n: code for n, code in wanted.items() if info.thresholds.get(n) != code})
        self.info = info
        return info

    def select(self, switch: int | str) -> None:
        """Selects the switch for all further inferences, by number or name. Only 0 is valid if the model has no
        switches.

        Raises:
            TinygenError: there is no such switch.
        """
        index = self.manifest.switch_index(switch) if isinstance(switch, str) else switch
        count = len(self.manifest.switches) or 1
        if not 0 <= index < count:
            raise TinygenError(f"there is no switch {index}", where=self.name, fix=f"It has {count}.")
        if count > 1:
            self.client.set_switch(index)
        self._program, self._switch = self.manifest.section(index), index
        if self._twin is not None:
            self._twin.select(index)

    def set_thresholds(self, values: Mapping[str, int]) -> None:
        """Gates compare with these codes from now on, by whichever switch; see `Manifest.thresholds_set`.

        Raises:
            TinygenError: there is no such threshold, or it cannot have that code.
        """
        chosen = self.manifest.thresholds_set(values)
        self.client.set_thresholds(chosen)
        self._thresholds |= chosen
        if self._twin is not None:
            self._twin.set_thresholds(values)

    def force_branches(self, indices: Mapping[str, bytes]) -> None:
        """In the emulated board, has branch operators take these branches; see `ForcedBranches.choose`."""
        assert self._emulated is not None
        self._emulated.branches.choose(indices)

    @property
    def stack_used(self) -> int | None:
        """Deepest stack so far in bytes; None if it cannot be observed."""
        device = self._twin or self
        return device._emulated.stack_used() if device._emulated else None

    @property
    def cycles_source(self) -> str:
        """Source of its cycles: MEASURED, PREDICTED, REPORTED, or "" if nothing counts them."""
        if self.engine == "serial":
            return MEASURED if self.port and is_line_to_hardware(self.port) else REPORTED
        return {"unicorn": PREDICTED, "native": MEASURED}.get(self.engine, "")

    @property
    def timer(self) -> Device | None:
        """The device that counts this firmware's cycles: this one, the emulated twin of QEMU or labwired, or None."""
        return self if self.cycles_source else self._twin

    @property
    def keeps(self) -> bool:
        """Whether the model has states between inferences."""
        return self.manifest.keeps_states

    @property
    def has_branches(self) -> bool:
        """Whether the executed layers depend on the inputs."""
        return self._program.has_branches

    def reset(self) -> None:
        """Resets the model's states: the next `step` is the first. No effect on a model without states."""
        if self.keeps:
            self.client.reset()
        if self._twin is not None:
            self._twin.reset()

    def feed_microphone(self, samples: np.ndarray) -> None:
        """Adds sound for the microphone of an emulated board, see `EmulatedBoard.feed_microphone`.

        Raises:
            BoardError: the device is not emulated here, or has no microphone.
        """
        if self._emulated is None:
            fix = "Speak to it, or send the sound over its serial port."
            raise BoardError("nothing can be played to its microphone: it is not emulated", where=self.name, fix=fix)
        self._emulated.feed_microphone(samples)

    def infer(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the codes of each model output; if the model has states, those of a first inference."""
        return self.timed(sample)[0]

    def step(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Codes of each model output, from the states that the last step left; `path` has the branches that ran."""
        if not self._program.has_branches:
            return self.timed(sample, keep=True)[0]
        (ran, _), found = self._profile(sample, lambda: (self.client.profile(), self._read()), keep=True)
        self.path = self._program.path(ran)
        return self._as_arrays(found)

    def take_back(self) -> None:
        """Undoes the last step: the next `step` replaces it. No effect on a model without states."""
        self.client.take_back()

    def timed(self, sample: Sequence[np.ndarray], *, keep: bool = False) -> tuple[list[np.ndarray], int]:
        """Returns the codes of each model output and the device's cycles; with `keep`, states are kept as in `step`."""
        inference = self.client.infer(self.in_memory(sample), keep=keep and self.keeps)
        return self._as_arrays(inference.outputs), inference.cycles

    def measure_layers(self, sample: Sequence[np.ndarray]) -> tuple[list[int], list[int]]:
        """Returns the cycles of each layer as the device counts them, and its instructions if they are counted."""
        ran, _ = self._profile(sample, self.client.profile)
        # Layers in branches that did not run took 0 cycles.
        cycles = [ran.get(layer, 0) for layer in range(len(self._program.layers))]
        if self._emulated is None:
            return cycles, []
        return cycles, list(self._emulated.profile(len(cycles)).layers)

    def measure(self, sample: Sequence[np.ndarray], *, keep: bool = False) -> Measured:
        """Runs one inference, with a profile if the device can make one; with `keep`, states are kept as in `step`."""
        if self._emulated is None and not self._program.has_branches:
            outputs, cycles = self.timed(sample, keep=keep)
            return Measured(outputs, self._profile_of_twin(sample, keep), cycles)
        (ran, cycles), found = self._profile(sample, lambda: (self.client.profile(), self._read()), keep)
        if self._emulated is None:
            profile = self._profile_of_twin(sample, keep)
        else:
            profile = self._emulated.profile(len(self._program.layers))
        return Measured(self._as_arrays(found), profile, cycles, self._program.path(ran), tuple(ran))

    def _profile(self, sample: Sequence[np.ndarray], action: Callable[[], _T], keep: bool = False) -> _T:
        """Runs `action` on an input; the emulated board's counts are reset first."""

        def counted() -> _T:
            if self._emulated is not None:
                self._emulated.clear_profile()
            return action()

        run = self.client.step if keep and self.keeps else self.client.on_inputs
        return run(self.in_memory(sample), counted)

    def _profile_of_twin(self, sample: Sequence[np.ndarray], keep: bool) -> Profile | None:
        return self._twin.measure(sample, keep=keep).profile if self._twin else None

    def intermediate(self, sample: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the codes of every tensor that executed layers write, by name; each is checked against its CRC-32."""
        tensors = [tensor for layer in self._program.layers for tensor in layer.outputs]
        inputs = self.in_memory(sample)
        sums = self.client.on_inputs(inputs, self.client.trace)
        found = {}
        for index in sums:
            tensor = tensors[index]
            data = self.client.on_inputs(inputs, partial(self.client.dump, index))
            if zlib.crc32(data) != sums[index]:
                raise DeviceError(f"gives other codes for '{tensor.name}' at each inference", where=self.name)
            found[tensor.name] = from_memory(data, tensor)
        return found

    def checksums(self, sample: Sequence[np.ndarray]) -> dict[str, int]:
        """Returns the CRC-32 of every executed layer's output in memory, by tensor; runs one more inference."""
        tensors = [tensor for layer in self._program.layers for tensor in layer.outputs]
        sums = self.client.on_inputs(self.in_memory(sample), self.client.trace)
        return {tensors[index].name: value for index, value in sums.items()}

    def in_memory(self, sample: Sequence[np.ndarray]) -> list[bytes]:
        """Inputs as they lie in the arena.

        Raises:
            TinygenError: too many or too few, or see `codes.in_memory`.
        """
        wanted = len(self._program.inputs)
        if len(sample) != wanted:
            raise TinygenError(f"takes {wanted} inputs, not {len(sample)}", where=self.name)
        return [in_memory(codes, tensor) for codes, tensor in zip(sample, self._program.inputs, strict=True)]

    def _read(self) -> list[bytes]:
        return [self.client.read(index) for index in range(len(self._program.outputs))]

    def _as_arrays(self, outputs: Sequence[bytes]) -> list[np.ndarray]:
        return [from_memory(data, tensor) for data, tensor in zip(outputs, self._program.outputs, strict=True)]


def first_baud(board: Board, manifest: Manifest) -> int:
    """Initial baud rate of a build directory's firmware, in bits per second."""
    assert board.uart is not None
    return ENERGY_BAUD if manifest.mode is Mode.ENERGY else board.uart.baud


def require_runtime(board: Board) -> None:
    """Raises unless the board can be emulated here.

    Raises:
        BoardError: nothing emulates it.
        ToolchainError: its emulator is not installed.
    """
    _require_engine(board)
    if board.emulator.engine == "unicorn":
        need_emulator()


def _require_engine(board: Board) -> None:
    if board.emulator.engine != "none":
        return
    fix = "Name the port of a real board."
    if board.is_project_only:
        fix = (
            f"`tinygen build --board {board.name}` writes an ESP-IDF project: build and flash that with `idf.py flash` "
            "or `pio run -t upload`, then give --port; or take an emulated board (esp32c3, esp32c6)."
        )
    raise BoardError(f"nothing emulates {board.name}", where=str(board.path), fix=fix)


def open_device(
    folder: Path | Unfinished,
    *,
    port: str | None = None,
    engine: str | None = None,
    count: bool = False,
    transport: Transport | None = None,
    infer_seconds: float = INFER_SECONDS,
) -> Device:
    """A device for a build directory; use it in a `with` statement.

    Args:
        folder: written by `tinygen build`, or being written.
        port: "auto" or "auto:NUMBER", the port with the board's USB identity (and that serial number); a path, or one
            of pyserial's URLs; labgrid:PLACE, see `tinygen.hil.labgrid`; "emulated", "qemu" or "labwired"; None for the
            emulator that the board file prefers.
        engine: "unicorn" runs the board in our emulator, also where the board file prefers QEMU.
        count: count instructions (emulated boards).
        transport: a line to the board that is open already, instead of a port.
        infer_seconds: how long an inference may take.

    Raises:
        TinygenError: not a build directory, no emulator, or no board on the port.
    """
    return Device(folder, port=port, engine=engine, count=count, transport=transport, infer_seconds=infer_seconds)


def _place(board: Board, port: str | None, engine: str | None) -> tuple[str, str]:
    """Engine and serial port.

    Raises:
        DeviceError: of `tinygen.hil.ports`.
        BoardError: nothing emulates the board.
    """
    if engine is None and board.is_host and port not in (None, EMULATED):
        raise DeviceError(
            "is no board: its firmware is a program of this computer", where=board.name, fix="Leave the port out."
        )
    if engine is None and port not in (None, *STAND_INS):
        assert port is not None
        return "serial", port_path(port, board)
    _require_engine(board)
    own = board.emulator.engine
    if engine is None:
        engine = {
            None: own,
            QEMU: QEMU,
            LABWIRED: LABWIRED,
            EMULATED: "unicorn" if own == QEMU else own,
        }[port]
    return engine, ""


def _runtime_name(board: Board, engine: str) -> str:
    if engine == "native":
        return "host"
    kind = {"unicorn": "emulated", "qemu": "qemu", "labwired": "labwired", "serial": "serial"}[engine]
    return f"{board.name}-{kind}"
