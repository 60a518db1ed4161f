"""The block counter in C (hooks.c): built once per machine, loaded through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.cache import cache_folder
from tinygen.errors import ToolchainError
from tinygen.targets.board import MAX_LINES, MAX_REGIONS
from tinygen.targets.emulator.counting import BlockRow, Cost, Registers
from tinygen.targets.emulator.stalls import Cache, TimedCost
from tinygen.targets.toolchains.base import Toolchain
from tinygen.targets.toolchains.gcc import HostCc
from tinygen.targets.toolchains.objects import ObjectCache
from tinygen.targets.toolchains.zig import Zig, zig_folder

SLOTS = BASES = ACCESSES = 65536
ORDER = 4096
_SOURCE = Path(__file__).with_name("hooks.c")
_FAILURE = "the emulator's block counter could not be built"
_HOOK_CODE, _HOOK_BLOCK = 4, 8
_COST = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32)
_BLOCK = np.dtype(
    [
        ("count", "<u8"),
        ("stalls", "<u8"),
        ("address", "<u4"),
        ("bucket", "<u4"),
        ("instructions", "<u4"),
        ("cycles", "<u4"),
        ("size", "<u4"),
        ("accesses", "<u4"),
    ]
)


class _Region(ctypes.Structure):
    _fields_ = (("start", ctypes.c_uint32), ("end", ctypes.c_uint32), ("miss", ctypes.c_uint32))


class _Cache(ctypes.Structure):
    """cache_t of hooks.c."""

    _fields_ = (
        ("line", ctypes.c_uint32),
        ("ways", ctypes.c_uint32),
        ("sets", ctypes.c_uint32),
        ("region_count", ctypes.c_uint32),
        ("region", _Region * MAX_REGIONS),
        ("lines", ctypes.c_uint32 * MAX_LINES),
        ("victims", ctypes.c_uint32 * MAX_LINES),
    )

    def describe(self, cache: Cache) -> None:
        """Sets it up, empty."""
        self.line, self.ways, self.sets, self.region_count = cache.line, cache.ways, cache.sets, len(cache.regions)
        for place, (start, end, miss) in zip(self.region, cache.regions, strict=False):
            place.start, place.end, place.miss = start, end, miss


class _Access(ctypes.Structure):
    """access_t of hooks.c."""

    _fields_ = (
        ("offset", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("base", ctypes.c_uint8),
        ("index", ctypes.c_uint8),
        ("shift", ctypes.c_uint8),
        ("reserved", ctypes.c_uint8),
    )


class NativeCounter(ctypes.Structure):
    """counter_t of hooks.c; see `Counter`."""

    _fields_ = (
        ("reg_read", ctypes.c_void_p),
        ("mem_read", ctypes.c_void_p),
        ("emu_stop", ctypes.c_void_p),
        ("cost", ctypes.c_void_p),
        ("total", ctypes.c_uint64),
        ("cycles", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("limited", ctypes.c_uint32),
        ("invoke", ctypes.c_uint32),
        ("observer", ctypes.c_uint32),
        ("invoke_return", ctypes.c_uint32),
        ("observer_return", ctypes.c_uint32),
        ("bucket", ctypes.c_uint32),
        ("layer", ctypes.c_uint32),
        ("lost", ctypes.c_uint32),
        ("riscv", ctypes.c_uint32),
        ("link", ctypes.c_uint32),
        ("registers", ctypes.c_int32 * 32),
        ("features", ctypes.c_uint32),
        ("illegal", ctypes.c_uint32),
        ("illegal_pc", ctypes.c_uint32),
        ("illegal_address", ctypes.c_uint32),
        ("timed", ctypes.c_uint32),
        ("shared", ctypes.c_uint32),
        ("new_accesses", ctypes.c_uint32),
        ("last_block", ctypes.c_uint32),
        ("code", _Cache),
        ("data", _Cache),
        ("accesses", _Access * ACCESSES),
        ("blocks", ctypes.c_uint64 * (SLOTS * _BLOCK.itemsize // 8)),  # in this type it is aligned as in C
        ("bases", ctypes.c_uint64 * BASES),
        ("told", ctypes.c_uint32),
        ("finished", ctypes.c_uint32 * ORDER),
    )

    def install(self, uc: Any, registers: Registers, *, blocks: bool, alignment: bool, cost: Cost | None) -> None:
        from unicorn.unicorn_py3.unicorn import uclib

        for field, symbol in (("reg_read", "uc_reg_read"), ("mem_read", "uc_mem_read"), ("emu_stop", "uc_emu_stop")):
            setattr(self, field, ctypes.cast(getattr(uclib, symbol), ctypes.c_void_p).value)
        self.riscv, self.link = int(registers.riscv), registers.link
        self.registers[: len(registers.ids)] = registers.ids
        if cost is not None:
            self._time(uc, registers, cost)
            self._cost_callback = _COST(self._with_accesses(cost))  # C keeps only the address
            self.cost = ctypes.cast(self._cost_callback, ctypes.c_void_p).value
        library = load_library()
        if blocks:
            self._hook(uclib, uc, _HOOK_BLOCK, library.tinygen_on_block)
        if alignment and not registers.riscv:
            self._hook(uclib, uc, _HOOK_CODE, library.tinygen_on_instruction)

    def _time(self, uc: Any, registers: Registers, cost: Cost) -> None:
        """Lets a `TimedCost` see the registers, and sets up its caches."""
        if not isinstance(cost, TimedCost):
            return
        cost.attach(lambda number: int(uc.reg_read(registers.ids[number])))
        if cost.caches is not None:
            self.timed, self.shared = 1, int(cost.caches[0] is cost.caches[1])
            self.code.describe(cost.caches[0])
            self.data.describe(cost.caches[1])

    def _with_accesses(self, cost: Cost) -> Cost:
        """The cost, which also leaves in `accesses` what the block reads. Index 0 is the empty list."""
        if not isinstance(cost, TimedCost):
            return cost
        free = 1

        def with_accesses(address: int, size: int, instructions: int) -> int:
            nonlocal free
            cycles = cost(address, size, instructions)
            wanted = cost.accesses
            self.new_accesses = 0
            # Behind each list an entry stays free, with the size 0 that ends it.
            if wanted and free + len(wanted) < ACCESSES:
                self.new_accesses = free
                for access in wanted:
                    place = self.accesses[free]
                    place.offset, place.size = access.offset & 0xFFFFFFFF, access.size
                    place.base, place.index, place.shift = access.base, access.scaled, access.shift
                    free += 1
                free += 1
            return cycles

        return with_accesses

    def _hook(self, uclib: Any, uc: Any, kind: int, function: Any) -> None:
        everywhere = (ctypes.c_uint64(1), ctypes.c_uint64(0))
        handle = ctypes.c_size_t()
        status = uclib.uc_hook_add(
            uc._uch,
            ctypes.byref(handle),
            ctypes.c_int(kind),
            ctypes.cast(function, ctypes.c_void_p),
            ctypes.byref(self),
            *everywhere,
        )
        if status:
            raise ToolchainError(f"Unicorn refused a hook (error {status})")

    def _table(self) -> np.ndarray:
        """The counter's own memory as an array; writing to it writes to the counter."""
        return np.frombuffer(memoryview(self), _BLOCK, SLOTS, NativeCounter.blocks.offset)

    def rows(self) -> list[BlockRow]:
        table = self._table()
        used = table[(table["bucket"] > 0) & (table["count"] > 0)]
        return [
            BlockRow(address, size, bucket - 1, instructions, cycles, count, stalls)
            for count, stalls, address, bucket, instructions, cycles, size, _ in used.tolist()
        ]

    def order(self) -> list[int]:
        return list(self.finished[: self.told]) if self.told < ORDER else []

    def clear(self) -> None:
        table = self._table()
        table["count"] = table["stalls"] = 0


def _compilers() -> Iterator[Toolchain]:
    yield from (HostCc(name) for name in ("cc", "gcc", "clang") if shutil.which(name))
    if zig_folder() is not None:
        yield Zig(None)


@cache
def load_library() -> ctypes.CDLL:
    """hooks.c, built unless an earlier run has.

    Raises:
        ToolchainError: it could not be built.
    """
    try:
        return _library()
    except OSError as error:
        raise ToolchainError(_FAILURE, where=str(_SOURCE), fix=str(error)) from error


def _library() -> ctypes.CDLL:
    kept = ObjectCache(cache_folder() / "emulator")
    name = hashlib.sha256(_SOURCE.read_bytes() + f"{sys.platform} {platform.machine()}".encode()).hexdigest()
    data = kept.get(name)
    if data is not None:
        with suppress(OSError):  # of another system that shares the cache
            return _loaded(data)
    data = _build()
    kept.put(name, data)
    return _loaded(data)


def _loaded(data: bytes) -> ctypes.CDLL:
    """The library, from a file that nobody else can write.

    Raises:
        OSError: it is for another system, or programs may run from neither folder.
    """
    with suppress(OSError):
        return _loaded_in(cache_folder(), data)
    return _loaded_in(None, data)


def _loaded_in(place: Path | None, data: bytes) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(dir=place, prefix=".new-", ignore_cleanup_errors=True) as folder:
        library = Path(folder) / "hooks.so"
        library.write_bytes(data)
        return ctypes.CDLL(str(library))


def _build() -> bytes:
    """The library by the first compiler that can.

    Raises:
        ToolchainError: none can.
    """
    problem = ""
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        built = Path(folder) / "hooks.so"
        for compiler in _compilers():
            command = ["-shared", "-fPIC", "-O2", "-std=c99", str(_SOURCE), "-o", str(built)]
            done = compiler.run(command, Path(folder))
            if done.returncode == 0:
                return built.read_bytes()
            problem = done.stderr[-500:]
    fix = problem or "Install a C compiler, or: pip install ziglang"
    raise ToolchainError(_FAILURE, where=str(_SOURCE), fix=fix)
