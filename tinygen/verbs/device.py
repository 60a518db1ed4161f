"""A build directory on its device: emulated, native, on QEMU, or real on a serial port."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hil.client import DeviceClient
from hil.transports import ProcessTransport, SerialTransport, Transport
from tinygen.errors import DeviceError, TinygenError
from tinygen.ir.encodings import pack_bits, unpack_bits
from tinygen.targets.board import Board, load_board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard, Profile
from tinygen.targets.qemu import qemu_command
from tinygen.verbs.manifest import read_manifest, switch_index


@dataclass(frozen=True)
class Measured:
    """One inference: outputs and what it took.

    Attributes:
        outputs: codes per model output.
        profile: executed instructions, where the device counts them.
        cycles: what the device's own cycle counter said.
    """

    outputs: list[np.ndarray]
    profile: Profile | None
    cycles: int


class Device:
    """A model on a device, ready for inferences; use as a context manager.

    Attributes:
        name: of the runtime, for reports: "host", "board f746zg (emulated)".
        engine: what runs it: "unicorn", "qemu", "native", "serial".
    """

    def __init__(
        self, folder: Path, *, port: str | None = None, engine: str | None = None, count: bool = False
    ) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.board = load_board(self.manifest["board"])
        self.engine = "serial" if port else engine or self.board.emulator.engine
        self.name = _runtime_name(self.board, self.engine)
        self._section = self.manifest
        self._emulated: EmulatedBoard | None = None
        # QEMU does not count: the same firmware runs beside it in our own emulated board.
        self._twin = Device(folder, engine="unicorn", count=True) if count and self.engine == "qemu" else None
        self.client = DeviceClient(self._transport(port, count), nonce=None if port else 0)

    def _transport(self, port: str | None, count: bool) -> Transport:
        elf = (self.folder / "firmware.elf").resolve()
        if not elf.is_file():
            raise TinygenError("firmware.elf is missing", where=str(self.folder), fix="Build it again.")
        if port:
            assert self.board.uart is not None
            return SerialTransport(port, self.board.uart.baud)
        if self.engine == "native":
            return ProcessTransport([str(elf)])
        if self.engine == "qemu":
            return ProcessTransport(qemu_command(self.board, elf))
        cost = board_cost(self.board, elf) if count else None
        self._emulated = EmulatedBoard(self.board, elf, count=count, cost=cost)
        return self._emulated

    def __enter__(self) -> Device:
        try:
            if self.engine != "serial":
                self.client.wait_for_boot()
            info = self.client.info()
            if info.build != self.manifest["build_id"]:
                raise DeviceError(
                    f"runs build {info.build} of '{info.name}', this directory holds {self.manifest['build_id']}",
                    where=self.name, fix="Flash the firmware of this directory.",
                )  # fmt: skip
            if self._twin is not None:
                self._twin.__enter__()
            if info.current:
                # A real board keeps the switch that an earlier session chose.
                self.select(0)
        except BaseException:
            self.client.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def select(self, switch: int | str) -> None:
        """Runs the model by this switch from now on: its number or name. Only 0 where there are none.

        Raises:
            TinygenError: there is no such switch.
        """
        index = switch_index(self.manifest, switch) if isinstance(switch, str) else switch
        entries = self.manifest.get("switches") or [self.manifest]
        if not 0 <= index < len(entries):
            raise TinygenError(f"there is no switch {index}", where=self.name, fix=f"It has {len(entries)}.")
        if len(entries) > 1:
            self.client.set_switch(index)
        self._section = entries[index]
        if self._twin is not None:
            self._twin.select(index)

    @property
    def stack_used(self) -> int | None:
        """Deepest stack so far in bytes, where it can be seen."""
        device = self._twin or self
        return device._emulated.stack_used() if device._emulated else None

    def infer(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Codes of each model output."""
        self._load(sample)
        self.client.run()
        return self._outputs()

    def measure(self, sample: Sequence[np.ndarray]) -> Measured:
        """One inference with a profile, where the device can give one."""
        self._load(sample)
        if self._emulated is None:
            cycles = self.client.run()
            return Measured(self._outputs(), self._profile_of_twin(sample), cycles)
        self._emulated.clear_profile()
        _, cycles = self.client.profile()
        profile = self._emulated.profile(len(self._section["layers"]))
        return Measured(self._outputs(), profile, cycles)

    def _profile_of_twin(self, sample: Sequence[np.ndarray]) -> Profile | None:
        return self._twin.measure(sample).profile if self._twin else None

    def intermediate(self, sample: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Codes of every tensor a layer writes, by name; each is checked against its CRC-32."""
        tensors = [tensor for layer in self._section["layers"] for tensor in layer["outputs"]]
        self._load(sample)
        sums = self.client.trace()
        found = {}
        for index, tensor in enumerate(tensors):
            self._load(sample)
            data = self.client.dump(index)
            if zlib.crc32(data) != sums[index]:
                raise DeviceError(f"gives other codes for '{tensor['name']}' at each inference", where=self.name)
            found[tensor["name"]] = _as_array(data, tensor)
        return found

    def _load(self, sample: Sequence[np.ndarray]) -> None:
        for index, (codes, tensor) in enumerate(zip(sample, self._section["inputs"], strict=True)):
            in_memory = pack_bits(codes) if tensor.get("packed") else np.ascontiguousarray(codes)
            self.client.load(index, in_memory.tobytes())

    def _outputs(self) -> list[np.ndarray]:
        return [_as_array(self.client.read(i), tensor) for i, tensor in enumerate(self._section["outputs"])]


def open_device(
    folder: Path, *, port: str | None = None, engine: str | None = None, count: bool = False
) -> Device:
    """A device for a build directory; use it in a `with` statement.

    Args:
        folder: written by `tinygen build`.
        port: serial port of a real board; else the board's emulator.
        engine: "unicorn" runs the board in our emulator, also where the board file prefers QEMU.
        count: count instructions (emulated boards).

    Raises:
        TinygenError: not a build directory, no emulator, or no board on the port.
    """
    return Device(folder, port=port, engine=engine, count=count)


def _runtime_name(board: Board, engine: str) -> str:
    if engine == "native":
        return "host"
    kind = {"unicorn": "emulated", "qemu": "qemu", "serial": "real"}[engine]
    return f"{board.name}-{kind}"


def _as_array(data: bytes, tensor: dict[str, Any]) -> np.ndarray:
    if tensor.get("packed"):
        words = np.frombuffer(data, "<u4").reshape(*tensor["shape"][:-1], -1)
        return unpack_bits(words, tensor["shape"][-1])
    return np.frombuffer(data, tensor["dtype"]).reshape(tensor["shape"])
