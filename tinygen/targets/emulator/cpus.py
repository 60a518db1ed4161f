"""The emulated CPUs by name."""

from __future__ import annotations

from importlib.util import find_spec

from tinygen.errors import BoardError, ToolchainError
from tinygen.extras import install_text
from tinygen.targets.emulator.cpu import Cpu


def need_emulator() -> None:
    """
    Raises:
        ToolchainError: Unicorn is not installed.
    """
    if find_spec("unicorn") is None:
        raise ToolchainError("Unicorn, the CPU emulator, is not installed", fix=install_text("emulator"))


def new_cpu(core: str) -> Cpu:
    """A CPU of that name.

    Raises:
        ToolchainError: Unicorn is not installed.
        BoardError: it has no such core.
    """
    need_emulator()
    # Here, not above: both need Unicorn, which is an extra.
    from tinygen.targets.emulator import cpu_arm, cpu_riscv

    if core in cpu_arm.MODELS:
        return cpu_arm.ArmCpu(core)
    if core in cpu_riscv.EXTENSIONS:
        return cpu_riscv.RiscvCpu(core)
    known = ", ".join((*cpu_arm.MODELS, *cpu_riscv.EXTENSIONS))
    raise BoardError(f"there is no emulated {core}", fix=f"There are: {known}.")
