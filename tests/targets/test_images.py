"""Images hold what the ELF loads, byte for byte, and nothing else."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from intelhex import IntelHex

from tests.targets.build import DUMMY_MODEL, build
from tests.targets.tools import requires_package, requires_tool
from tinygen.errors import FlashError
from tinygen.targets.board import EspFlash, Flashing
from tinygen.targets.boards import load_board
from tinygen.targets.images import check_images, write_images

# A variable that is not zero: its first value lies behind the code in flash, and is copied to RAM.
MODEL = DUMMY_MODEL.replace(
    "static void invoke", "static volatile uint32_t counter = 0x12345678U;\n\nstatic void invoke", 1
)
MODEL = MODEL.replace("    int8_t *const y = static", "    counter++;\n    int8_t *const y = static", 1)
F746ZG = load_board("f746zg")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    elf = build(F746ZG, "zig", tmp_path_factory.mktemp("images"), MODEL).elf
    return elf, write_images(F746ZG, elf, elf.parent)


def loaded(elf: Path) -> dict[int, int]:
    """Byte by load address."""
    with elf.open("rb") as file:
        return {
            segment["p_paddr"] + offset: byte
            for segment in ELFFile(file).iter_segments("PT_LOAD")
            for offset, byte in enumerate(segment.data()[: segment["p_filesz"]])
        }


def test_both_images_hold_what_the_elf_loads(built: tuple[Path, dict[str, str]]) -> None:
    elf, images = built
    assert images == {"bin": "firmware.bin", "hex": "firmware.hex"}
    expected = loaded(elf)
    content = IntelHex(str(elf.parent / images["hex"]))
    assert content.todict() | {"start_addr": None} == expected | {"start_addr": None}
    binary = (elf.parent / images["bin"]).read_bytes()
    origin = F746ZG.link_flash.origin
    assert origin + len(binary) == max(expected) + 1
    assert all(byte == expected.get(origin + offset, 0xFF) for offset, byte in enumerate(binary))


def test_first_values_of_variables_are_in_flash(built: tuple[Path, dict[str, str]]) -> None:
    elf, images = built
    assert (0x12345678).to_bytes(4, "little") in (elf.parent / images["bin"]).read_bytes()
    assert all(F746ZG.link_flash.contains(address) for address in loaded(elf))


def test_reset_starts_where_the_hex_file_says(built: tuple[Path, dict[str, str]]) -> None:
    """The vector table's second word is the reset handler (Armv7-M ARM B1.5.3); bit 0 is Thumb's."""
    elf, images = built
    content = IntelHex(str(elf.parent / images["hex"]))
    reset = int.from_bytes(content.tobinstr(start=0x08000004, size=4), "little")
    assert reset | 1 == content.start_addr["EIP"] | 1


@requires_tool("arm-none-eabi-objcopy")
def test_objcopy_makes_the_same(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    elf, images = built
    for kind, name in (("ihex", images["hex"]), ("binary", images["bin"])):
        other = tmp_path / f"{kind}.{name}"
        fill = ["--gap-fill", "0xff"] if kind == "binary" else []
        subprocess.run(["arm-none-eabi-objcopy", "-O", kind, *fill, elf, other], check=True)
        if kind == "binary":
            assert other.read_bytes() == (elf.parent / name).read_bytes()
        else:
            theirs, ours = IntelHex(str(other)), IntelHex(str(elf.parent / name))
            assert theirs.todict() == ours.todict()


def test_images_of_another_build_are_refused(built: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    elf, images = built
    check_images(F746ZG, elf, elf.parent, images)
    for name in images.values():
        (tmp_path / name).write_bytes((elf.parent / name).read_bytes())
    check_images(F746ZG, elf, tmp_path, images)
    binary = bytearray((tmp_path / "firmware.bin").read_bytes())
    binary[100] ^= 1
    (tmp_path / "firmware.bin").write_bytes(bytes(binary))
    with pytest.raises(FlashError, match=r"not that of firmware\.elf") as caught:
        check_images(F746ZG, elf, tmp_path, images)
    assert caught.value.where.endswith("firmware.bin")
    (tmp_path / "firmware.bin").unlink()
    with pytest.raises(FlashError, match="missing"):
        check_images(F746ZG, elf, tmp_path, images)


@pytest.mark.parametrize("damage", ["truncated line", "no text at all", "another byte"])
def test_a_damaged_hex_file_is_refused(built: tuple[Path, dict[str, str]], tmp_path: Path, damage: str) -> None:
    elf, images = built
    content = bytearray((elf.parent / images["hex"]).read_bytes())
    if damage == "truncated line":
        content = content[: len(content) // 2]
    elif damage == "no text at all":
        content[20] = 0xFF
    else:
        other = IntelHex(str(elf.parent / images["hex"]))
        other[0x08000100] = (other[0x08000100] + 1) & 0xFF
        other.write_hex_file(str(tmp_path / images["hex"]))
        content = bytearray((tmp_path / images["hex"]).read_bytes())
    (tmp_path / images["hex"]).write_bytes(bytes(content))
    with pytest.raises(FlashError, match="not that of"):
        check_images(F746ZG, elf, tmp_path, {"hex": images["hex"]})


def test_without_esptool_an_esp32_has_no_image_and_flash_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = dataclasses.replace(F746ZG, flashing=Flashing(("esptool",), esptool=EspFlash("esp32c3", 0)))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "esptool" else found(name))
    images = write_images(board, tmp_path / "firmware.elf", tmp_path)
    assert images == {} and not list(tmp_path.iterdir())
    with pytest.raises(FlashError, match="no images") as caught:
        check_images(board, tmp_path / "firmware.elf", tmp_path, images)
    assert "tinygen[flash]" in caught.value.fix


@requires_package("esptool")
def test_an_esp32s_image_is_checked_too(tmp_path: Path) -> None:
    board = load_board("esp32c3")
    elf = build(board, "zig", tmp_path).elf
    images = write_images(board, elf, tmp_path)
    assert images == {"bin": "firmware.bin"}
    check_images(board, elf, tmp_path, images)
    path = tmp_path / "firmware.bin"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b"", b"no image at all" * 10):
        path.write_bytes(damaged)
        with pytest.raises(FlashError, match="not that of"):
            check_images(board, elf, tmp_path, images)


def test_the_host_has_no_images(tmp_path: Path) -> None:
    assert write_images(load_board("host"), tmp_path / "firmware.elf", tmp_path) == {}
