"""The block counter in C: built once per machine, loaded through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tinygen.errors import ToolchainError

SLOTS = 65536
_SOURCE = Path(__file__).with_name("hooks.c")


class Block(ctypes.Structure):
    """block_t of hooks.c."""

    _fields_ = (
        ("count", ctypes.c_uint64),
        ("address", ctypes.c_uint32),
        ("bucket", ctypes.c_uint32),
        ("instructions", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
    )


class Counter(ctypes.Structure):
    """counter_t of hooks.c."""

    _fields_ = (
        ("reg_read", ctypes.c_void_p),
        ("mem_read", ctypes.c_void_p),
        ("emu_stop", ctypes.c_void_p),
        ("total", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("limited", ctypes.c_uint32),
        ("invoke", ctypes.c_uint32),
        ("observer", ctypes.c_uint32),
        ("invoke_return", ctypes.c_uint32),
        ("observer_return", ctypes.c_uint32),
        ("bucket", ctypes.c_uint32),
        ("layer", ctypes.c_uint32),
        ("lost", ctypes.c_uint32),
        ("blocks", Block * SLOTS),
    )


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tinygen"


def _compiler() -> list[str]:
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    return [sys.executable, "-m", "ziglang", "cc"]


@cache
def load_hook() -> int:
    """Address of the C function `tinygen_on_block`.

    Raises:
        ToolchainError: it could not be built.
    """
    source = _SOURCE.read_bytes()
    key = hashlib.sha256(source + sys.platform.encode()).hexdigest()[:16]
    library = _cache_folder() / f"hooks-{key}.so"
    if not library.is_file():
        _build(library)
    hook = ctypes.CDLL(str(library)).tinygen_on_block
    return int(ctypes.cast(hook, ctypes.c_void_p).value or 0)


def _build(library: Path) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        built = Path(folder) / library.name
        command = [*_compiler(), "-shared", "-fPIC", "-O2", "-std=c99", str(_SOURCE), "-o", str(built)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolchainError(
                "the emulator's block counter could not be built",
                where=" ".join(command),
                fix=done.stderr[-500:] or "Install a C compiler, or: pip install ziglang",
            )
        # A rename is atomic, so that two processes that build at once both end up with a whole file.
        built.replace(library)


def install(uc: Any, unicorn_library: Any, counter: Counter) -> None:
    """Adds the block hook to a Unicorn engine; must precede its first `emu_start`."""
    for field, symbol in (("reg_read", "uc_reg_read"), ("mem_read", "uc_mem_read"), ("emu_stop", "uc_emu_stop")):
        address = ctypes.cast(getattr(unicorn_library, symbol), ctypes.c_void_p).value
        setattr(counter, field, address)
    handle = ctypes.c_size_t()
    status = unicorn_library.uc_hook_add(
        uc._uch,
        ctypes.byref(handle),
        ctypes.c_int(8),  # UC_HOOK_BLOCK
        ctypes.c_void_p(load_hook()),
        ctypes.byref(counter),
        ctypes.c_uint64(1),
        ctypes.c_uint64(0),
    )
    if status:
        raise ToolchainError(f"Unicorn refused the block hook (error {status})")
