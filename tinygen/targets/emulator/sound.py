"""An emulated microphone's sound and its way into memory: at the rate of the board's clocks, whatever the firmware
does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from tinygen.targets.board import Microphone
from tinygen.targets.emulator.memory import Memories
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral

LINE = 32
"""Bytes in a line of a Cortex-M7's data cache (DDI 0489 5.1)."""


@dataclass
class Sound:
    """Samples one after the other; behind the last there is silence."""

    _samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16), init=False)

    def feed(self, samples: np.ndarray) -> None:
        """Appends samples."""
        self._samples = np.concatenate([self._samples, samples])

    def hear(self, count: int) -> np.ndarray:
        """The next samples [count], int16."""
        heard, self._samples = self._samples[:count], self._samples[count:]
        return np.concatenate([heard, np.zeros(count - len(heard), np.int16)])

    @property
    def left(self) -> int:
        """Number of samples not yet played."""
        return len(self._samples)


@dataclass
class MicrophoneLine:
    """A microphone with 24 bits at the left channel of a running bit clock; or another board, which is the master.

    Attributes:
        sound: what it hears, or plays.
        gain_bits: of the firmware: codes are as much smaller, so that this gives the samples again.
        clock: cycles of the core since reset.
        follows: the clock is the other board's, and runs while that plays.
    """

    sound: Sound
    gain_bits: int = 0
    clock: Callable[[], int] = lambda: 0
    follows: bool = field(default=False, init=False)
    _since: int = field(default=0, init=False)
    _given: int = field(default=0, init=False)
    _cycles_per_frame: Fraction | None = field(default=None, init=False)

    @property
    def running(self) -> bool:
        """Whether there is a bit clock."""
        return self._cycles_per_frame is not None and (not self.follows or self.sound.left > 0)

    def start(self, cycles_per_frame: Fraction, *, follows: bool = False) -> None:
        """Starts the bit clock; see `follows`."""
        self._since, self._given, self._cycles_per_frame = self.clock(), 0, cycles_per_frame
        self.follows = follows

    def feed(self, samples: np.ndarray) -> None:
        """Appends sound; another board that has finished playing starts again."""
        if self.follows and not self.sound.left:
            self._since, self._given = self.clock(), 0
        self.sound.feed(samples)

    def stop(self) -> None:
        """Stops the bit clock."""
        self._cycles_per_frame = None

    def due(self) -> int:
        """Number of finished frames that were not taken."""
        if self._cycles_per_frame is None:
            return 0
        due = int((self.clock() - self._since) / self._cycles_per_frame) - self._given
        return min(due, self.sound.left) if self.follows else due

    def take(self, count: int) -> np.ndarray:
        """Words of the left channel [count], uint32, with the code in the upper 24 bits; another board's has 16."""
        self._given += count
        gain_bits = 0 if self.follows else self.gain_bits
        return self.sound.hear(count).astype(np.int32).astype(np.uint32) << np.uint32(16 - gain_bits)

    def cycles_until(self, frames: int) -> int:
        """Until so many more frames than are taken are over; 0 where that is past, or never comes."""
        if self._cycles_per_frame is None or (self.follows and frames > self.sound.left):
            return 0
        at = self._since + (self._given + frames) * self._cycles_per_frame
        return max(-int(-at // 1) - self.clock(), 0)


@dataclass
class DmaMemory:
    """Memory as a DMA controller writes it: behind a data cache the core does not see that before it has discarded the
    line. (A real core may have dropped the line by itself; a firmware must not rely on it.)

    Attributes:
        cached: whether an address is behind a data cache that is on.
    """

    cached: Callable[[int], bool] = lambda address: False
    memories: Memories | None = None
    _unseen: dict[int, bytes] = field(default_factory=dict, init=False)

    def write(self, address: int, data: bytes) -> None:
        """Writes bytes.

        Raises:
            BoardError: there is no memory.
        """
        assert self.memories is not None
        while data:
            line = address - address % LINE
            part = data[: line + LINE - address]
            if self.cached(address):
                whole = bytearray(self._unseen.get(line) or self.memories.read(line, LINE))
                whole[address - line : address - line + len(part)] = part
                self._unseen[line] = bytes(whole)
            else:
                self.memories.write(address, part)
            address, data = address + len(part), data[len(part) :]

    def discard(self, address: int) -> None:
        """The core discards a line, and so reads it anew."""
        line = address - address % LINE
        if line in self._unseen:
            assert self.memories is not None
            self.memories.write(line, self._unseen.pop(line))


@dataclass
class Waits:
    """Detects that a firmware only polls a status register.

    Attributes:
        clock: cycles of the core since reset.
    """

    clock: Callable[[], int] = lambda: 0
    _last: int = field(default=-(10**9), init=False)

    def looks(self) -> bool:
        """To be called at each look that shows nothing: True where the last was just before."""
        now = self.clock()
        again, self._last = now - self._last < _SOON, now
        return again

    def sees(self) -> None:
        """To be called at one that shows something."""
        self._last = -(10**9)


@dataclass
class SoundDma(Peripheral):
    """A DMA controller that takes what a microphone hears.

    Attributes:
        memory: it writes to.
        line: of the microphone.
        clock: cycles of the core since reset.
        skip: lets so many cycles pass, while the firmware waits for the next block.
    """

    memory: DmaMemory = field(default_factory=DmaMemory)
    line: MicrophoneLine = field(default_factory=lambda: MicrophoneLine(Sound()))
    clock: Callable[[], int] = lambda: 0
    skip: Callable[[int], None] = lambda cycles: None

    def connect(self, memories: Memories) -> None:
        self.memory.memories = memories


_SOON = 300
"""Cycles between two looks of a firmware that does nothing else, its deadline included."""


def check_rate(register: str, value: int, rate: Fraction, microphone: Microphone) -> None:
    """Raises Forbidden where frames do not come at the rate of the board file, a tenth of a percent more or less."""
    if abs(rate - microphone.sample_rate_hz) * 1000 > microphone.sample_rate_hz:
        rule = f"{float(rate):.1f} frames a second, the board file says {microphone.sample_rate_hz}"
        raise Forbidden(register, value, rule)
