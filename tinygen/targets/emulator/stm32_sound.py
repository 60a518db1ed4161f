"""I2S ports and DMA controllers of STM32F4 and F7, as far as sound needs them: SPI2 as a receiving master of a
microphone or as another board's slave, and DMA 1, which takes what it receives (RM0385 chapters 8 and 32)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from tinygen.errors import BoardError
from tinygen.targets.board import Board, Microphone
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.sound import LINE, DmaMemory, MicrophoneLine, Sound, SoundDma, Waits, check_rate
from tinygen.targets.emulator.stm32 import Gpio, Rcc

DMA1_BASE = 0x40026000
_CR2, _SR, _DR, _CFGR, _PR = 0x04, 0x08, 0x0C, 0x1C, 0x20
_I2SE, _RXDMAEN = 1 << 10, 1 << 0
_PHILIPS_MASTER_RECEIVES_24_IN_32 = 1 << 11 | 3 << 8 | 1 << 1 | 1 << 0
_PHILIPS_SLAVE_RECEIVES_16 = 1 << 11 | 1 << 8
_OVR = 1 << 6
_RESET_VALUES = {_SR: 2, _PR: 2}
_LISR, _LIFCR = 0x00, 0x08
_STREAM3, _SIZE = 0x58, 0x18
_STREAM_CR, _NDTR, _PAR, _M0AR = 0x58, 0x5C, 0x60, 0x64
_FLAGS, _HALF, _COMPLETE = 0x3D << 22, 1 << 26, 1 << 27
_WANTED = 1 << 13 | 1 << 11 | 1 << 10 | 1 << 8
"""Halfwords at both ends, memory counts up, circular; from the peripheral, channel 0."""
_FIXED = 7 << 25 | 1 << 18 | 3 << 13 | 3 << 11 | 1 << 10 | 1 << 9 | 1 << 8 | 3 << 6 | 1 << 5


@dataclass
class I2sPort(Peripheral):
    """SPI2 as I2S2.

    Attributes:
        microphone: of the board.
        line: what is at its pins.
        source_hz: what feeds it; 0 while that is not ready.
        core_hz: what the core runs at.
        pins_ready: whether its pins are switched to it.
        before, after: called before an access, and when the port was switched on or off.
    """

    microphone: Microphone = field(kw_only=True)
    line: MicrophoneLine = field(kw_only=True)
    source_hz: Callable[[], Fraction] = lambda: Fraction(0)
    core_hz: Callable[[], int] = lambda: 0
    pins_ready: Callable[[], bool] = lambda: True
    before: Callable[[], None] = lambda: None
    registers: dict[int, int] = field(default_factory=lambda: dict(_RESET_VALUES))
    overrun: bool = False

    def read(self, offset: int) -> int:
        self.before()
        if offset == _SR:
            value = super().read(_SR) | _OVR * self.overrun
            self.overrun = False  # 32.7: by reading DR, which the firmware did or will do, and then SR
            return value
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        self.before()
        on = bool(self.registers.get(_CFGR, 0) & _I2SE)
        if offset == _CFGR and on and value & _I2SE and value != self.registers[_CFGR]:
            raise Forbidden("SPI2_I2SCFGR", value, "changed while I2SE is set (RM0385 32.9.8)")
        if offset == _PR and on:
            raise Forbidden("SPI2_I2SPR", value, "changed while I2SE is set (RM0385 32.9.9)")
        super().write(offset, value)
        if offset == _CFGR and bool(value & _I2SE) != on:
            if value & ~_I2SE == _PHILIPS_SLAVE_RECEIVES_16:
                self._follow(bool(value & _I2SE))
            elif value & _I2SE:
                self.line.start(self._cycles_per_frame(value))
            else:
                self.line.stop()

    def _follow(self, on: bool) -> None:
        """Starts or stops following the clock of another board."""
        self._check_pins()
        if not on:
            self.line.stop()
            return
        if self.line.sound.left:
            rule = "I2SE is set while the master sends: a slave may begin in the middle of a frame (RM0385 32.7)"
            raise Forbidden("SPI2_I2SCFGR", _PHILIPS_SLAVE_RECEIVES_16, rule)
        self.line.start(Fraction(self.core_hz(), self.microphone.sample_rate_hz), follows=True)

    @property
    def halfwords(self) -> int:
        """Number of halfwords in a frame, left and right; of samples with two, the upper one comes first."""
        follows = self.registers.get(_CFGR, 0) & ~_I2SE == _PHILIPS_SLAVE_RECEIVES_16
        return 2 if follows else 4

    def reset(self) -> None:
        """By its bit in RCC."""
        self.before()
        self.registers.clear()
        self.registers.update(_RESET_VALUES)
        self.overrun = False
        self.line.stop()

    def wants_dma(self) -> bool:
        """Whether it asks for each halfword to be taken."""
        return bool(self.registers.get(_CR2, 0) & _RXDMAEN)

    def _cycles_per_frame(self, config: int) -> Fraction:
        if config & ~_I2SE != _PHILIPS_MASTER_RECEIVES_24_IN_32:
            rule = "the microphone sends 24 bits in slots of 32 to a master, in Philips' format (RM0385 32.9.8)"
            raise Forbidden("SPI2_I2SCFGR", config, rule)
        self._check_pins()
        source = self.source_hz()
        if not source:
            raise Forbidden("SPI2_I2SCFGR", config, "I2SE is set before PLLI2S is ready (RM0385 32.7)")
        prescaler = self.registers.get(_PR, 0)
        whole, odd = prescaler & 0xFF, prescaler >> 8 & 1
        if whole < 2 or prescaler & 1 << 9:
            rule = "I2SDIV is at least 2, and nothing is wired to MCK (RM0385 32.9.9)"
            raise Forbidden("SPI2_I2SPR", prescaler, rule)
        rate = source / (64 * (2 * whole + odd))
        check_rate("SPI2_I2SPR", prescaler, rate, self.microphone)
        return self.core_hz() / rate

    def _check_pins(self) -> None:
        if not self.pins_ready():
            raise Forbidden("GPIO_AFR", 0, f"{self.name} is switched on, but its pins are not in their function")


@dataclass
class Dma(SoundDma):
    """DMA 1, of which stream 3 serves the microphone's port.

    Attributes:
        port: it serves.
    """

    port: I2sPort = field(kw_only=True)
    _flags: int = field(default=0, init=False)
    _at: int = field(default=0, init=False)
    _total: int = field(default=0, init=False)
    _waits: Waits = field(default_factory=Waits, init=False)

    def __post_init__(self) -> None:
        self._waits.clock, self.line = self.clock, self.port.line
        self.port.before = self.advance

    def read(self, offset: int) -> int:
        self.advance()
        if offset == _LISR:
            if self._flags & (_HALF | _COMPLETE):
                self._waits.sees()
            elif self._waits.looks() and self._total:
                self.skip(self.port.line.cycles_until(self._next_stop()))
                self.advance()
            return self._flags
        if offset == _NDTR:
            return self._total - self._at
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        self.advance()
        if offset == _LIFCR:
            self._flags &= ~value
            return
        if _STREAM3 <= offset < _STREAM3 + _SIZE:
            self._write_stream(offset, value)
            return
        if offset >= 0x10:
            raise Forbidden(f"DMA1+{offset:#x}", value, "only stream 3 has something to do on this board")
        super().write(offset, value)

    def _write_stream(self, offset: int, value: int) -> None:
        on = bool(self.registers.get(_STREAM_CR, 0) & 1)
        if on and (offset != _STREAM_CR or value & 1):
            if value != self.registers.get(offset, 0):
                raise Forbidden(f"DMA1+{offset:#x}", value, "changed while the stream is on (RM0385 8.5.5 to 8.5.10)")
            return
        super().write(offset, value)
        if offset == _STREAM_CR and value & 1 and not on:
            self._begin(value)
        elif offset == _STREAM_CR and not value & 1:
            self._total = 0

    def _begin(self, control: int) -> None:
        count, memory = self.registers.get(_NDTR, 0), self.registers.get(_M0AR, 0)
        peripheral = self.registers.get(_PAR, 0)
        if self._flags & _FLAGS:
            rule = "the stream is switched on while flags of an earlier transfer stand (RM0385 8.3)"
            raise Forbidden("DMA1_LISR", self._flags, rule)
        if control & _FIXED != _WANTED:
            rule = "SPI2_RX is channel 0 (RM0385 8.3.3); halfwords, memory counts up, circular"
            raise Forbidden("DMA1_S3CR", control, rule)
        if peripheral != self.port.base + _DR:
            rule = f"nothing asks for a transfer there; SPI2_DR is {self.port.base + _DR:#x}"
            raise Forbidden("DMA1_S3PAR", peripheral, rule)
        if not 0 < count <= 0xFFFF or count % (2 * self.port.halfwords):
            raise Forbidden("DMA1_S3NDTR", count, "halves of the buffer that do not hold whole frames")
        if self.memory.cached(memory) and (memory % LINE or count % LINE):
            rule = f"halves that share lines of {LINE} bytes of the data cache with something else"
            raise Forbidden("DMA1_S3M0AR", memory, rule)
        self._at, self._total = 0, count

    def _next_stop(self) -> int:
        """Frames until a flag is set."""
        half = self._total // 2
        return (half - self._at % half) // self.port.halfwords

    def advance(self) -> None:
        """Stores the frames received until now."""
        due = self.port.line.due()
        if due <= 0:
            return
        if not self._total or not self.port.wants_dma():
            self.port.line.take(due)
            self.port.overrun = True
            return
        while due > 0:
            count = min(due, self._next_stop())
            self._write_frames(self.port.line.take(count))
            due -= count

    def _write_frames(self, words: np.ndarray) -> None:
        halfwords = np.zeros((len(words), self.port.halfwords), "<u2")
        halfwords[:, 0] = words >> np.uint32(16)
        if self.port.halfwords > 2:
            halfwords[:, 1] = words & np.uint32(0xFFFF)
        address = self.registers[_M0AR] + 2 * self._at
        try:
            self.memory.write(address, halfwords.tobytes())
        except BoardError as error:
            raise Forbidden("DMA1_S3M0AR", self.registers[_M0AR], f"the transfer fails: {error.what}") from error
        self._at += halfwords.size
        if self._at == self._total:
            self._at, self._flags = 0, self._flags | _COMPLETE
        elif self._at == self._total // 2:
            self._flags |= _HALF


def microphone_peripherals(
    board: Board, rcc: Rcc, ports: Sequence[Gpio], clock: Callable[[], int]
) -> tuple[Peripheral, ...]:
    """The port and the DMA controller of the board's microphone; none where it has no microphone."""
    microphone = board.microphone
    if microphone is None:
        return ()
    pins = (microphone.ck, microphone.ws, microphone.sd)
    enable = microphone.enable

    def pins_ready() -> bool:
        return all(ports[ord(pin.port) - ord("A")].alternate(pin.number) == microphone.af for pin in pins)

    port = I2sPort(
        microphone.instance,
        microphone.base,
        microphone=microphone,
        line=MicrophoneLine(Sound(), microphone.gain_bits, clock),
        source_hz=rcc.i2s_hz,
        core_hz=rcc.hclk_hz,
        pins_ready=pins_ready,
        clock_rule="RM0385 5.3.13",
        enabled=rcc.gate(enable.register, enable.bit) if enable else lambda: True,
    )
    if enable is not None:
        rcc.resets[enable.register, enable.bit] = port.reset
    dma = Dma(
        "DMA1",
        DMA1_BASE,
        port=port,
        memory=DmaMemory(),
        clock=clock,
        clock_rule="RM0385 5.3.10",
        enabled=rcc.gate("ahb1enr", 21),
    )
    return port, dma
