"""The front end's C on a bare core of the emulator, hop by hop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinygen.audio.emit import emit_features
from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.targets.bare_cores import board_or_core
from tinygen.targets.emulator.bare import BareCore
from tinygen.targets.toolchain import HostCode, build_flat, find_toolchain

_RAM, _SAMPLES, _FRAME = 0x24000000, 0x24008000, 0x24010000


class CoreFrontend:
    """Built for the core of `board`, which is a board's name or a bare core's.

    Attributes:
        instructions: of each hop so far that gave a frame.
    """

    def __init__(self, board: str, config: MicroFrontendConfig, folder: Path, toolchain: str | None = None) -> None:
        self.config, self.instructions = config, list[int]()
        target = board_or_core(board)
        code = HostCode(folder, tuple(emit_features(config, None, folder)), include_dirs=(".",))
        entries = ["features_init", "features_hop", "features_raw"]
        elf = build_flat(code, folder / "features.elf", find_toolchain(toolchain, target), entries=entries)
        self._core = BareCore(elf, target.core)
        for address in (_RAM, _SAMPLES, _FRAME):
            self._core.map(f"memory at {address:#x}", address, 0x4000)
        self._core.write(_RAM, b"\xa5" * 0x4000)
        self._core.call("features_init", _RAM)

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Frames of whole hops of samples, uint16 [frames, channels]."""
        hop, size = self.config.hop_samples, 2 * self.config.channels
        frames = []
        for start in range(0, samples.size - hop + 1, hop):
            self._core.write(_SAMPLES, samples[start : start + hop].tobytes())
            before = self._core.instructions
            if self._core.call("features_hop", _RAM, _SAMPLES, _FRAME) & 0xFF:
                self.instructions.append(self._core.instructions - before)
                raw = self._core.read(self._core.call("features_raw", _RAM), size)
                assert raw == self._core.read(_FRAME, size)
                frames.append(np.frombuffer(raw, np.uint16))
        return np.array(frames, np.uint16)
