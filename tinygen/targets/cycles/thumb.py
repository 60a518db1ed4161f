"""Thumb code as `Instruction`s. Capstone decodes; which operand is read how, the tables here say.

Capstone 5's own lists of registers read and written are not used: they leave out the sources of SSAT, PKHBT and
UXTAB, and everything that VLDM loads.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from tinygen.errors import ToolchainError
from tinygen.targets.cycles.instruction import FLAGS, GE_FLAGS, Instruction, Kind

try:
    import capstone
except ImportError:  # an extra; decode_thumb says so when it is wanted
    capstone = None

_REGISTER, _IMMEDIATE, _MEMORY = 1, 2, 3
_LSL = 2  # capstone.arm.ARM_SFT_LSL
_ALWAYS = (0, 15)
_SHIFTS = {"lsl", "lsr", "asr", "ror", "rrx"}
_COMPARES = {"cmp", "cmn", "tst", "teq"}
_CARRY = {"adc", "sbc", "rrx"}
_BRANCHES = {"b", "bl", "bx", "blx", "cbz", "cbnz"}
_ALIASES = {"fmstat": "vmrs", "fconsts": "vmov", "fconstd": "vmov"}
_BARRIERS = {"dsb", "dmb", "isb"}
_NOPS = {
    "nop",
    "hint",
    "yield",
    "wfe",
    "wfi",
    "sev",
    "pld",
    "bkpt",
    "udf",
    "cps",
    "cpsie",
    "cpsid",
    "mrs",
    "msr",
    "svc",
}
_MULTIPLE = {
    "ldm": Kind.LOAD_MULTIPLE,
    "stm": Kind.STORE_MULTIPLE,
    "pop": Kind.LOAD_MULTIPLE,
    "push": Kind.STORE_MULTIPLE,
    "ldmdb": Kind.LOAD_MULTIPLE,
    "stmdb": Kind.STORE_MULTIPLE,
}
_FLOAT_MULTIPLE = {
    "vldmia": Kind.LOAD_MULTIPLE,
    "vldmdb": Kind.LOAD_MULTIPLE,
    "vpop": Kind.LOAD_MULTIPLE,
    "vstmia": Kind.STORE_MULTIPLE,
    "vstmdb": Kind.STORE_MULTIPLE,
    "vpush": Kind.STORE_MULTIPLE,
}
_BITS = re.compile(
    r"[su]xt|[su]bfx|bf[ic]|rev|rbit|clz|pkh|sel$|[su]sat|q(add|sub|d|asx|sax)|[su]h?(add|sub)(8|16)|uq(add|sub)"
    r"|usad|[su]h?(asx|sax)"
)
_SETS_GE = re.compile(r"[su](add|sub)(8|16)|[su](asx|sax)")
_MAC = re.compile(r"mul|ml[as]|smul|smla|smls|smua|smus|smm|umul|umla|umaal")
_LONG = re.compile(r"[su]mull|[su]mlal|smlsl|umaal")
_ACCUMULATES = re.compile(r"ml[as]|smla|smls|smml|umla|umaal")
_FLOAT_MACS = re.compile(r"vf?n?ml[as]|vfn?m[as]")


@cache
def _disassembler() -> Any:
    if capstone is None:
        raise ToolchainError("Capstone, the disassembler, is not installed", fix="pip install 'tinygen[emulator]'")
    engine = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8)
    engine.detail = True
    return engine


def decode_thumb(code: bytes, address: int) -> list[Instruction]:
    """The instructions of `code`, which lies at `address`; stops before what is no instruction.

    Raises:
        ToolchainError: Capstone is not installed.
    """
    return [_instruction(found) for found in _disassembler().disasm(code, address)]


def _instruction(found: Any) -> Instruction:
    name = _ALIASES.get(str(found.insn_name()), str(found.insn_name()))
    common: dict[str, Any] = {
        "address": found.address,
        "size": found.size,
        "name": name,
        "text": f"{found.mnemonic} {found.op_str}".strip(),
        "conditional": found.cc not in _ALWAYS and name != "it",
        "double": ".f64" in found.mnemonic,
        "operands": _operands(found),
        "left_shift": _left_shift(found),
    }
    fields = _fields(found, name)
    reads = set(fields.pop("reads", ())) - {"pc"}
    writes = set(fields.pop("writes", ())) - {"pc"}
    if common["conditional"]:
        reads.add(FLAGS)
    if (found.update_flags and not _SETS_GE.match(name)) or name in _COMPARES:
        writes.add(FLAGS)
    return Instruction(**(common | fields), reads=frozenset(reads), writes=frozenset(writes))


def _fields(found: Any, name: str) -> dict[str, Any]:
    if name in _BRANCHES or name in ("tbb", "tbh"):
        return _branch(found, name)
    if name in _MULTIPLE or name in _FLOAT_MULTIPLE:
        return _multiple(found, name)
    if name.startswith(("ldr", "str", "vldr", "vstr", "ldaex", "stlex", "lda", "stl")):
        return _single(found, name)
    if name.startswith("v"):
        return _float(found, name)
    if name == "it":
        return {"kind": Kind.IT, "reads": {FLAGS}}
    if name in _BARRIERS:
        return {"kind": Kind.BARRIER}
    if name in _NOPS:
        return {"kind": Kind.NOP}
    return _arithmetic(found, name)


def _registers(found: Any) -> list[str]:
    return [found.reg_name(o.reg) for o in found.operands if o.type == _REGISTER]


def _operands(found: Any) -> tuple[str | int, ...]:
    kept = (o for o in found.operands if o.type in (_REGISTER, _IMMEDIATE))
    return tuple(found.reg_name(o.reg) if o.type == _REGISTER else int(o.imm) for o in kept)


def _left_shift(found: Any) -> int | None:
    shifts = [(o.shift.type, o.shift.value) for o in found.operands if o.shift.type and o.shift.value]
    if not shifts:
        return 0
    return int(shifts[-1][1]) if shifts[-1][0] == _LSL else None


def _branch(found: Any, name: str) -> dict[str, Any]:
    if name in ("tbb", "tbh"):
        memory = found.operands[0].mem
        read = {found.reg_name(memory.base), found.reg_name(memory.index)}
        address = frozenset(read - {"pc"})
        return {"kind": Kind.TABLE_BRANCH, "reads": read, "address_registers": address, "writes_pc": True}
    targets = [o.imm & 0xFFFFFFFF for o in found.operands if o.type == _IMMEDIATE]
    fields: dict[str, Any] = {
        "kind": Kind.BRANCH,
        "reads": set(_registers(found)),
        "writes_pc": True,
        "is_call": name in ("bl", "blx"),
        "writes": {"lr"} if name in ("bl", "blx") else set(),
        "target": targets[0] if targets else None,
    }
    if name in ("cbz", "cbnz"):
        fields["conditional"] = True
    return fields


def _multiple(found: Any, name: str) -> dict[str, Any]:
    names = _registers(found)
    stack = name in ("push", "pop", "vpush", "vpop")
    base = "sp" if stack else names.pop(0)
    kind = _MULTIPLE.get(name) or _FLOAT_MULTIPLE[name]
    load = kind is Kind.LOAD_MULTIPLE
    return {
        "kind": kind,
        "reads": {base} if load else {base, *names},
        "writes": set(names) if load else set(),
        "stored": frozenset(() if load else names),
        "address_registers": frozenset({base}),
        "updated_base": base if stack or found.writeback else "",
        "words": sum(2 if register.startswith("d") and register[1:].isdigit() else 1 for register in names),
        "base": base,
        "float_access": name in _FLOAT_MULTIPLE,
        "writes_pc": load and "pc" in names,
    }


def _single(found: Any, name: str) -> dict[str, Any]:
    memory = next(o for o in found.operands if o.type == _MEMORY)
    names = _registers(found)
    base = found.reg_name(memory.mem.base) or ""
    index = found.reg_name(memory.mem.index) or ""
    address = {r for r in (base, index) if r}
    load = name.startswith(("ldr", "vldr", "lda"))
    pair = name in ("ldrd", "strd")
    double = any(r.startswith("d") for r in names) and name.startswith("v")
    size = 8 if pair or double else 1 if name.rstrip("t").endswith("b") else 2 if name.rstrip("t").endswith("h") else 4
    kinds = (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE) if pair else (Kind.LOAD, Kind.STORE)
    return {
        "kind": kinds[0] if load else kinds[1],
        "reads": address if load else address | set(names),
        "writes": set(names) if load else set(),
        "stored": frozenset(() if load else names),
        "address_registers": frozenset(address - {"pc"}),
        "updated_base": base if found.writeback else "",
        "words": 2 if pair else 0,
        "access_bytes": size,
        "base": base,
        # Capstone gives the step of post-indexing as an operand of its own, so `disp` is then 0, as it should be.
        "offset": int(memory.mem.disp),
        "index": index,
        "float_access": name.startswith("v"),
        "writes_pc": load and "pc" in names,
    }


def _float(found: Any, name: str) -> dict[str, Any]:
    names = _registers(found)
    if name in ("vmrs", "vmsr"):
        return {"kind": Kind.FLOAT_MOVE, "reads": {"fpscr"}, "writes": {FLAGS, *names} - {"apsr_nzcv", "fpscr"}}
    if name in ("vcmp", "vcmpe"):
        return {"kind": Kind.FLOAT, "reads": set(names), "writes": {"fpscr"}}
    core = [r for r in names if r[0] not in "sdq" or r == "sp"]
    if name == "vmov" and core:
        outward = names[0] in core
        writes = {r for r in names if (r in core) == outward}
        return {"kind": Kind.FLOAT_MOVE, "reads": set(names) - writes, "writes": writes, "words": len(core)}
    accumulates = bool(_FLOAT_MACS.match(name))
    kind = Kind.FLOAT_MAC if accumulates else Kind.FLOAT_DIVIDE if name in ("vdiv", "vsqrt") else Kind.FLOAT
    reads = set(names) if accumulates else set(names[1:])
    return {
        "kind": kind,
        "reads": reads,
        "writes": set(names[:1]),
        "accumulated": frozenset(names[:1]) - frozenset(names[1:]) if accumulates else frozenset(),
    }


def _arithmetic(found: Any, name: str) -> dict[str, Any]:
    operands = [o for o in found.operands if o.type == _REGISTER]
    names = [found.reg_name(o.reg) for o in operands]
    long = bool(_LONG.match(name))
    results = 0 if name in _COMPARES else 2 if long else 1
    writes, reads = set(names[:results]), set(names[results:])
    # "adds r0, #1" and "eors r0, r1" name once a register that they read and write.
    if (operands and operands[0].access & 1) or name in ("bfi", "bfc", "movt"):
        reads |= writes
    shifted = frozenset(found.reg_name(o.reg) for o in operands if o.shift.type and o.shift.value)
    fields: dict[str, Any] = {"kind": Kind.ALU, "reads": reads, "writes": writes}
    if _BITS.match(name):
        fields["kind"] = Kind.BITS
        if _SETS_GE.match(name):
            writes.add(GE_FLAGS)
        if name == "sel":
            reads.add(GE_FLAGS)
    elif _MAC.match(name):
        fields["kind"] = Kind.LONG_MAC if long else Kind.MAC
        if _ACCUMULATES.match(name):
            added = set(names[:2]) if long else set(names[3:])
            reads |= added
            fields["accumulated"] = frozenset(added - set(names[results : results + 2]))
    elif name in ("sdiv", "udiv"):
        fields["kind"] = Kind.DIVIDE
    elif name in _SHIFTS:
        fields["kind"] = Kind.SHIFT
    elif shifted:
        fields |= {"kind": Kind.SHIFTED, "shifted": shifted}
    if name in _CARRY:
        reads.add(FLAGS)
    if "pc" in writes:
        fields |= {"kind": Kind.BRANCH, "writes_pc": True}
    return fields
