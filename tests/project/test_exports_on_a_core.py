"""Examples of exported libraries on QEMU's Cortex-M7; compiled for RISC-V, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.project.test_exports import STRICT, run
from tests.support.branches import gated
from tests.support.integer_layers import levels
from tests.support.models import KWS, RESNET, needs_models
from tests.support.pruned import pruned
from tests.support.semihosting import CORE, LINK, board_files, run_in_qemu
from tests.support.switchable import small_graph, small_network
from tests.targets.tools import requires_tool
from tinygen.demo import MODEL
from tinygen.frontends.load import load_model
from tinygen.frontends.memory import MemoryModel
from tinygen.paths import resource
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.export import export

pytestmark = pytest.mark.long

Made = Path | MemoryModel
_MODELS: dict[str, Callable[[], Made]] = {
    "kws": lambda: KWS,
    "resnet": lambda: RESNET,
    "w2a2": lambda: MemoryModel(small_graph("few", levels(2, True), levels(2)), "few"),
    "pruned": lambda: MemoryModel(pruned(load_model(MODEL), 0.2), "pruned"),
    "switches": lambda: MemoryModel(small_network(), "net"),
    "branches": lambda: MemoryModel(gated(), "gated"),
}


def flash_of(elf: Path, name: str) -> int:
    """Bytes of all functions and constants whose names begin with the library's; not of the example's vectors."""
    with elf.open("rb") as file:
        symbols = [(s.name, s["st_size"]) for s in ELFFile(file).get_section_by_name(".symtab").iter_symbols()]
    return sum(size for one, size in symbols if one.startswith(f"{name}_") and not one.startswith(f"{name}_vectors"))


@needs_models
@requires_tool("arm-none-eabi-gcc")
@requires_tool("qemu-system-arm")
@pytest.mark.parametrize("name", _MODELS)
def test_on_a_cortex_m7(name: str, tmp_path: Path) -> None:
    """All vectors right; the library in the program is the model and its kernels."""
    content = export(_MODELS[name](), tmp_path / "library", "c", BuildOptions()).as_json()
    start, script = board_files(tmp_path)
    library = tmp_path / "library"
    sources = [*sorted((library / "src").glob("*.c")), library / "example/main.c", start]
    split = ["-ffunction-sections", "-fdata-sections"]
    flags = [*CORE, *LINK, "-std=c99", "-O3", *split, *STRICT.split(), f"-I{library / 'include'}", "-T", script]
    run("arm-none-eabi-gcc", *flags, *sources, "-o", "x.elf", cwd=tmp_path)
    count = content["vectors"]
    assert run_in_qemu(tmp_path / "x.elf") == f"{content['model']}: {count} of {count} test vectors right\n"
    # Another compiler's than that of the figures; weights are the same.
    assert content["weight_bytes"] <= flash_of(tmp_path / "x.elf", content["model"]) < 1.25 * content["flash_bytes"]


@needs_models
def test_against_the_whole_firmware(tmp_path: Path) -> None:
    """The library takes what the firmware says of its model, and what nobody calls there."""
    content = export(KWS, tmp_path / "library", "c", BuildOptions()).as_json()
    firmware = build(KWS, tmp_path / "firmware", BuildOptions(), profile=False).manifest
    assert content["build_id"] == firmware.build_id
    assert 0 <= content["flash_bytes"] - firmware.flash_model_bytes < 300
    assert firmware.flash_bytes - content["flash_bytes"] > 10_000
    assert content["ram_bytes"] == firmware.arena_bytes


@requires_tool("riscv64-unknown-elf-gcc")
@pytest.mark.parametrize("name", ["w2a2", "switches"])
def test_compiled_for_risc_v(name: str, tmp_path: Path) -> None:
    export(_MODELS[name](), tmp_path / "library", "c", BuildOptions(board="esp32c3"))
    libc = ["-ffreestanding", "-isystem", str(resource("firmware") / "libc/include")]
    core = ["-march=rv32imc", "-misa-spec=2.2", "-mabi=ilp32", "-std=c99", "-O3", *STRICT.split(), *libc]
    for source in (tmp_path / "library/src").glob("*.c"):
        run("riscv64-unknown-elf-gcc", *core, f"-I{tmp_path / 'library/include'}", "-c", source, cwd=tmp_path)
