"""Sealed commands (firmware/app/seal.h), as the firmware sees them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.targets.build import build
from tests.targets.wire import Wire, command_of
from tinygen.targets.boards import load_board

X = bytes(range(240, 256))
Y = bytes((2 * x + 1) % 256 for x in X)
NONCE = "0123abcd"


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(load_board("host"), "zig", tmp_path_factory.mktemp("host")).elf


@pytest.fixture
def wire(firmware: Path) -> Iterator[Wire]:
    with Wire(command_of(load_board("host"), firmware)) as wire:
        wire.reply()
        yield wire


def sealed(command: str, nonce: str = NONCE) -> str:
    text = f"{nonce} {command}"
    return f"tg-seal {zlib.crc32(text.encode()):08x} {text}%"


def sums(data: bytes) -> str:
    return f"{zlib.crc32(data):08x} {zlib.adler32(data):08x}"


def seal_of(reply: bytes) -> str:
    """The seal of all that was sent before it."""
    head = f"m-tg-seal {NONCE}"
    return f"{head} {sums(reply + head.encode())}"


def test_the_reply_is_that_of_the_command_and_a_seal(wire: Wire) -> None:
    plain = wire.ask("tg-info%")
    *lines, seal = wire.ask(sealed("tg-info"))
    assert lines == plain
    assert seal == seal_of("".join(f"{line}\r\n" for line in lines).encode())


def test_an_inference_says_what_it_ran_on_and_gave(wire: Wire) -> None:
    wire.load(0, X)
    ran, cycles, gave, seal = wire.ask(sealed("tg-run"))
    assert cycles.startswith("m-tg-cycles ")
    assert ran == f"m-tg-ran {sums(b'0123456789abcdef' + bytes([0]) + X)}"
    assert gave == f"m-tg-gave 0 {sums(Y)}"
    assert seal == seal_of(f"{ran}\r\n{cycles}\r\n{gave}\r\n".encode())


@pytest.mark.parametrize("command", ["tg-profile", "tg-trace", "tg-dump 1"])
def test_every_kind_of_inference_says_so(wire: Wire, command: str) -> None:
    wire.load(0, X)
    wire.send(sealed(command).encode())
    assert wire.line() == f"m-tg-ran {sums(b'0123456789abcdef' + bytes([0]) + X)}"


def test_raw_bytes_are_sealed_too(wire: Wire) -> None:
    wire.load(0, X)
    wire.ask("tg-run%")
    wire.send(sealed("tg-read 0").encode())
    head = wire.line()
    assert head == f"m-tg-data 16 {zlib.crc32(Y):08x}"
    assert wire.raw(16) == Y and wire.line() == ""
    assert wire.reply() == [seal_of(f"{head}\r\n".encode() + Y + b"\r\n")]


def test_commands_that_are_not_sealed_have_no_seal(wire: Wire) -> None:
    wire.ask(sealed("tg-info"))
    wire.load(0, X)
    assert len(wire.ask("tg-run%")) == 1


def test_refusals_are_sealed(wire: Wire) -> None:
    error = "e-[no such output]"
    assert wire.ask(sealed("tg-read 9")) == [error, seal_of(f"{error}\r\n".encode())]


@pytest.mark.parametrize("position", range(len("tg-seal "), len(sealed("tg-run")) - 1))
def test_a_flipped_bit_anywhere_is_refused(wire: Wire, position: int) -> None:
    command = bytearray(sealed("tg-run").encode())
    command[position] ^= 1 << position % 5  # not bit 5: a digit in upper case is the same digit
    wire.send(bytes(command))
    answer = wire.reply()
    assert answer[0].startswith(("e-[damaged]", "e-[Unknown command: ")) and not any("seal" in line for line in answer)


@pytest.mark.parametrize("command", ["tg-seal%", "tg-seal 1%", "tg-seal 00000000 00000000%", "tg-seal x y z%"])
def test_half_a_seal_is_refused(wire: Wire, command: str) -> None:
    assert wire.ask(command) == ["e-[damaged]"]
    assert len(wire.ask(sealed("tg-info"))) == 9


def test_a_seal_within_a_seal_is_no_command(wire: Wire) -> None:
    assert wire.ask(sealed(sealed("tg-run")[:-1]))[0] == "e-[Unknown command: tg-seal]"
