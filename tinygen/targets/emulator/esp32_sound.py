"""I2S and GDMA of an ESP32-C3, as far as a microphone needs them: I2S0 as a receiving master, channel 0 of GDMA
(i2s_reg.h and gdma_reg.h of esp-idf)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from tinygen.errors import BoardError
from tinygen.targets.board import Board, Microphone
from tinygen.targets.emulator.peripheral import Forbidden, Peripheral
from tinygen.targets.emulator.sound import DmaMemory, MicrophoneLine, Sound, SoundDma, Waits, check_rate

GDMA_BASE = 0x6003F000
_SOURCES = {0: 40_000_000, 2: 160_000_000}
_CONF, _CONF1, _CLKM, _TX_CLKM, _DIV, _TDM, _EOF = 0x20, 0x28, 0x30, 0x34, 0x38, 0x50, 0x64
_START, _UPDATE = 1 << 2, 1 << 8
_FORMAT = 1 << 19 | 1 << 15 | 1 << 12 | 1 << 9 | 1 << 5
"""TDM, left aligned, PCM bypassed, the first channel alone."""
_SLOTS = 31 | 31 << 13 | 31 << 18 | 31 << 24 | 1 << 29
_BIT_DIVIDER = 0x3F << 7
_INT_RAW, _INT_CLR, _IN_CONF0, _IN_CONF1, _IN_LINK, _PERI_SEL = 0x00, 0x0C, 0x70, 0x74, 0x80, 0xA0
_DONE, _EOF_FLAG, _DSCR_ERR = 1 << 0, 1 << 1, 1 << 5
_LINK_STOP, _LINK_START, _CHECK_OWNER = 1 << 21, 1 << 22, 1 << 12
_RAM = 0x3FC00000
"""Upper bits that GDMA adds to the 20 bits of a descriptor's address."""


@dataclass
class EspI2s(Peripheral):
    """I2S0.

    Attributes:
        microphone: of the board.
        line: what is at its pins.
        core_hz: what the core runs at.
        pins_ready: whether its signals go to its pins.
        before: called before it is switched on or off.
    """

    microphone: Microphone = field(kw_only=True)
    line: MicrophoneLine = field(kw_only=True)
    core_hz: Callable[[], int] = lambda: 0
    pins_ready: Callable[[], bool] = lambda: True
    before: Callable[[], None] = lambda: None
    registers: dict[int, int] = field(default_factory=lambda: {_CONF: 0x9600, _EOF: 0x40})

    def write(self, offset: int, value: int) -> None:
        self.before()
        on = bool(self.registers.get(_CONF, 0) & _START)
        if on and offset in (_CONF1, _CLKM, _DIV, _TDM, _EOF):
            raise Forbidden(f"I2S+{offset:#x}", value, "changed while RX_START is set")
        super().write(offset, value & ~_UPDATE if offset == _CONF else value)
        if offset == _CONF and bool(value & _START) != on:
            if value & _START:
                self.line.start(self._cycles_per_frame(value))
            else:
                self.line.stop()

    def _cycles_per_frame(self, config: int) -> Fraction:
        if config & ~(_START | _UPDATE) != _FORMAT:
            raise Forbidden("I2S_RX_CONF", config, "a master that receives the first of two slots, nothing converted")
        if self.read(_CONF1) & ~_BIT_DIVIDER != _SLOTS:
            rule = "the microphone sends slots of 32 bits in Philips' format"
            raise Forbidden("I2S_RX_CONF1", self.read(_CONF1), rule)
        if self.read(_TDM) != 1 << 16 | 1:
            raise Forbidden("I2S_RX_TDM_CTRL", self.read(_TDM), "two slots, of which the left is taken")
        if not self.pins_ready():
            rule = f"{self.name} is started, but the matrix does not bring its signals to its pins"
            raise Forbidden("GPIO_FUNC_SEL", 0, rule)
        rate = self._bit_hz() / 64
        check_rate("I2S_RX_CLKM_CONF", self.read(_CLKM), rate, self.microphone)
        return self.core_hz() / rate

    def _bit_hz(self) -> Fraction:
        clock, fraction = self.read(_CLKM), self.read(_DIV)
        source = _SOURCES.get(clock >> 27 & 3, 0)
        if not clock & 1 << 26 or not self.read(_TX_CLKM) & 1 << 29 or not source:
            raise Forbidden("I2S_RX_CLKM_CONF", clock, "RX_START is set, and there is no clock")
        x, y, z = fraction >> 18 & 0x1FF, fraction >> 9 & 0x1FF, fraction & 0x1FF
        below = Fraction(z, z * (x + 1) + y) if z else Fraction(0)
        divider = (clock & 0xFF) + (1 - below if fraction >> 27 & 1 else below)
        if divider < 2:
            raise Forbidden("I2S_RX_CLKM_CONF", clock, "the divider is at least 2")
        return source / divider / ((self.read(_CONF1) >> 7 & 0x3F) + 1)


@dataclass
class Gdma(SoundDma):
    """Channel 0, which receives from I2S0.

    Attributes:
        port: it serves.
    """

    port: EspI2s = field(kw_only=True)
    registers: dict[int, int] = field(default_factory=lambda: {_PERI_SEL: 0x3F})
    _flags: int = field(default=0, init=False)
    _descriptor: int = field(default=0, init=False)  # 0: stopped
    _full: int = field(default=0, init=False)  # bytes in its buffer
    _waits: Waits = field(default_factory=Waits, init=False)

    def __post_init__(self) -> None:
        self._waits.clock, self.line = self.clock, self.port.line
        self.port.before = self.advance

    def read(self, offset: int) -> int:
        self.advance()
        if offset != _INT_RAW:
            return super().read(offset)
        if self._waits.looks() and self._descriptor:
            self.skip(self.line.cycles_until(self._frames_left()))
            self.advance()
            self._waits.sees()
        return self._flags

    def write(self, offset: int, value: int) -> None:
        self.advance()
        if offset == _INT_CLR:
            self._flags &= ~value
            return
        if offset == _IN_CONF0 and value & 1:
            self._descriptor = 0
        if offset == _IN_LINK:
            if value & _LINK_STOP:
                self._descriptor = 0
            if value & _LINK_START:
                self._begin(value)
            value &= ~(_LINK_STOP | _LINK_START)
        super().write(offset, value)

    def _begin(self, link: int) -> None:
        if self.registers[_PERI_SEL] != 3:
            raise Forbidden("GDMA_IN_PERI_SEL_CH0", self.registers[_PERI_SEL], "I2S0 is peripheral 3 (gdma_channel.h)")
        if not self.registers.get(_IN_CONF1, 0) & _CHECK_OWNER:
            rule = "without IN_CHECK_OWNER what was not read is written over, and nobody is told"
            raise Forbidden("GDMA_IN_CONF1_CH0", self.registers.get(_IN_CONF1, 0), rule)
        self._flags &= ~(_DONE | _EOF_FLAG)
        self._enter(_RAM | link & 0xFFFFF)

    def _word(self, address: int) -> int:
        assert self.memory.memories is not None
        try:
            return int.from_bytes(self.memory.memories.read(address, 4), "little")
        except BoardError as error:
            raise Forbidden("GDMA_IN_LINK_CH0", address, f"no descriptor: {error.what}") from error

    def _enter(self, descriptor: int) -> None:
        """Continues with a descriptor, or stops if the core owns it."""
        self._descriptor, self._full = descriptor, 0
        control = self._word(descriptor)
        size = control & 0xFFF
        if not control >> 31:
            self._descriptor, self._flags = 0, self._flags | _DSCR_ERR
        elif descriptor % 4 or not size or size % 4:
            raise Forbidden("GDMA_IN_LINK_CH0", descriptor, f"descriptor with a buffer of {size} bytes (gdma_reg.h)")

    def _frames_left(self) -> int:
        return ((self._word(self._descriptor) & 0xFFF) - self._full) // 4

    def advance(self) -> None:
        """Stores the frames received until now; frames without a buffer are lost."""
        due = self.line.due()
        while due > 0 and self._descriptor:
            count = min(due, self._frames_left())
            words = self.line.take(count).astype("<u4").tobytes()
            try:
                self.memory.write(self._word(self._descriptor + 4) + self._full, words)
            except BoardError as error:
                raise Forbidden("GDMA_IN_LINK_CH0", self._descriptor, f"the transfer fails: {error.what}") from error
            self._full, due = self._full + len(words), due - count
            if not self._frames_left():
                self._finish()
        if due > 0:
            self.line.take(due)

    def _finish(self) -> None:
        """Writes back that the buffer is full and belongs to the core: length, suc_eof, owner (dma_types.h)."""
        control = self._word(self._descriptor) & 0xFFF
        self.memory.write(self._descriptor, (control | control << 12 | 1 << 30).to_bytes(4, "little"))
        self._flags |= _DONE | _EOF_FLAG
        self._enter(self._word(self._descriptor + 8))


def microphone_peripherals(
    board: Board,
    system: Peripheral,
    gpio: Peripheral,
    mux: Peripheral,
    core_hz: Callable[[], int],
    clock: Callable[[], int],
) -> tuple[Peripheral, ...]:
    """The port and the DMA controller of the board's microphone; none where it has no microphone."""
    microphone = board.microphone
    if microphone is None:
        return ()
    ck, ws, sd = microphone.ck.number, microphone.ws.number, microphone.sd.number

    def goes_out(pin: int, signal: int) -> bool:
        ours = mux.read(4 + 4 * pin) >> 12 & 7 == 1 and gpio.read(0x554 + 4 * pin) & 0xFF == signal
        return ours and bool(gpio.read(0x20) >> pin & 1)

    def pins_ready() -> bool:
        # gpio_sig_map.h: I2SI_BCK_OUT 16, I2SI_WS_OUT 17, I2SI_SD_IN 15
        comes_in = gpio.read(0x154 + 4 * 15) & 0x5F == 1 << 6 | sd and bool(mux.read(4 + 4 * sd) >> 9 & 1)
        return goes_out(ck, 16) and goes_out(ws, 17) and comes_in

    def on(register: int, reset: int, bit: int) -> Callable[[], bool]:
        return lambda: bool(system.read(register) >> bit & 1) and not system.read(reset) >> bit & 1

    port = EspI2s(
        microphone.instance,
        microphone.base,
        0x1000,
        microphone=microphone,
        line=MicrophoneLine(Sound(), microphone.gain_bits, clock),
        core_hz=core_hz,
        pins_ready=pins_ready,
        enabled=on(0x10, 0x18, 21),
        clock_rule="system_reg.h, SYSTEM_PERIP_CLK_EN0 and RST_EN0",
    )
    dma = Gdma(
        "GDMA",
        GDMA_BASE,
        0x1000,
        port=port,
        memory=DmaMemory(),
        clock=clock,
        enabled=on(0x14, 0x1C, 6),
        clock_rule="system_reg.h, SYSTEM_PERIP_CLK_EN1 and RST_EN1",
    )
    return port, dma
