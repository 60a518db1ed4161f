"""What the campaign talks to: small networks on host firmware in step with its line, and on emulated boards."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tests.hil.devices import EmulatedDevice, TimedDevice, VirtualDevice
from tests.hil.listen_devices import build_listening
from tests.support.branches import gated
from tests.support.integer_layers import INT8
from tests.support.streaming_models import SMALL
from tests.support.switchable import INPUT, small_graph, small_network
from tinygen.builds.arrays import Samples
from tinygen.builds.codes import from_memory, in_memory
from tinygen.builds.manifest import Manifest, read_manifest
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.tflite import read_tflite
from tinygen.hil.client import DeviceClient
from tinygen.hil.semantics import Semantics, semantics_of
from tinygen.ir.network import Network, Switch
from tinygen.project.firmware import write_firmware_project
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import build_elf, find_toolchain
from tinygen.verbs.build import BuildOptions, build

BOARD = "f746zg"
LINE = Path(__file__).with_name("virtual_line.h")
Outputs = list[np.ndarray]


def _single(name: str) -> Network:
    graph = {
        "plain": lambda: small_graph("plain", INT8, INPUT),
        "streaming": lambda: read_tflite(SMALL["accumulator"](), name="streaming"),
        "branching": lambda: gated("branching"),
    }[name]()
    return Network(name, (Switch("", graph),))


NETWORKS: dict[str, Callable[[], Network]] = {
    "plain": lambda: _single("plain"),
    "streaming": lambda: _single("streaming"),
    "switchable": lambda: small_network("switchable"),
    "branching": lambda: _single("branching"),
}


@dataclass(frozen=True, eq=False)
class Rig:
    """A build of one of `NETWORKS`, and how a board with it is made.

    Attributes:
        folder: the build; elf: what its boards run, `start` made into one.
        semantics: by switch; one of None where the network has none.
    """

    name: str
    folder: Path
    elf: Path
    start: Callable[[Path], TimedDevice]
    manifest: Manifest
    semantics: dict[str | None, Semantics] = field(default_factory=dict)

    @property
    def switches(self) -> list[str | None]:
        return list(self.semantics)

    def draw(self, seed: random.Random, count: int) -> Samples:
        """Inputs; of the streaming network perhaps several streams."""
        rng = np.random.default_rng(seed.getrandbits(32))
        shapes = [(count, *tensor.shape) for tensor in self.manifest.section(self.switches[0]).inputs]
        if self.name == "streaming":  # small steps about its zero point, 3: its sums do not saturate
            resets = frozenset({seed.randrange(1, count)}) if seed.random() < 0.5 else frozenset()
            return Samples(tuple(rng.integers(-1, 8, shape).astype(np.int8) for shape in shapes), None, resets)
        low = rng.integers(-128, 40, (count, 1, 1, 1, 1))  # light and dark ones, so that all branches are taken
        return Samples(tuple((low + rng.integers(0, 90, shape)).clip(-128, 127).astype(np.int8) for shape in shapes))

    def right(self, switch: str | None, samples: Samples) -> list[Outputs]:
        """What the model gives."""
        semantics, found = self.semantics[switch], []
        for index in range(len(samples)):
            if samples.begins(index):
                semantics.reset()
            found.append(semantics.outputs(samples.sample(index)))
        return found


class Rigs:
    """All that a campaign needs, each made when it is first asked for.

    Args:
        folder: for builds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.on_host, self.emulated = cache(self._on_host), cache(self._emulated)
        self.listening = cache(lambda: build_listening("host", folder / "listen", virtual=True))

    def _build(self, name: str, board: str) -> Path:
        options = BuildOptions(board=board)
        return build(MemoryModel(NETWORKS[name](), name), self.folder / board / name, options, profile=False).folder

    def _rig(self, name: str, folder: Path, elf: Path, start: Callable[[Path], TimedDevice]) -> Rig:
        manifest = read_manifest(folder)
        names: Sequence[str | None] = manifest.switch_names or [None]
        return Rig(name, folder, elf, start, manifest, {switch: semantics_of(folder, switch) for switch in names})

    def _on_host(self, name: str) -> Rig:
        """Of the very sources of the build, but for the driver of the line."""
        folder, virtual = self._build(name, "host"), self.folder / "virtual" / name
        shutil.copytree(folder, virtual)
        project = write_firmware_project(load_board("host"), virtual)
        driver = virtual / "firmware/host/board.c"
        driver.write_text(LINE.read_text(encoding="utf-8") + driver.read_text(encoding="utf-8"), encoding="utf-8")
        elf = build_elf(project, find_toolchain(None, load_board("host"))).elf
        return self._rig(name, folder, elf, VirtualDevice)

    def _emulated(self, name: str) -> Rig:
        folder = self._build(name, BOARD)
        return self._rig(name, folder, folder / "firmware.elf", lambda elf: EmulatedDevice(BOARD, elf))


def with_a_flipped_bit(elf: Path, seed: random.Random, folder: Path) -> Path:
    """A copy whose weights differ in one bit, under the same build id: what a worn flash would have."""
    places = weights_in(elf)
    at = seed.choice([place for start, size in places for place in range(start, start + size)])
    data = bytearray(elf.read_bytes())
    data[at] ^= 1 << seed.randrange(8)
    other = folder / "flipped.elf"
    other.write_bytes(data)
    other.chmod(0o755)
    return other


@cache
def weights_in(elf: Path) -> tuple[tuple[int, int], ...]:
    """Where weights lie in the file: offset and size of each array."""
    with elf.open("rb") as file:
        parsed = ELFFile(file)
        table = parsed.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        found = []
        for symbol in table.iter_symbols():
            if symbol["st_info"]["type"] == "STT_OBJECT" and "weights" in symbol.name and symbol["st_size"]:
                section = parsed.get_section(symbol["st_shndx"])
                found.append((symbol["st_value"] - section["sh_addr"] + section["sh_offset"], symbol["st_size"]))
    assert found, f"{elf} has no weights"
    return tuple(sorted(found))


def truth(rig: Rig, elf: Path, switch: str | None, samples: Samples) -> list[Outputs]:
    """What a board with this program gives over a line without faults."""
    device = rig.start(elf)
    try:
        client = DeviceClient(device, 20.0, lambda: device.now, nonce=0)
        client.info()
        part = rig.manifest.section(switch)
        if switch is not None:
            client.set_switch(rig.manifest.switch_index(switch))
        found = []
        for index in range(len(samples)):
            sample = zip(samples.sample(index), part.inputs, strict=True)
            outputs = client.infer([in_memory(codes, entry) for codes, entry in sample]).outputs
            found.append([from_memory(data, entry) for data, entry in zip(outputs, part.outputs, strict=True)])
        return found
    finally:
        device.close()
