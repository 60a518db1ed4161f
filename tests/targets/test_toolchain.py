"""Builds of a dummy model for every board with every toolchain, and what is said when one fails."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import capstone  # type: ignore[import-untyped]
import pytest
from elftools.elf.elffile import ELFFile

from tests.targets.build import DUMMY_MODEL, build, project_with
from tests.targets.tools import requires_tool
from tinygen.errors import FitError, ToolchainError
from tinygen.paths import resource
from tinygen.targets.board import Board, ZigTarget
from tinygen.targets.boards import list_boards, load_board
from tinygen.targets.toolchain import (
    BuildResult,
    HostCode,
    build_elf,
    build_executable,
    build_flat,
    build_shared_library,
    find_toolchain,
)
from tinygen.targets.toolchains import compiling
from tinygen.targets.toolchains.base import compile_error, link_error
from tinygen.targets.toolchains.fit import overflow_error
from tinygen.targets.toolchains.zig import Zig, library_flags
from tinygen.targets.toolchains.zig_cache import zig_libraries

GCC = pytest.param("gcc", marks=requires_tool("arm-none-eabi-gcc"))
BOTH = pytest.mark.parametrize("toolchain", ["zig", GCC])
# ESP boards have images of another kind: test_emulator_esp32.py, test_esp_image.py.
DEVICES = [name for name in list_boards() if name != "host" and not load_board(name).esp_chip]


# With gcc one of them, in the long run all.
EACH = pytest.mark.parametrize(
    "built",
    [
        *[pytest.param((name, "zig"), id=f"{name}-zig") for name in DEVICES],
        *[
            pytest.param((name, "gcc"), id=f"{name}-gcc", marks=[requires_tool("arm-none-eabi-gcc"), *long])
            for name in DEVICES
            for long in ([] if name == "f746zg" else [pytest.mark.long],)
        ],
    ],
    indirect=True,
)


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, BuildResult]:
    """The dummy model for a board, with one of its compilers; several tests look at it."""
    name, toolchain = request.param
    board = load_board(name)
    return board, build(board, toolchain, tmp_path_factory.mktemp(name))


@EACH
def test_every_board_builds_without_a_warning(built: tuple[Board, BuildResult]) -> None:
    board, result = built
    assert result.bin is not None and result.bin.stat().st_size == result.flash_bytes
    assert result.flash_bytes < 13 * 1024
    assert not [symbol for symbol in result.sizes.symbols if symbol.source == "firmware/app/thresholds.c"]
    assert sum(result.sizes.flash_by_group.values()) == result.flash_bytes
    assert sum(result.sizes.ram_by_group.values()) == result.ram_bytes
    assert sum(result.sizes.ram_by_memory.values()) in range(result.ram_bytes - 16, result.ram_bytes + 1)  # padding
    assert result.sizes.ram_by_group["stack"] == board.stack_bytes
    assert 32 <= result.sizes.ram_by_group["arena"] <= 64


@EACH
def test_the_image_begins_with_stack_and_reset(built: tuple[Board, BuildResult]) -> None:
    board, result = built
    assert result.bin is not None
    image = result.bin.read_bytes()
    stack, reset = (int.from_bytes(image[i : i + 4], "little") for i in (0, 4))
    assert stack == board.link_ram.origin + board.stack_bytes
    assert board.link_flash.contains(reset) and reset & 1


@pytest.mark.parametrize(
    "toolchain", ["zig", pytest.param("gcc", marks=[requires_tool("arm-none-eabi-gcc"), pytest.mark.long])]
)
def test_the_same_project_gives_the_same_bytes_anywhere(
    toolchain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with objects from the cache, and without."""
    board = load_board("f746zg")
    images = [build(board, toolchain, tmp_path / folder).elf.read_bytes() for folder in ("a", "somewhere/else")]
    monkeypatch.setattr(compiling, "object_cache", lambda: None)
    images.append(build(board, toolchain, tmp_path / "b").elf.read_bytes())
    assert images[0] == images[1] == images[2]
    assert str(tmp_path).encode() not in images[0]


@BOTH
def test_nothing_but_the_firmware_is_left_in_the_project(toolchain: str, tmp_path: Path) -> None:
    build(load_board("f746zg"), toolchain, tmp_path)
    top = {path.name for path in tmp_path.iterdir()}
    assert top == {"app_model.c", "board", "firmware", "firmware.bin", "firmware.elf", "Makefile", "README.md"}
    assert not zig_libraries().folder.is_relative_to(tmp_path)


@BOTH
def test_debug_information_names_our_lines(toolchain: str, tmp_path: Path) -> None:
    result = build(load_board("f746zg"), toolchain, tmp_path)
    with result.elf.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        names = {cu.get_top_DIE().get_full_path().replace("./", "") for cu in dwarf.iter_CUs()}
    assert {"app_model.c", "firmware/app/serve.c", "firmware/stm32/clock.c"} <= names


@BOTH
@pytest.mark.parametrize("name", ["f746zg", "netduinoplus2"])
def test_no_double_precision_instruction_where_the_fpu_is_single(name: str, toolchain: str, tmp_path: Path) -> None:
    model = DUMMY_MODEL.replace(
        "static void init(void)\n{\n",
        "volatile double wide = 1.5;\nvolatile float narrow = 1.5F;\n\nstatic void init(void)\n{\n"
        "    wide = wide * (double)narrow + 0.25;\n    narrow = narrow * 1.25F + 0.5F;\n",
    )
    result = build(load_board(name), toolchain, tmp_path, model)
    assert result.bin is not None
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.skipdata = True
    code = result.bin.read_bytes()
    mnemonics = {text for start in (0, 2) for _, _, text, _ in decoder.disasm_lite(code[start:], start)}
    assert any(re.match(r"v(mul|mla|fma|add)\S*\.f32", m) for m in mnemonics)
    assert not any(re.match(r"v(mul|fma|mla|add|sub|div)\S*\.f64", m) for m in mnemonics)


@BOTH
def test_too_much_flash_is_refused_with_figures(toolchain: str, tmp_path: Path) -> None:
    model = DUMMY_MODEL.replace(
        "#define COUNT 16U", "#define COUNT 16U\n\nstatic const volatile uint8_t huge[1048576];"
    )
    model = model.replace("    (void)index;\n", "    (void)huge[index];\n", 1)
    with pytest.raises(FitError) as caught:
        build(load_board("f746zg"), toolchain, tmp_path, model)
    assert "does not fit flash" in caught.value.what
    assert "1,048,576 there (FLASH at 0x08000000)" in caught.value.what
    assert "huge of app_model.c (1,048,576 bytes)" in caught.value.what
    needed, there, excess = figures(caught.value.what)
    assert needed == there + excess and 4_000 < excess < 20_000
    assert "flash" in caught.value.fix
    assert not (tmp_path / "firmware.elf").exists()


@BOTH
def test_too_much_ram_is_refused_with_figures(toolchain: str, tmp_path: Path) -> None:
    model = DUMMY_MODEL.replace("int8_t bytes[2U * COUNT];", "int8_t bytes[327680];")
    with pytest.raises(FitError) as caught:
        build(load_board("f746zg"), toolchain, tmp_path, model)
    assert "does not fit RAM" in caught.value.what
    assert "(DTCM + SRAM1 + SRAM2 at 0x20000000)" in caught.value.what
    assert "static_arena of app_model.c (327,680 bytes)" in caught.value.what
    needed, there, excess = figures(caught.value.what)
    assert needed == there + excess and 4096 <= excess < 4300


def test_data_beyond_what_the_boot_rom_loads_is_named() -> None:
    """As both linkers print the layout's assertion."""
    for output in (
        "riscv64-unknown-elf-ld: what the boot ROM loads must fit the flash before what is mapped\ncollect2: error: ld",
        "error: what the boot ROM loads must fit the flash before what is mapped",
    ):
        found = overflow_error(load_board("esp32c3"), output, {})
        assert found is not None and "at most 61,440 bytes" in found.what and "--weights flash" in found.fix
    layout = (resource("templates") / "project" / "esp.ld.j2").read_text()
    assert 'SIZEOF(.data) < 0xF000, "what the boot ROM loads must fit' in layout


def figures(text: str) -> tuple[int, int, int]:
    """Bytes needed, there, too many."""
    match = re.search(r"([\d,]+) bytes needed, ([\d,]+) there .*?, ([\d,]+) too many", text)
    assert match
    needed, there, excess = (int(group.replace(",", "")) for group in match.groups())
    return needed, there, excess


@BOTH
def test_wrong_c_is_named_by_file_and_line(toolchain: str, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError) as caught:
        build(load_board("f746zg"), toolchain, tmp_path, "int a;\nint b = c;\n")
    assert caught.value.where == "app_model.c:2"
    assert "c" in caught.value.what


@BOTH
def test_a_missing_definition_is_named(toolchain: str, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="nothing defines app_model"):
        build(load_board("f746zg"), toolchain, tmp_path, "extern int a;\nint a;\n")


@pytest.mark.parametrize("toolchain", [pytest.param("zig", marks=pytest.mark.long), GCC])
def test_the_makefile_builds_the_same_program(toolchain: str, tmp_path: Path) -> None:
    result = build(load_board("f746zg"), toolchain, tmp_path)
    assert result.bin is not None
    result.elf.unlink()
    subprocess.run(
        ["make", "-s", "-j2", f"TOOLCHAIN={toolchain}", f"PYTHON={sys.executable}"], cwd=tmp_path, check=True
    )
    with result.elf.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".text")
        assert section is not None
        assert section.data() == result.bin.read_bytes()[: section["sh_size"]]


def test_model_files_are_counted_as_code_and_weights(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/kws_weights.c").write_text(
        "#include <stdint.h>\nextern const int8_t kws_w[999];\nconst int8_t kws_w[999] = {1};\n",
        encoding="utf-8",
    )
    (tmp_path / "model/kws.c").write_text(
        "#include <stdint.h>\nextern const int8_t kws_w[999];\nint32_t kws_get(uint32_t i);\n"
        "int32_t kws_get(uint32_t i)\n{\n    return kws_w[i];\n}\n",
        encoding="utf-8",
    )
    call = "int32_t kws_get(uint32_t i);\nvolatile int32_t got;\n\nstatic void init(void)\n{\n    got = kws_get(3U);"
    model = DUMMY_MODEL.replace("static void init(void)\n{", call)
    result = build(load_board("f746zg"), "zig", tmp_path, model)
    assert result.sizes.flash_by_group["model weights"] == 999
    assert 0 < result.sizes.flash_by_group["model code"] < 64
    assert result.flash_model_bytes == 999 + result.sizes.flash_by_group["model code"]


def test_an_absent_toolchain_is_answered_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    board = load_board("f746zg")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolchainError, match="not on the PATH") as caught:
        find_toolchain("gcc", board)
    assert "apt install gcc-arm-none-eabi" in caught.value.fix
    monkeypatch.setattr("tinygen.targets.toolchains.zig.zig_folder", lambda: None)
    monkeypatch.setattr("tinygen.targets.toolchain.zig_folder", lambda: None)
    with pytest.raises(ToolchainError, match="zig toolchain is not installed") as caught:
        find_toolchain(None, board)
    assert "pip install ziglang" in caught.value.fix
    with pytest.raises(ToolchainError, match="no C compiler"):
        find_toolchain(None, load_board("host"))
    with pytest.raises(ToolchainError, match="no toolchain 'tcc'"):
        find_toolchain("tcc", board)


def test_zig_is_the_default_for_boards() -> None:
    assert find_toolchain(None, load_board("f746zg")).name == "zig"


@pytest.mark.parametrize("name", ["cc", "zig"])
def test_what_compilers_leave_goes_with_their_call(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    toolchain = find_toolchain(None if name == "cc" else name, load_board("host"))
    monkeypatch.setattr(type(toolchain), "command", lambda self: ["sh", "-c", 'echo "$TMPDIR"; : >"$TMPDIR/left"'])
    result = toolchain.run(["-c"], tmp_path)
    assert result.returncode == 0 and Path(result.stdout.strip()).parent == tmp_path
    assert not list(tmp_path.iterdir())


def host_code(directory: Path, text: str) -> HostCode:
    """One C file."""
    (directory / "a.c").write_text(text, encoding="utf-8")
    return HostCode(directory, ("a.c",))


@pytest.mark.parametrize("toolchain", ["zig", None])
def test_a_shared_library_can_be_called(toolchain: str | None, tmp_path: Path) -> None:
    code = host_code(tmp_path, "int twice(int x);\nint twice(int x)\n{\n    return 2 * x;\n}\n")
    library = build_shared_library(code, tmp_path / "a.so", find_toolchain(toolchain, load_board("host")))
    assert ctypes.CDLL(str(library)).twice(21) == 42


@requires_tool("cc")
def test_sanitizers_find_what_they_are_for(tmp_path: Path) -> None:
    text = "int main(int n, char **v)\n{\n    int a[4] = {0};\n    (void)v;\n    return a[n + 3];\n}\n"
    toolchain = find_toolchain(None, load_board("host"))
    program = build_executable(
        host_code(tmp_path, text),
        tmp_path / "a",
        toolchain,
        sanitize=("address", "undefined"),
        optimize="-O1",
    )
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert result.returncode != 0 and "a.c:5" in result.stderr


def test_zig_has_no_address_sanitizer(tmp_path: Path) -> None:
    toolchain = find_toolchain("zig", load_board("host"))
    with pytest.raises(ToolchainError, match="address sanitizer"):
        build_executable(host_code(tmp_path, "int x;\n"), tmp_path / "a", toolchain, sanitize=("address",))


@pytest.mark.parametrize(("text", "tries"), [("return a + b;", [False]), ("return a / b;", [False, True])])
def test_zigs_library_is_made_only_for_who_needs_it(
    text: str, tries: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No core divides 64 bits by itself."""
    asked: list[bool] = []
    run = Zig.run

    def recorded(zig: Zig, arguments: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        if "-c" not in arguments:
            asked.append("-lcompiler_rt" in arguments)
        return run(zig, arguments, cwd)

    monkeypatch.setattr(Zig, "run", recorded)
    prototype = "unsigned long long f(unsigned long long a, unsigned long long b)"
    code = host_code(tmp_path, f"{prototype};\n{prototype}\n{{\n    {text}\n}}\n")
    build_flat(code, tmp_path / "f.elf", find_toolchain("zig", load_board("f746zg")), entries=["f"])
    assert asked == tries


def test_cores_of_a_family_share_zigs_library() -> None:
    """It is made once, not once for each core: of instructions that all of them have."""
    targets = [load_board(name).toolchain.zig for name in list_boards()]
    made = {(target.target, *library_flags(target)) for target in targets if target}
    assert made == {
        ("thumb-freestanding-eabihf", "-mcpu=cortex_m3+vfp4d16sp", "-lcompiler_rt"),
        ("riscv32-freestanding", "-mcpu=generic_rv32+m+c", "-lcompiler_rt"),
    }
    assert library_flags(ZigTarget("thumb-freestanding-eabi", "cortex_m0plus")) == ["-lcompiler_rt"]
    assert library_flags(ZigTarget("riscv32-freestanding", "generic_rv32+m")) == ["-lcompiler_rt"]


def test_complaints_without_a_known_form_are_passed_on() -> None:
    toolchain = find_toolchain("zig", load_board("f746zg"))
    assert "it said nothing" in str(compile_error(toolchain, "a.c", ""))
    assert "odd" in str(link_error(toolchain, "ld.lld: error: odd\n"))


def test_a_project_builds_twice(tmp_path: Path) -> None:
    board = load_board("f746zg")
    project = project_with(board, tmp_path)
    toolchain = find_toolchain(None, board)
    assert build_elf(project, toolchain).sizes == build_elf(project, toolchain).sizes


@requires_tool("cc")
def test_the_makefile_builds_the_host_program(tmp_path: Path) -> None:
    project_with(load_board("host"), tmp_path)
    subprocess.run(["make", "-s", "-j2"], cwd=tmp_path, check=True)
    result = subprocess.run([tmp_path / "firmware.elf"], input=b"tg-info%", capture_output=True, check=True)
    assert result.stdout.endswith(b"m-tg-mode performance\r\nm-ready\r\n")
    # A header that changed makes again what includes it, and nothing else.
    os.utime(tmp_path / "firmware/app/seal.h", (2**31, 2**31))
    remade = subprocess.run(["make", "-n"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert " -c firmware/app/seal.c" in remade and " -c firmware/app/text.c" not in remade


def test_the_makefile_says_what_lacks_without_zig(tmp_path: Path) -> None:
    project_with(load_board("f746zg"), tmp_path)
    command = ["make", "TOOLCHAIN=zig", "PYTHON=false"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "pip install ziglang" in done.stderr


def test_a_full_disk_is_no_fault_of_the_c() -> None:
    """Where the compiler writes: gcc's words and clang's."""
    toolchain = find_toolchain(None, load_board("host"))
    for said in (
        "model/kws.c:1:1: fatal error: error writing to /tmp/cc1.s: No space left on device",
        "error: unable to open output file '/tmp/0.o': 'No space left on device'",
        "ld: final link failed: No space left on device",
    ):
        for error in (compile_error(toolchain, "model/kws.c", said), link_error(toolchain, said)):
            assert error.what == "the compiler cannot write (No space left on device)" and "TMPDIR" in error.fix
