"""The register models of microphones: what the reference manuals forbid, rates, and what is lost."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.targets.test_emulator_registers import Bus
from tinygen.errors import BoardError
from tinygen.targets.board_file import read_board
from tinygen.targets.boards import load_board
from tinygen.targets.emulator.esp32 import System
from tinygen.targets.emulator.peripheral import Forbidden
from tinygen.targets.emulator.sound import LINE, DmaMemory, MicrophoneLine, Sound, SoundDma

RCC, SPI2, DMA1, GPIOB = 0x40023800, 0x40003800, 0x40026000, 0x40020400
RCC_CR, PLLI2SCFGR, AHB1ENR, APB1ENR = RCC, RCC + 0x84, RCC + 0x30, RCC + 0x40
CR2, I2SCFGR, I2SPR = SPI2 + 0x04, SPI2 + 0x1C, SPI2 + 0x20
LISR, LIFCR, S3CR, S3NDTR, S3PAR, S3M0AR = (DMA1 + at for at in (0x00, 0x08, 0x58, 0x5C, 0x60, 0x64))
PLLI2SON, I2SE = 1 << 26, 1 << 10
RECEIVES, STREAM = 0xB03, 2 << 16 | 1 << 13 | 1 << 11 | 1 << 10 | 1 << 8
HALF, COMPLETE = 1 << 26, 1 << 27
BUFFER, FRAMES = 0x20000000, 160


class Ram:
    """Memory of the test."""

    def __init__(self) -> None:
        self.bytes = bytearray(0x4000)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.bytes[address - BUFFER : address - BUFFER + size])

    def write(self, address: int, data: bytes) -> None:
        self.bytes[address - BUFFER : address - BUFFER + len(data)] = data


class F746(Bus):
    """At full speed, with a microphone."""

    def __init__(self) -> None:
        super().__init__("f746zg")
        self.full_speed()
        self.dma = next(p for p in self.peripherals if isinstance(p, SoundDma))
        self.ram = Ram()
        self.dma.memory.memories = self.ram  # type: ignore[assignment]
        self.dma.skip = self.skip
        self.set(AHB1ENR, 1 << 21 | 1 << 1)
        self.set(APB1ENR, 1 << 14)

    def skip(self, cycles: int) -> None:
        self.now += cycles

    def pins(self) -> None:
        """PB10, PB12 and PB15 to function 5."""
        self.set(GPIOB, 2 << 20 | 2 << 24 | 2 << 30)
        self.write(GPIOB + 0x24, 5 << 8 | 5 << 16 | 5 << 28)

    def clock(self, n: int = 128, r: int = 2) -> None:
        self.write(PLLI2SCFGR, n << 6 | r << 28)
        self.set(RCC_CR, PLLI2SON)
        self.now += 50_000

    def port(self, config: int = RECEIVES, prescaler: int = 62 | 1 << 8) -> None:
        self.write(I2SCFGR, config)
        self.write(I2SPR, prescaler)
        self.write(CR2, 1)

    def stream(self, control: int = STREAM, count: int = 8 * FRAMES, peripheral: int = SPI2 + 0xC) -> None:
        self.write(S3PAR, peripheral)
        self.write(S3M0AR, BUFFER)
        self.write(S3NDTR, count)
        self.write(S3CR, control)
        self.set(S3CR, 1)

    def go(self) -> None:
        self.pins()
        self.clock()
        self.port()
        self.stream()
        self.enable()

    def enable(self) -> None:
        self.set(I2SCFGR, I2SE)

    def frames(self, count: int) -> None:
        """So many more, and half a cycle for the edge."""
        self.now += -(-216_000_000 * count // 16_000)


FORBIDDEN: dict[str, tuple[list[Callable[[F746], None]], str]] = {
    "port without clock": ([lambda b: b.write(APB1ENR, 0), F746.port], "its clock is off in RCC"),
    "DMA without clock": ([lambda b: b.write(AHB1ENR, 0), lambda b: b.stream()], "its clock is off in RCC"),
    "PLL changed while on": ([F746.clock, lambda b: b.write(PLLI2SCFGR, 130 << 6 | 2 << 28)], "while PLLI2S is on"),
    "PLL factor": ([lambda b: b.clock(r=1)], "PLLI2SR 1 not 2 to 7"),
    "PLL range": ([lambda b: b.clock(n=300)], "VCO 600000000 Hz"),
    "PLL output": ([lambda b: b.clock(n=200, r=2)], "200000000 Hz, at most 192000000"),
    "not ready": ([F746.pins, F746.port, F746.enable], "before PLLI2S is ready"),
    "pins": ([F746.clock, F746.port, F746.enable], "not in their function"),
    "16 bits": ([F746.pins, F746.clock, lambda b: b.port(0xB00), F746.enable], "24 bits in slots of 32"),
    "slave": ([F746.pins, F746.clock, lambda b: b.port(0x903), F746.enable], "to a master"),
    "slave of a master that sends": (
        [F746.pins, lambda b: b.dma.line.feed(np.ones(9, np.int16)), lambda b: b.port(0x900), F746.enable],
        "in the middle of a frame",
    ),
    "slave's pins": ([lambda b: b.port(0x900), F746.enable], "not in their function"),
    "rate": ([F746.pins, F746.clock, lambda b: b.port(prescaler=62), F746.enable], "16129.0 frames"),
    "prescaler": ([F746.pins, F746.clock, lambda b: b.port(prescaler=1), F746.enable], "at least 2"),
    "port changed while on": ([F746.go, lambda b: b.write(I2SPR, 63)], "while I2SE is set"),
    "format changed while on": ([F746.go, lambda b: b.write(I2SCFGR, 0xF01)], "while I2SE is set"),
    "stream changed while on": ([F746.go, lambda b: b.write(S3NDTR, 8)], "while the stream is on"),
    "channel": ([lambda b: b.stream(STREAM | 1 << 25)], "SPI2_RX is channel 0"),
    "words": ([lambda b: b.stream(STREAM ^ (3 << 13))], "halfwords"),
    "place": ([lambda b: b.stream(peripheral=SPI2)], "SPI2_DR is 0x4000380c"),
    "half a frame": ([lambda b: b.stream(count=8 * FRAMES + 4)], "whole frames"),
    "other stream": ([lambda b: b.write(DMA1 + 0x10, 1)], "only stream 3"),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_is_forbidden(name: str) -> None:
    steps, words = FORBIDDEN[name]
    board = F746()
    for step in steps[:-1]:
        step(board)
    with pytest.raises(Forbidden, match=words):
        steps[-1](board)


def test_flags_must_be_cleared_before_the_stream_is_on_again() -> None:
    board = F746()
    board.go()
    board.frames(FRAMES)
    assert board.read(LISR) == HALF
    board.write(I2SCFGR, RECEIVES)
    board.write(S3CR, STREAM)
    with pytest.raises(Forbidden, match="flags of an earlier transfer"):
        board.set(S3CR, 1)
    board.write(LIFCR, HALF)
    board.set(S3CR, 1)


def test_frames_come_at_the_rate_of_the_clocks() -> None:
    board = F746()
    sound = np.arange(-500, 500, dtype=np.int16)
    board.dma.line.sound.feed(sound)
    board.go()
    board.frames(FRAMES - 1)
    assert not board.read(LISR) and board.read(S3NDTR) == 8 * FRAMES - 4 * (FRAMES - 1)
    board.frames(1)
    assert board.read(LISR) == HALF
    # Left: the code in the upper 24 bits, a quarter of what the firmware makes of it; right: nothing.
    frames = np.frombuffer(board.ram.read(BUFFER, 8 * FRAMES), "<u2").reshape(FRAMES, 4)
    words = (frames[:, 0].astype(np.uint32) << 16 | frames[:, 1]).astype(np.int32)
    assert (words >> 14 == sound[:FRAMES]).all() and not (words & 0xFF).any() and not frames[:, 2:].any()
    board.write(LIFCR, HALF)
    board.frames(FRAMES)
    assert board.read(LISR) == COMPLETE


def test_a_port_that_nobody_serves_overruns() -> None:
    board = F746()
    board.pins()
    board.clock()
    board.port()
    board.set(I2SCFGR, I2SE)
    board.frames(3)
    assert board.read(SPI2 + 0x08) & 1 << 6
    assert not board.read(SPI2 + 0x08) & 1 << 6


def test_a_reset_ends_everything() -> None:
    board = F746()
    board.go()
    board.frames(3)
    board.write(RCC + 0x20, 1 << 14)
    board.write(RCC + 0x20, 0)
    assert board.read(I2SCFGR) == 0 and board.read(I2SPR) == 2 and not board.dma.line.running
    assert board.read(S3NDTR) == 8 * FRAMES - 12


def test_time_passes_while_the_firmware_only_waits() -> None:
    board = F746()
    board.go()
    begin = board.now
    looks = 0
    while not board.read(LISR):
        board.now += 20
        looks += 1
    assert looks <= 3 and board.now - begin == pytest.approx(2_160_000, abs=100)


def test_behind_a_data_cache_nothing_is_seen_before_the_line_is_discarded() -> None:
    ram = Ram()
    memory = DmaMemory(lambda address: address >= BUFFER + LINE, ram)  # type: ignore[arg-type]
    memory.write(BUFFER + LINE - 4, bytes(range(1, 9)))
    assert ram.read(BUFFER + LINE - 4, 8) == bytes([1, 2, 3, 4, 0, 0, 0, 0])
    memory.discard(BUFFER + LINE + 12)
    assert ram.read(BUFFER + LINE - 4, 8) == bytes(range(1, 9))


def test_sound_ends_in_silence() -> None:
    line = MicrophoneLine(Sound(), 0, lambda: now)
    line.sound.feed(np.array([5, -5], np.int16))
    now = 0
    line.start(Fraction(27, 2))
    now = 14
    assert line.due() == 1 and line.cycles_until(2) == 13
    assert (line.take(3).astype(np.int32) >> 16).tolist() == [5, -5, 0] and line.sound.left == 0


def test_another_boards_sound_ends_with_its_clock() -> None:
    line = MicrophoneLine(Sound(), 3, lambda: now)
    now = 0
    line.start(Fraction(10), follows=True)
    now = 1000
    assert not line.running and line.due() == 0
    line.feed(np.array([5, -5, 7], np.int16))
    assert line.running and line.due() == 0 and (line.cycles_until(3), line.cycles_until(4)) == (30, 0)
    now = 1100
    assert line.due() == 3
    assert (line.take(3).astype(np.int32) >> 16).tolist() == [5, -5, 7] and not line.running


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("divider: 125", "divider: 124"), "the settings give 16129.0 frames of 64 bits a second, not 16000"),
        (("kind: i2s", "kind: pdm"), "'pdm' is unknown"),
        (("pll_r: 2", "pll_r: 9"), "out of range"),
        (("gain_bits: 2", "gain: 2"), "the key is unknown"),
        (("ck: PB10", "ck: 10"), "ck"),
    ],
)
def test_board_files(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    text = load_board("f746zg").path.read_text(encoding="utf-8")
    assert change[0] in text
    path = tmp_path / "board.yaml"
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(BoardError) as caught:
        read_board(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["f746zg", "f767zi", "esp32c3"])
def test_rates_of_boards_are_exact(name: str) -> None:
    board = load_board(name)
    assert board.microphone is not None
    assert board.microphone.rate_hz(board.clock) == board.microphone.sample_rate_hz == 16_000


CLK_EN0, CLK_EN1, RST_EN1, I2S, GDMA = 0x600C0010, 0x600C0014, 0x600C001C, 0x6002D000, 0x6003F000
GPIO, IO_MUX, DESCRIPTOR = 0x60004000, 0x60009000, 0x3FC80000


class Words:
    """Memory of the test: one descriptor that points to itself."""

    def __init__(self) -> None:
        self.words = {DESCRIPTOR: 1 << 31 | 64, DESCRIPTOR + 4: 0x3FC90000, DESCRIPTOR + 8: DESCRIPTOR}
        self.written: list[tuple[int, bytes]] = []

    def read(self, address: int, size: int) -> bytes:
        return self.words[address].to_bytes(size, "little")

    def write(self, address: int, data: bytes) -> None:
        self.written.append((address, data))
        if address in self.words:
            self.words[address] = int.from_bytes(data, "little")


class C3(Bus):
    """With a microphone, everything set as it should be."""

    def __init__(self) -> None:
        super().__init__("esp32c3")
        next(p for p in self.peripherals if isinstance(p, System)).pll = None  # it runs
        self.write(0x600C0008, 1 << 2 | 1)
        self.write(0x600C0058, 1 << 10)
        self.dma = next(p for p in self.peripherals if isinstance(p, SoundDma))
        self.words = Words()
        self.dma.memory.memories = self.words  # type: ignore[assignment]
        settings = {
            CLK_EN0: 1 << 21,
            CLK_EN1: 1 << 6,
            RST_EN1: 0,
            GPIO + 0x554: 16,
            GPIO + 0x558: 17,
            GPIO + 0x24: 3,
            GPIO + 0x190: 1 << 6 | 10,
            I2S + 0x20: 1 << 19 | 1 << 15 | 1 << 12 | 1 << 9 | 1 << 5,
            I2S + 0x28: 31 | 3 << 7 | 31 << 13 | 31 << 18 | 31 << 24 | 1 << 29,
            I2S + 0x34: 1 << 29,
            I2S + 0x38: 1 | 15 << 18,
            I2S + 0x30: 1 << 26 | 2 << 27 | 39,
            I2S + 0x50: 1 << 16 | 1,
            GDMA + 0xA0: 3,
            GDMA + 0x74: 1 << 12,
        }
        for address, value in settings.items():
            self.write(address, value)
        for pin in (0, 1, 10):
            self.write(IO_MUX + 4 + 4 * pin, 1 << 12 | 1 << 9)

    def start(self) -> None:
        self.write(GDMA + 0x80, 1 << 22 | DESCRIPTOR & 0xFFFFF)
        self.set(I2S + 0x20, 1 << 2)


C3_FORBIDDEN = {
    "clock": (CLK_EN0, 0, "its clock is off"),
    "DMA in reset": (RST_EN1, 1 << 6, "its clock is off"),
    "format": (I2S + 0x28, 31, "slots of 32 bits in Philips"),
    "both channels": (I2S + 0x50, 1 << 16 | 3, "of which the left is taken"),
    "no source": (I2S + 0x30, 39 | 2 << 27, "there is no clock"),
    "rate": (I2S + 0x30, 1 << 26 | 2 << 27 | 38, "frames a second, the board file says 16000"),
    "bit clock's pin": (GPIO + 0x554, 17, "does not bring its signals"),
    "input": (IO_MUX + 44, 1 << 12, "does not bring its signals"),
    "peripheral": (GDMA + 0xA0, 4, "I2S0 is peripheral 3"),
    "owner": (GDMA + 0x74, 0, "IN_CHECK_OWNER"),
}


@pytest.mark.parametrize("name", C3_FORBIDDEN)
def test_what_is_forbidden_on_esp32c3(name: str) -> None:
    address, value, words = C3_FORBIDDEN[name]
    board = C3()
    board.write(address, value)
    with pytest.raises(Forbidden, match=words):
        board.start()


def test_a_descriptor_that_is_not_given_back_stops_the_dma() -> None:
    board = C3()
    board.dma.line.sound.feed(np.arange(1, 40, dtype=np.int16))
    board.start()
    board.now += 15 * 10_000
    assert board.read(GDMA) == 0
    board.now += 10_000
    # Full: bits 12 to 23 say how much, bit 31 whose it is; the next, itself, is not GDMA's.
    assert board.read(GDMA) == 1 << 0 | 1 << 1 | 1 << 5
    assert board.words.words[DESCRIPTOR] == 64 | 64 << 12 | 1 << 30
    codes = b"".join(data for address, data in board.words.written if address >= 0x3FC90000)
    assert (np.frombuffer(codes, "<i4") >> 14).tolist() == list(range(1, 17))
    board.words.written.clear()
    board.now += 50_000
    assert board.read(GDMA) == 1 << 0 | 1 << 1 | 1 << 5
    assert not board.words.written and board.dma.line.sound.left == 39 - 21
