"""Exported libraries in the ecosystems that they are for: built as their users would, where the tools are here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from tests.project.test_platformio import core, pio
from tests.support.networks import Network
from tests.support.semihosting import LINK, board_files, run_in_qemu
from tests.support.vendor_library import needs_cmsis_nn, needs_esp_nn
from tests.targets.tools import requires_package, requires_tool
from tinygen.builds.folder import files_in
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


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is compiled in no time."""
    network = Network(1)
    network.conv(network.input(5, 6, 3), 4, 3)
    path = tmp_path_factory.mktemp("small") / "net.tflite"
    path.write_bytes(network.model())
    return path


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
@pytest.mark.parametrize("form", ["c", "cmake"])
def test_the_commands_of_the_readme(form: str, tmp_path: Path) -> None:
    """As they stand there, in the library's folder, one after the other."""
    export(MODEL, tmp_path / "digits", form, BuildOptions(board="f746zg", name="digits"))
    readme = (tmp_path / "digits/README.md").read_text()
    commands = re.findall(r"^\$ (.+)$", readme, re.MULTILINE)
    assert commands
    said = [run("sh", "-c", command, cwd=tmp_path / "digits") for command in commands]
    answers = re.findall(r"^digits: .* right$", readme, re.MULTILINE)
    assert all(f"{answer}\n" in said for answer in answers) and len(answers) == (form == "c")


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
def test_the_manifest_of_a_platformio_library(small: Path, tmp_path: Path) -> None:
    """PlatformIO's own schema takes it; every file that it names is there."""
    from platformio.package.manifest.parser import ManifestParserFactory
    from platformio.package.manifest.schema import ManifestSchema

    export(small, tmp_path / "digits", "platformio-lib", BuildOptions(board="host", name="digits"))
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


def test_the_manifest_of_a_component(small: Path, tmp_path: Path) -> None:
    export(small, tmp_path / "digits", "esp-idf", BuildOptions(board="esp32", name="digits"))
    manifest = yaml.safe_load((tmp_path / "digits/idf_component.yml").read_text())
    assert manifest["targets"] == ["esp32"] and manifest["dependencies"] == {"idf": ">=5.0"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])


@pytest.mark.long
@needs_cmsis_nn
@requires_tool("cmake")
def test_cmsis_nn_comes_along(tmp_path: Path) -> None:
    """The called files are in the package; in a CMSIS pack it is Arm's own; an Arduino library cannot have it."""
    options = BuildOptions(board="f746zg", name="digits", kernels="cmsis-nn")
    export(MODEL, tmp_path / "digits", "cmake", options)
    run("cmake", "-S", "digits", "-B", "build", cwd=tmp_path)
    run("cmake", "--build", "build", cwd=tmp_path)
    assert "100% tests passed" in run("ctest", "--test-dir", "build", cwd=tmp_path)
    export(MODEL, tmp_path / "pack", "cmsis-pack", options)
    package = ElementTree.parse(tmp_path / "pack/tinygen.digits.pdsc").getroot()
    (needed,) = package.iter("require")
    assert needed.attrib == {"Cclass": "CMSIS", "Cgroup": "NN Lib"} and not (tmp_path / "pack/cmsis-nn").exists()
    with pytest.raises(TinygenError, match="form arduino cannot bring CMSIS-NN") as caught:
        export(MODEL, tmp_path / "no", "arduino", options)
    assert "take one of: c, cmake, platformio-lib, zephyr, cmsis-pack." in caught.value.fix


@pytest.mark.long
@needs_esp_nn
def test_esp_nn_is_a_dependency_of_the_component(tmp_path: Path) -> None:
    export(MODEL, tmp_path / "digits", "esp-idf", BuildOptions(board="esp32c3", name="digits", kernels="esp-nn"))
    manifest = yaml.safe_load((tmp_path / "digits/idf_component.yml").read_text())
    assert re.fullmatch(r"==\d+\.\d+\.\d+", manifest["dependencies"]["espressif/esp-nn"])
    assert not (tmp_path / "digits/esp-nn").exists()
    assert "only one of them may run" in (tmp_path / "digits/README.md").read_text()


@pytest.mark.long
@requires_tool("g++")
@pytest.mark.parametrize("floats", [False, True])
def test_arduino(floats: bool, tmp_path: Path) -> None:
    """Library and sketch with a core's flags, and a stand-in for the core itself."""
    network = Network(1, "float32")
    network.conv(network.input(5, 6, 3), 4, 3)
    (tmp_path / "net.tflite").write_bytes(network.model())
    model = tmp_path / "net.tflite" if floats else MODEL
    export(model, tmp_path / "digits", "arduino", BuildOptions(board="f411re", name="digits"))
    library, sketch = tmp_path / "digits/src", tmp_path / "digits/examples/Vectors"
    common = ["-Os", "-ffunction-sections", "-fdata-sections", *STRICT.split(), f"-I{library}"]
    for source in library.glob("*.c"):
        run("gcc", "-std=gnu11", *common, "-c", source, cwd=tmp_path)
    here = [f"-I{STAND_INS / 'arduino'}", f"-I{sketch}"]
    cpp = ["-std=gnu++17", "-fno-exceptions", "-fno-rtti", "-include", "Arduino.h", "-x", "c++"]
    run("g++", *common, *here, *cpp, "-c", sketch / "Vectors.ino", "-o", "sketch.o", cwd=tmp_path)
    run("g++", *sorted(tmp_path.glob("*.o")), "-o", "run", cwd=tmp_path)
    within = ", floats within 1e-05 of the largest" if floats else ""
    assert run(tmp_path / "run", cwd=tmp_path) == f"digits: 4 of 4 test vectors right{within}, microseconds: 0\n"


_CATEGORIES = (
    "Display, Communication, Signal Input/Output, Sensors, Device Control, Timing, Data Storage, Data Processing, Other"
)


def test_properties_of_an_arduino_library(small: Path, tmp_path: Path) -> None:
    """The rules of the library specification, revision 2.2."""
    options = BuildOptions(board="f411re", name="net", url="https://example.com/net")
    export(small, tmp_path / "net", "arduino", options)
    lines = (tmp_path / "net/library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    wanted = "name version author maintainer sentence paragraph category url architectures includes"
    assert list(properties) == wanted.split() and len(lines) == len(properties)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", properties["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", properties["version"])
    assert properties["category"] in _CATEGORIES.split(", ")
    cores = properties["architectures"].split(",")
    assert {"mbed_nano", "mbed_portenta", "esp32"} <= set(cores) and "avr" not in cores  # its int has 16 bits
    assert (tmp_path / "net/src" / properties["includes"]).is_file()
    (sketch,) = (tmp_path / "net/examples").iterdir()
    assert (sketch / f"{sketch.name}.ino").is_file()


@pytest.mark.long
@requires_tool("cmake")
@pytest.mark.parametrize("arena", ["y", "n"])
def test_zephyr(arena: str, tmp_path: Path) -> None:
    """Module and sample, built by CMake with a stand-in for Zephyr's functions; without its arena, there is none."""
    export(MODEL, tmp_path / "digits", "zephyr", BuildOptions(board="f746zg", name="digits"))
    sample, options = tmp_path / "digits/samples/vectors", f"-DKCONFIG=CONFIG_TINYGEN_DIGITS_STATIC_ARENA={arena}"
    zephyr = {"Zephyr_DIR": str(STAND_INS / "zephyr")}
    run("cmake", "-S", sample, "-B", "build", options, f"-DCMAKE_C_FLAGS={STRICT}", cwd=tmp_path, **zephyr)
    run("cmake", "--build", "build", cwd=tmp_path, **zephyr)
    if arena == "y":
        assert run(tmp_path / "build/app", cwd=tmp_path) == "digits: 4 of 4 test vectors right\n"
    assert ("static_arena" in run("nm", tmp_path / "build/app", cwd=tmp_path)) == (arena == "y")


@requires_package("kconfiglib")
def test_descriptions_of_a_zephyr_module(small: Path, tmp_path: Path) -> None:
    """Kconfig as Zephyr reads it; keys of module.yml and sample.yaml are those of its schemas."""
    import kconfiglib

    export(small, tmp_path / "digits", "zephyr", BuildOptions(board="host", name="digits"))
    module = yaml.safe_load((tmp_path / "digits/zephyr/module.yml").read_text())
    assert module == {
        "name": "digits",
        "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"},
        "samples": ["samples"],
    }
    read = kconfiglib.Kconfig(str(tmp_path / "digits/zephyr/Kconfig"), warn_to_stderr=False)
    assert not read.warnings and set(read.syms) >= {"TINYGEN_DIGITS", "TINYGEN_DIGITS_STATIC_ARENA"}
    assert read.syms["TINYGEN_DIGITS_STATIC_ARENA"].str_value == "n"
    read.syms["TINYGEN_DIGITS"].set_value("y")
    assert read.syms["TINYGEN_DIGITS_STATIC_ARENA"].str_value == "y"
    configured = (tmp_path / "digits/samples/vectors/prj.conf").read_text()
    assert "CONFIG_TINYGEN_DIGITS=y\n" in configured
    sample = yaml.safe_load((tmp_path / "digits/samples/vectors/sample.yaml").read_text())
    assert set(sample) == {"sample", "common", "tests"} and set(sample["sample"]) == {"name", "description"}
    assert set(sample["common"]) == {"tags", "harness", "harness_config"}
    assert sample["common"]["harness_config"]["regex"] == ["digits: 4 of 4 test vectors right"]
    ((name, settings),) = sample["tests"].items()
    assert re.fullmatch(r"[\w.]+", name) and settings == {"integration_platforms": ["native_sim"]}


def test_the_description_of_a_cmsis_pack(small: Path, tmp_path: Path) -> None:
    """Every file of the library once, each with its category; names as the specification has them."""
    export(small, tmp_path / "digits", "cmsis-pack", BuildOptions(board="f411re", name="digits"))
    (described,) = (tmp_path / "digits").glob("*.pdsc")
    package = ElementTree.parse(described).getroot()
    order = ["vendor", "name", "description", "url", "releases", "components"]
    assert [element.tag for element in package] == order
    assert described.name == f"{package.findtext('vendor')}.{package.findtext('name')}.pdsc"
    files = [(one.get("category"), one.get("name") or "") for one in package.iter("file")]
    names = [name for category, name in files if category != "include"]
    assert ("include", "include/") in files and len(set(names)) == len(names)
    listed = set(files_in(tmp_path / "digits")) - {described.name, "tinygen-export.json"}
    assert {name for name in listed if not name.startswith("src/") or name.endswith(".c")} == set(names)
    categories = {".c": "source", ".h": "header", ".md": "doc"}
    assert all(category == categories[Path(name).suffix] for category, name in files if category != "include")


_VERSIONED = {
    "cmake": ("CMakeLists.txt", "project(net VERSION 2.3.4 LANGUAGES C)"),
    "esp-idf": ("idf_component.yml", 'version: "2.3.4-rc.1"'),
    "platformio-lib": ("library.json", '"version": "2.3.4-rc.1"'),
    "arduino": ("library.properties", "version=2.3.4-rc.1"),
    "cmsis-pack": ("tinygen.net.pdsc", 'Cversion="2.3.4-rc.1"'),
}


@pytest.mark.parametrize("form", _VERSIONED)
def test_versions(form: str, small: Path, tmp_path: Path) -> None:
    board = "esp32c3" if form == "esp-idf" else "f411re"
    options = BuildOptions(board=board, name="net", version="2.3.4-rc.1")
    file, said = _VERSIONED[form]
    report = export(small, tmp_path / "wanted", form, options).as_json()
    assert said in (tmp_path / "wanted" / file).read_text() and report["version"] == "2.3.4-rc.1"
    if form != "cmake":
        return
    usual = export(small, tmp_path / "usual", form, replace(options, version=None)).as_json()
    assert re.fullmatch(r"0\.0\.[1-9]\d*", usual["version"]) and usual["build_id"] == report["build_id"]
    assert f"VERSION {usual['version']} " in (tmp_path / "usual" / file).read_text()
    with pytest.raises(TinygenError, match=r"'1\.2' is not a semantic version"):
        export(small, tmp_path / "refused", form, replace(options, version="1.2"))


_WITH_PAGE = {
    "esp-idf": ("idf_component.yml", 'url: "https://example.com/?a=1\\u0026b=2"\n'),
    "platformio-lib": ("library.json", '"homepage": "https://example.com/?a=1&b=2"'),
    "arduino": ("library.properties", "\nurl=https://example.com/?a=1&b=2\n"),
    "cmsis-pack": ("tinygen.net.pdsc", "<url>https://example.com/?a=1&amp;b=2</url>"),
}


@pytest.mark.parametrize("form", _WITH_PAGE)
def test_page(form: str, small: Path, tmp_path: Path) -> None:
    """Arduino's field is left out without one, not empty."""
    options = BuildOptions(board="esp32c3" if form == "esp-idf" else "f411re", name="net")
    file, said = _WITH_PAGE[form]
    export(small, tmp_path / "with", form, replace(options, url="https://example.com/?a=1&b=2"))
    assert said in (tmp_path / "with" / file).read_text()
    if form != "arduino":
        return
    export(small, tmp_path / "without", form, options)
    assert "url" not in (tmp_path / "without" / file).read_text()
    for wrong in ("example.com", "https://a b", "https://a\nb"):
        with pytest.raises(TinygenError, match="is not a URL"):
            export(small, tmp_path / "refused", form, replace(options, url=wrong))


@requires_tool("cmake")
@pytest.mark.parametrize(
    ("given", "level"),
    [("", "-O3"), ("-DCMAKE_C_FLAGS=-Os", "-Os"), ("-DCMAKE_BUILD_TYPE=MinSizeRel", "-Os"), ("options", "-O1")],
)
def test_the_level_of_optimisation_is_the_projects(given: str, level: str, small: Path, tmp_path: Path) -> None:
    export(small, tmp_path / "net", "cmake", BuildOptions(board="host", name="net"))
    own = "add_compile_options(-O1)\n" if given == "options" else ""
    text = f"cmake_minimum_required(VERSION 3.16)\nproject(user LANGUAGES C)\n{own}add_subdirectory(net)\n"
    (tmp_path / "CMakeLists.txt").write_text(text)
    flags = ["-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *([given] if given.startswith("-") else [])]
    run("cmake", "-S", ".", "-B", "build", *flags, cwd=tmp_path)
    commands = (tmp_path / "build/compile_commands.json").read_text()
    assert set(re.findall(r" (-O\w*)", commands)) == {level}


@pytest.mark.parametrize(
    ("form", "board", "fitting"),
    [
        ("esp-idf", "f411re", "c, cmake, platformio-lib, arduino, zephyr, cmsis-pack"),
        ("cmsis-pack", "esp32c3", "c, cmake, esp-idf, platformio-lib, arduino, zephyr"),
        ("arduino", "host", "c, cmake, platformio-lib, zephyr"),
    ],
)
def test_boards_that_a_form_is_not_for(form: str, board: str, fitting: str, tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match=f"form {form} is not for this board") as caught:
        export(MODEL, tmp_path / "out", form, BuildOptions(board=board))
    assert f"For {board}: --as {fitting}" in caught.value.fix and not (tmp_path / "out").exists()
