"""RV32IMC code as `Instruction`s, for the core of the ESP32-C3."""

from __future__ import annotations

from functools import cache
from typing import Any

from tinygen.errors import ToolchainError
from tinygen.targets.cycles.instruction import Instruction, Kind

try:
    import capstone
except ImportError:  # an extra; decode_riscv says so when it is wanted
    capstone = None

_LOADS = {"lb": 1, "lbu": 1, "lh": 2, "lhu": 2, "lw": 4}
_STORES = {"sb": 1, "sh": 2, "sw": 4}
_BRANCHES = {"beq", "bne", "blt", "bge", "bltu", "bgeu", "beqz", "bnez", "blez", "bgez", "bltz", "bgtz"}
_JUMPS = {"j", "jal", "jr", "jalr", "ret"}
_SHIFTS = {"sll", "slli", "srl", "srli", "sra", "srai"}
_REGISTER, _IMMEDIATE, _MEMORY = 1, 2, 3


@cache
def _disassembler() -> Any:
    if capstone is None:
        raise ToolchainError("Capstone, the disassembler, is not installed", fix="pip install 'tinygen[emulator]'")
    engine = capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC)
    engine.detail = True
    return engine


def decode_riscv(code: bytes, address: int) -> list[Instruction]:
    """The instructions of `code`, which lies at `address`; stops before what is no instruction.

    Raises:
        ToolchainError: Capstone is not installed.
    """
    return [_instruction(found) for found in _disassembler().disasm(code, address)]


def _instruction(found: Any) -> Instruction:
    name = found.mnemonic.removeprefix("c.")
    base_name = {"addi16sp": "addi", "addi4spn": "addi", "lwsp": "lw", "swsp": "sw"}.get(name, name)
    names = [found.reg_name(o.reg) for o in found.operands if o.type == _REGISTER]
    fields: dict[str, Any] = {
        "address": found.address,
        "size": found.size,
        "name": base_name,
        "text": f"{name} {found.op_str}".strip(),
        "kind": Kind.ALU,
        "reads": set(names[1:]),
        "writes": set(names[:1]),
        "operands": _operands(found),
    }
    if base_name in _LOADS or base_name in _STORES:
        fields |= _access(found, base_name, names)
    elif base_name in _BRANCHES or base_name in _JUMPS:
        fields |= _branch(found, base_name, names)
    elif base_name.startswith("mul"):
        fields["kind"] = Kind.LONG_MAC if "h" in base_name else Kind.MAC
    elif base_name.startswith(("div", "rem")):
        fields["kind"] = Kind.DIVIDE
    elif base_name in _SHIFTS:
        fields["kind"] = Kind.SHIFT
    elif base_name in ("fence", "fence.i", "ecall", "ebreak"):
        fields |= {"kind": Kind.BARRIER, "reads": set(), "writes": set()}
    if found.size == 2 and fields["kind"] in (Kind.ALU, Kind.SHIFT) and base_name not in ("mv", "li", "lui"):
        fields["reads"] = fields["reads"] | fields["writes"]  # compressed: the destination is a source
    return Instruction(**fields | {key: frozenset(fields[key] - {"zero"}) for key in ("reads", "writes")})


def _operands(found: Any) -> tuple[str | int, ...]:
    """Registers and immediates as written."""
    plain = [o for o in found.operands if o.type in (_REGISTER, _IMMEDIATE)]
    return tuple(found.reg_name(o.reg) if o.type == _REGISTER else int(o.imm) for o in plain)


def _access(found: Any, name: str, names: list[str]) -> dict[str, Any]:
    memory = next((o.mem for o in found.operands if o.type == _MEMORY), None)
    # Compressed accesses come as register, offset and base.
    base = found.reg_name(memory.base) if memory else names[-1]
    offset = int(memory.disp) if memory else next((int(o.imm) for o in found.operands if o.type == _IMMEDIATE), 0)
    value = {names[0]}
    load = name in _LOADS
    return {
        "kind": Kind.LOAD if load else Kind.STORE,
        "reads": {base} if load else value | {base},
        "writes": value if load else set(),
        "stored": frozenset(() if load else value),
        "address_registers": frozenset({base}),
        "access_bytes": _LOADS.get(name) or _STORES[name],
        "base": base,
        "offset": offset,
    }


def _branch(found: Any, name: str, names: list[str]) -> dict[str, Any]:
    immediates = [int(o.imm) for o in found.operands if o.type == _IMMEDIATE]
    conditional = name in _BRANCHES
    direct = conditional or name in ("j", "jal")
    calls = name == "jal" or (name == "jalr" and names[:1] != ["zero"])
    return {
        "kind": Kind.BRANCH,
        "reads": set(names) if conditional or name in ("jr", "jalr") else set(),
        "writes": {"ra"} if calls else set(),
        "conditional": conditional,
        "target": found.address + immediates[-1] & 0xFFFFFFFF if direct and immediates else None,
        "writes_pc": True,
        "is_call": calls,
    }
