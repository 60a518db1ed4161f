"""Reads a board's YAML into a :class:`~tinygen.targets.board.Board`, and says exactly what is wrong with it."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tinygen.errors import BoardError
from tinygen.targets.board import (
    MAX_LINES,
    MAX_REGIONS,
    Board,
    CacheTiming,
    Clock,
    EmulatorSpec,
    EnableBit,
    EspFlash,
    Flashing,
    I2sClock,
    Led,
    Memory,
    MemoryTiming,
    Microphone,
    Pin,
    PlatformIo,
    Pll,
    RunCurrent,
    StreamPins,
    ToolchainFlags,
    Uart,
    Usb,
    ZigTarget,
)
from tinygen.targets.parts.check import check_part

T = TypeVar("T")

# libyaml's, seven times as fast, where PyYAML was built with it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PIN = re.compile(r"P([A-K])(\d{1,2})|GPIO(\d{1,2})")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_ISA = ("c99", "dsp", "fpu-sp", "fpu-dp", "mve", "rv32", "dual-issue", "scalar", "armv6m", "pie")
_ENGINES = ("unicorn", "qemu", "native", "none")
RATE_TOLERANCE = 0.001
"""Largest relative error of a microphone's rate: 0.1 % moves no sound out of its frequency band in a front end."""
_USES = ("code", "constants", "stack", "data")
_FLASHERS = {
    "pyocd": "pyocd",
    "openocd": "openocd",
    "st-flash": "",
    "dfu": "",
    "mass-storage": "volume",
    "esptool": "esptool",
}
"""Ways to flash a board, and the key that each of them needs. PlatformIO's needs none here: it has its own."""


@dataclass
class _Node:
    """A mapping of the file, with its path, that records which of its keys were read."""

    file: Path
    where: str
    values: dict[str, object]
    asked: set[str] = field(default_factory=set)

    def error(self, key: str, what: str, fix: str) -> BoardError:
        """An error about `key` of this mapping."""
        trail = f"{self.where}.{key}" if self.where else key
        return BoardError(what, where=f"{self.file}: {trail}", fix=fix)

    def _get(self, key: str, kind: type | tuple[type, ...], wanted: str) -> object:
        self.asked.add(key)
        if key not in self.values:
            raise self.error(key, "the key is missing", f"Add `{key}:`, {wanted}.")
        value = self.values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"{value!r} is not {wanted}", f"Write {wanted}.")
        return value

    def has(self, key: str) -> bool:
        """Whether `key` is there and not null."""
        self.asked.add(key)
        return self.values.get(key) is not None

    def text(self, key: str, default: str | None = None, choices: Sequence[str] = ()) -> str:
        """A string, one of `choices` where there are any."""
        if default is not None and not self.has(key):
            return default
        value = str(self._get(key, str, "a string"))
        if choices and value not in choices:
            raise self.error(key, f"{value!r} is unknown", f"Use one of: {', '.join(choices)}.")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """An integer in low..high."""
        if default is not None and not self.has(key):
            return default
        value = self._get(key, int, "an integer")
        assert isinstance(value, int)
        if not low <= value <= high:
            raise self.error(key, f"{value:#x} is out of range", f"It must be in {low:#x} .. {high:#x}.")
        return value

    def number(self, key: str) -> float:
        """A positive number."""
        value = self._get(key, (int, float), "a number")
        assert isinstance(value, (int, float))
        if not value > 0:
            raise self.error(key, f"{value} is not positive", "Write a number above zero.")
        return float(value)

    def flag(self, key: str) -> bool:
        """A boolean, false when absent."""
        return bool(self._get(key, bool, "true or false")) if self.has(key) else False

    def texts(self, key: str, choices: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of strings, empty when absent."""
        values = self._list(key)
        for value in values:
            if not isinstance(value, str) or (choices and value not in choices):
                fix = f"Use some of: {', '.join(choices)}." if choices else "Write a list of strings."
                raise self.error(key, f"{value!r} does not belong in this list", fix)
        return tuple(str(v) for v in values)

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of integers, empty when absent."""
        values = self._list(key)
        for value in values:
            if not isinstance(value, int):
                raise self.error(key, f"{value!r} is not an integer", "Write a list of integers.")
        return tuple(v for v in values if isinstance(v, int))

    def _list(self, key: str) -> list[object]:
        if not self.has(key):
            return []
        value = self._get(key, list, "a list")
        assert isinstance(value, list)
        return value

    def pin(self, key: str) -> Pin:
        """A pin such as PD8 or GPIO8."""
        text = self.text(key)
        match = _PIN.fullmatch(text)
        if not match or int(match[2] or 0) > 15:
            raise self.error(key, f"{text!r} is not a pin", "Write port and number, e.g. PD8, or GPIO8.")
        return Pin(match[1], int(match[2])) if match[1] else Pin("", int(match[3]))

    def child(self, key: str, build: Callable[[_Node], T]) -> T:
        """A mapping, built into an object; keys that `build` did not ask for are errors."""
        value = self._get(key, dict, "a mapping")
        assert isinstance(value, dict)
        return _build(_Node(self.file, f"{self.where}.{key}".lstrip("."), value), build)

    def optional(self, key: str, build: Callable[[_Node], T]) -> T | None:
        """Like `child`, None when absent."""
        return self.child(key, build) if self.has(key) else None

    def children(self, key: str, build: Callable[[_Node], T]) -> tuple[T, ...]:
        """A list of mappings."""
        nodes = []
        for i, value in enumerate(self._list(key)):
            if not isinstance(value, dict):
                raise self.error(f"{key}[{i}]", f"{value!r} is not a mapping", "Write `- key: value` entries.")
            nodes.append(_Node(self.file, f"{self.where}.{key}[{i}]".lstrip("."), value))
        return tuple(_build(node, build) for node in nodes)


def _build(node: _Node, build: Callable[[_Node], T]) -> T:
    result = build(node)
    for key in node.values:
        if key not in node.asked:
            near = difflib.get_close_matches(str(key), sorted(node.asked), n=1)
            fix = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(sorted(node.asked))}."
            raise node.error(str(key), "the key is unknown", fix)
    return result


def _memory(node: _Node) -> Memory:
    origin = node.integer("origin", 0, 0xFFFFFFFF)
    return Memory(
        name=node.text("name"),
        origin=origin,
        size=node.integer("size", 1, (1 << 32) - origin),
        kind=node.text("kind", choices=("flash", "ram")),
        use=node.texts("use", _USES),
        aliases=node.integers("aliases"),
        wait_states=node.integer("wait_states", 0, 255) if node.has("wait_states") else None,
    )


def _pll(node: _Node) -> Pll:
    return Pll(
        m=node.integer("m", 2, 63),
        n=node.integer("n", 4, 512),
        p=node.integer("p", 2, 8),
        q=node.integer("q", 2, 15),
    )


def _clock(node: _Node) -> Clock:
    hz = 10**10
    clock = Clock(
        source=node.text("source", choices=("hse", "hsi", "fixed")),
        source_hz=node.integer("source_hz", 1, hz),
        sysclk_hz=node.integer("sysclk_hz", 1, hz),
        ahb_div=node.integer("ahb_div", 1, 512, 1),
        axi_div=node.integer("axi_div", 1, 512, 1),
        apb1_div=node.integer("apb1_div", 1, 16, 1),
        apb2_div=node.integer("apb2_div", 1, 16, 1),
        flash_wait_states=node.integer("flash_wait_states", 0, 15, 0),
        bypass=node.flag("bypass"),
        fallback_hz=node.integer("fallback_hz", 0, hz, 0),
        pll=node.optional("pll", _pll),
        over_drive=node.flag("over_drive"),
        voltage_scale=node.integer("voltage_scale", 0, 3, 0),
    )
    for key, divider in (("axi_div", clock.axi_div), ("apb1_div", clock.apb1_div), ("apb2_div", clock.apb2_div)):
        if divider not in (1, 2, 4, 8, 16):
            raise node.error(key, f"{divider} is not a divider", "Use 1, 2, 4, 8 or 16.")
    gives = clock.source_hz
    if clock.pll:
        if clock.pll.p % 2:
            raise node.error("pll.p", f"{clock.pll.p} is not a divider", "Use 2, 4, 6 or 8.")
        gives = clock.source_hz * clock.pll.n // (clock.pll.m * clock.pll.p)
    if gives != clock.sysclk_hz:
        raise node.error(
            "sysclk_hz",
            f"the settings give {gives} Hz, not {clock.sysclk_hz}",
            "Correct it, or the PLL factors.",
        )
    return clock


def _uart(node: _Node) -> Uart:
    return Uart(
        instance=node.text("instance"),
        base=node.integer("base", 0, 0xFFFFFFFF),
        bus=node.text("bus", choices=("ahb", "apb1", "apb2")),
        baud=node.integer("baud", 300, 12_000_000),
        tx=node.pin("tx") if node.has("tx") else None,
        rx=node.pin("rx") if node.has("rx") else None,
        af=node.integer("af", 0, 15, 0),
        enable=node.optional("enable", _enable_bit),
    )


def _i2s_clock(node: _Node) -> I2sClock:
    has_pll = node.has("pll_n")
    return I2sClock(
        source_hz=0 if has_pll else node.integer("source_hz", 1, 10**10),
        pll_n=node.integer("pll_n", 50, 432) if has_pll else 0,
        pll_r=node.integer("pll_r", 2, 7) if has_pll else 0,
        divider=node.integer("divider", 2, 511),
        numerator=node.integer("numerator", 0, 511, 0),
        denominator=node.integer("denominator", 1, 511, 1),
        bit_divider=node.integer("bit_divider", 1, 64, 1),
    )


def _microphone(node: _Node, clock: Clock | None) -> Microphone:
    node.text("kind", choices=("i2s",))
    microphone = Microphone(
        instance=node.text("instance"),
        base=node.integer("base", 0, 0xFFFFFFFF),
        ck=node.pin("ck"),
        ws=node.pin("ws"),
        sd=node.pin("sd"),
        af=node.integer("af", 0, 15, 0),
        enable=node.optional("enable", _enable_bit),
        sample_rate_hz=node.integer("sample_rate_hz", 7800, 50_000),
        clock=node.child("clock", _i2s_clock),
        gain_bits=node.integer("gain_bits", 0, 8, 0),
    )
    rate = microphone.rate_hz(clock)
    if abs(rate - microphone.sample_rate_hz) > microphone.sample_rate_hz * RATE_TOLERANCE:
        what = f"the settings give {float(rate):.1f} frames of 64 bits a second, not {microphone.sample_rate_hz}"
        raise node.error("sample_rate_hz", what, "Correct it, or `clock`.")
    return microphone


def _enable_bit(node: _Node) -> EnableBit:
    return EnableBit(node.text("register"), node.integer("bit", 0, 31))


def _led(node: _Node) -> Led:
    role = node.text("role", choices=("ready", "busy", "fault"))
    return Led(node.text("name"), node.pin("pin"), role, node.text("colour", ""))


def _emulator(node: _Node) -> EmulatorSpec:
    engine = node.text("engine", choices=_ENGINES)
    machine = node.text("qemu_machine") if engine == "qemu" else node.text("qemu_machine", "")
    chip = node.text("labwired_chip", "")
    return EmulatorSpec(engine, node.text("cpu_model", ""), machine, chip, node.texts("peripherals"))


def _toolchain(node: _Node) -> ToolchainFlags:
    return ToolchainFlags(
        zig=node.optional("zig", lambda n: ZigTarget(n.text("target"), n.text("cpu"))),
        gcc=node.optional("gcc", lambda n: n.texts("flags")),
    )


def _flashing(node: _Node) -> Flashing:
    methods = node.texts("methods", tuple(_FLASHERS))
    for method in methods:
        if _FLASHERS[method] and not node.has(_FLASHERS[method]):
            fix = f"Add `{_FLASHERS[method]}:`, or take {method} out of `methods`."
            raise node.error(_FLASHERS[method], f"the key is missing, and {method} needs it", fix)
    return Flashing(
        methods=methods,
        openocd=node.text("openocd", ""),
        pyocd=node.text("pyocd", ""),
        volume=node.text("volume", ""),
        esptool=node.optional("esptool", _esp_flash),
    )


def _esp_flash(node: _Node) -> EspFlash:
    return EspFlash(node.text("chip"), node.integer("address", 0, (1 << 32) - 1))


def _run_current(node: _Node) -> RunCurrent:
    interval = node.number("interval") if node.has("interval") else 0.3
    if interval >= 1:
        raise node.error("interval", f"{interval:g} is no fraction below 1", "Write 0.3 for 30 %.")
    return RunCurrent(node.number("ma"), node.number("volts"), node.text("source"), interval)


def _cache(node: _Node, memories: Sequence[Memory]) -> CacheTiming:
    size, line = node.integer("bytes", 16, 1 << 20), node.integer("line", 4, 1024)
    ways = node.integer("ways", 1, 64)
    for key, wrong, fix in (
        ("line", line & line - 1, "Write a power of two."),
        ("bytes", size % (line * ways), f"Write a multiple of line x ways, {line * ways}."),
        ("bytes", size // line > MAX_LINES, f"At most {MAX_LINES} lines can be simulated."),
    ):
        if wrong:
            raise node.error(key, f"{size} bytes in lines of {line}, {ways} ways, is no cache", fix)
    names = [memory.name for memory in memories]
    misses = node.child("miss_cycles", lambda n: {name: n.integer(name, 1, 1000) for name in names if n.has(name)})
    regions = [
        (start, start + memory.size, misses[memory.name])
        for memory in memories
        for start in (memory.origin, *memory.aliases)
        if memory.name in misses
    ]
    if not 0 < len(regions) <= MAX_REGIONS:
        raise node.error("miss_cycles", f"{len(regions)} memories are behind it", f"Name 1 to {MAX_REGIONS}.")
    return CacheTiming(size, line, ways, tuple(regions))


def _timing(node: _Node, memories: Sequence[Memory]) -> MemoryTiming:
    if node.has("cache"):
        shared = node.child("cache", lambda n: _cache(n, memories))
        return MemoryTiming(shared, shared)
    return MemoryTiming(
        code=node.child("code_cache", lambda n: _cache(n, memories)),
        data=node.child("data_cache", lambda n: _cache(n, memories)),
    )


def _board(node: _Node) -> Board:
    memories = node.children("memories", _memory)
    clock = node.optional("clock", _clock)
    return Board(
        name=node.text("name"),
        title=node.text("title"),
        part=node.text("part", ""),
        core=node.text("core"),
        isa=node.texts("isa", _ISA),
        memories=memories,
        clock=clock,
        uart=node.optional("uart", _uart),
        microphone=node.optional("microphone", lambda n: _microphone(n, clock)),
        leds=node.children("leds", _led),
        timestamp=node.pin("timestamp") if node.has("timestamp") else None,
        stream_pins=node.optional("stream_pins", lambda n: StreamPins(n.pin("processing"), n.pin("detection"))),
        usb=node.optional("usb", lambda n: Usb(n.integer("vid", 0, 0xFFFF), n.integer("pid", 0, 0xFFFF))),
        flashing=node.optional("flashing", _flashing) or Flashing(),
        platformio=node.optional("platformio", lambda n: PlatformIo(n.text("platform"), n.text("board"))),
        run_current=node.optional("run_current", _run_current),
        timing=node.optional("timing", lambda n: _timing(n, memories)),
        stack_bytes=node.integer("stack_bytes", 512, 1 << 30),
        emulator=node.child("emulator", _emulator),
        sources=node.texts("sources"),
        include_dirs=node.texts("include_dirs"),
        toolchain=node.child("toolchain", _toolchain),
        path=node.file,
    )


def _check(node: _Node, board: Board) -> None:
    """Rules between keys."""
    if not _NAME.fullmatch(board.name):
        raise node.error("name", f"{board.name!r} is not a name", "Use a-z, 0-9, _ and -.")
    if board.is_host:
        return
    if board.stack_bytes % 8:
        raise node.error("stack_bytes", f"{board.stack_bytes} is not a multiple of 8", "Round it up.")
    for key, value in (("clock", board.clock), ("uart", board.uart)):
        if value is None:
            raise node.error(key, "the key is missing", f"A board that is not the host needs a {key}.")
    ordered = sorted(board.memories, key=lambda m: m.origin)
    for below, above in itertools.pairwise(ordered):
        if below.end > above.origin:
            what = f"{below.name} and {above.name} overlap at {above.origin:#x}"
            raise node.error("memories", what, "Correct origin or size.")
    check_part(board)
    if board.link_flash.size < 1024 or board.link_ram.size <= board.stack_bytes:
        raise node.error("stack_bytes", "the stack takes all the RAM", "Lower it, or correct the memories.")


def read_board(path: Path) -> Board:
    """The board described by the YAML file `path`.

    Raises:
        BoardError: unreadable, not YAML, a key missing, unknown, of the wrong kind or out of range.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise BoardError(f"the file cannot be read: {error}", where=str(path)) from error
    except yaml.YAMLError as error:
        raise BoardError(f"this is not YAML: {error}", where=str(path), fix="Correct the syntax.") from error
    if not isinstance(content, dict):
        raise BoardError("the file is not a mapping", where=str(path), fix="Start from a file in boards/.")
    node = _Node(path, "", content)
    board = _build(node, _board)
    _check(node, board)
    return board
