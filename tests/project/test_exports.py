"""Exported libraries in the ecosystems that they are for: built as their users would, where the tools are here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.project.test_platformio import core, pio
from tests.support.semihosting import LINK, board_files, run_in_qemu
from tests.targets.tools import requires_package, requires_tool
from tinygen.demo import MODEL
from tinygen.errors import TinygenError
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.export import export

__all__ = ["core"]  # the fixture
STRICT = "-Wall -Wextra -Wpedantic -Wconversion -Werror -funsigned-char"


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """What a command prints.

    Raises:
        AssertionError: it fails.
    """
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | variables
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


CPP = """#include "digits.h"

#include "digits_vectors.h"

#include <algorithm>
#include <cstdio>

int main()
{
    alignas(DIGITS_ARENA_ALIGN) static unsigned char arena[DIGITS_ARENA_BYTES];
    digits_t *const model = digits_init(arena, sizeof arena);
    std::copy_n(digits_vectors_input[1], DIGITS_INPUT_SIZE, digits_input(model));
    digits_invoke(model);
    const bool same = std::equal(digits_vectors_output[1], digits_vectors_output[1] + DIGITS_OUTPUT_SIZE,
                                 digits_output(model));
    std::puts(same ? "same" : "different");
}
"""

USERS = {
    "add_subdirectory": "add_subdirectory(${LIBRARY} digits)",
    "FetchContent": """include(FetchContent)
FetchContent_Declare(digits SOURCE_DIR ${LIBRARY})
FetchContent_MakeAvailable(digits)""",
    "find_package": "find_package(digits CONFIG REQUIRED)",
}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CMake package, and where it was installed, beside it."""
    folder = tmp_path_factory.mktemp("cmake")
    export(MODEL, folder / "library", "cmake", BuildOptions(board="host", name="digits"))
    return folder


@pytest.mark.long
@requires_tool("cmake")
def test_cmake_by_itself(packaged: Path) -> None:
    """As its README says, and then installed."""
    flags = f"-DCMAKE_C_FLAGS={STRICT}"
    run("cmake", "-S", "library", "-B", "build", flags, f"-DCMAKE_INSTALL_PREFIX={packaged / 'there'}", cwd=packaged)
    run("cmake", "--build", "build", cwd=packaged)
    assert "100% tests passed, 0 tests failed out of 1" in run("ctest", "--test-dir", "build", cwd=packaged)
    run("cmake", "--install", "build", cwd=packaged)
    assert (packaged / "there/include/digits.h").is_file()


@pytest.mark.long
@requires_tool("cmake")
@requires_tool("g++")
@pytest.mark.parametrize("way", USERS)
def test_cmake_in_a_project_in_cpp(way: str, packaged: Path, tmp_path: Path) -> None:
    if way == "find_package" and not (packaged / "there").exists():
        test_cmake_by_itself(packaged)
    (tmp_path / "main.cpp").write_text(CPP)
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.16)\nproject(user LANGUAGES C CXX)\n{USERS[way]}\n"
        "add_executable(user main.cpp)\ntarget_include_directories(user PRIVATE ${LIBRARY}/example)\n"
        "target_link_libraries(user PRIVATE digits::digits)\n"
    )
    places = [f"-DLIBRARY={packaged / 'library'}", f"-DCMAKE_PREFIX_PATH={packaged / 'there'}"]
    flags = [f"-DCMAKE_CXX_FLAGS={STRICT}", "-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON"]
    run("cmake", "-S", ".", "-B", "build", *places, *flags, cwd=tmp_path)
    run("cmake", "--build", "build", cwd=tmp_path)
    assert run(tmp_path / "build/user", cwd=tmp_path) == "same\n"
    assert not list(tmp_path.rglob("digits_example"))


STAND_INS = Path(__file__).parent / "stand_ins"


@pytest.mark.long
@requires_tool("cmake")
def test_esp_idf(tmp_path: Path) -> None:
    """Component and example, built by CMake with a stand-in for ESP-IDF's functions, on this computer."""
    export(MODEL, tmp_path / "digits", "esp-idf", BuildOptions(board="esp32c3", name="digits"))
    project = tmp_path / "digits/examples/vectors"
    idf = {"IDF_PATH": str(STAND_INS / "esp-idf")}
    run("cmake", "-S", project, "-B", "build", f"-DCMAKE_C_FLAGS={STRICT}", cwd=tmp_path, **idf)
    run("cmake", "--build", "build", cwd=tmp_path, **idf)
    assert run(tmp_path / "build/digits_vectors", cwd=tmp_path) == "digits: 4 of 4 test vectors right\n"


@requires_package("platformio")
def test_the_manifest_of_a_platformio_library(tmp_path: Path) -> None:
    """PlatformIO's own schema takes it; every file that it names is there."""
    from platformio.package.manifest.parser import ManifestParserFactory
    from platformio.package.manifest.schema import ManifestSchema

    export(MODEL, tmp_path / "digits", "platformio-lib", BuildOptions(board="host", name="digits"))
    parsed = ManifestParserFactory.new_from_file(str(tmp_path / "digits/library.json")).as_dict()
    assert parsed.pop("license") == "0BSD"  # it would be looked up in SPDX's list on the network
    manifest = ManifestSchema().load_manifest(parsed)
    assert manifest["name"] == "digits" and manifest["headers"] == ["digits.h"]
    (example,) = manifest["examples"]
    assert all((tmp_path / "digits" / example["base"] / name).is_file() for name in example["files"])


_INI = """[env:f746zg]
platform = ststm32
board = nucleo_f746zg
build_flags = {flags}
extra_scripts = link.py
"""


@pytest.mark.long
@requires_package("platformio")
@requires_package("SCons")
@requires_tool("arm-none-eabi-gcc")
@requires_tool("qemu-system-arm")
def test_platformio_builds_a_project_with_the_library(core: Path, tmp_path: Path) -> None:
    export(MODEL, tmp_path / "lib/digits", "platformio-lib", BuildOptions(name="digits"))
    shutil.copytree(tmp_path / "lib/digits/examples/vectors", tmp_path / "src")
    _, script = board_files(tmp_path / "src")
    (tmp_path / "link.py").write_text(
        f'Import("env")\nenv.Append(LINKFLAGS=["{LINK[0]}", "-Wl,-T,{script}"])\nenv["LIBS"].remove("stdc++")\n'
    )
    (tmp_path / "platformio.ini").write_text(_INI.format(flags=STRICT))
    done = pio(core, "run", "--verbose", "--project-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (compiled,) = [line for line in done.stdout.splitlines() if "digits_kernels.o" in line and " -c " in line]
    assert "-O3 -ffp-contract=off" in compiled
    elf = tmp_path / ".pio/build/f746zg/firmware.elf"
    assert run_in_qemu(elf) == "digits: 4 of 4 test vectors right\n"


def test_the_manifest_of_a_component(tmp_path: Path) -> None:
    export(MODEL, tmp_path / "digits", "esp-idf", BuildOptions(board="esp32", name="digits"))
    manifest = yaml.safe_load((tmp_path / "digits/idf_component.yml").read_text())
    assert manifest["targets"] == ["esp32"] and manifest["dependencies"] == {"idf": ">=5.0"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])


@pytest.mark.parametrize(("form", "board", "fitting"), [("esp-idf", "f411re", "c, cmake, platformio-lib")])
def test_boards_that_a_form_is_not_for(form: str, board: str, fitting: str, tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match=f"--as {form} is not for this board") as caught:
        export(MODEL, tmp_path / "out", form, BuildOptions(board=board))
    assert f"For {board}: --as {fitting}" in caught.value.fix and not (tmp_path / "out").exists()
