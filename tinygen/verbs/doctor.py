"""`tinygen doctor`: what is installed, what is missing, what it is needed for and how to get it."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from typing import Any

from tinygen.cache import CACHE_VARIABLE
from tinygen.errors import TinygenError
from tinygen.targets.flashing import FLASHERS, Flasher
from tinygen.targets.toolchains.objects import LIMIT_BYTES, object_cache
from tinygen.targets.vendors import VENDORS, Vendor, find_checkout

_PACKAGES = (
    ("ziglang", "ziglang", "the default compiler: firmware without anything else installed", "pip install ziglang"),
    ("capstone", "capstone", "predicted cycles", "pip install 'tinygen[emulator]'"),
    ("unicorn", "unicorn", "emulated boards: run and verify without hardware", "pip install 'tinygen[emulator]'"),
    ("ai-edge-litert", "LiteRT", "verify against the model's own runtime", "pip install 'tinygen[litert]'"),
    ("torch", "PyTorch", "models from PyTorch: tinygen.export, .pt2 files", "pip install 'tinygen[torch]'"),
    ("pyserial", "pyserial", "real boards on a serial port", "pip install pyserial"),
)
_PROGRAMS = (
    ("arm-none-eabi-gcc", "--toolchain gcc for STM32 boards", "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    ("riscv64-unknown-elf-gcc", "--toolchain gcc for esp32c3, esp32c6", "apt install gcc-riscv64-unknown-elf"),
    ("cc", "--board host, sanitizers (zig stands in without it)", "apt install gcc"),
    ("qemu-system-arm", "the boards netduinoplus2 and mps2-an500", "apt install qemu-system-arm"),
    ("make", "building a generated project by hand", "apt install make"),
)


def examine() -> list[dict[str, Any]]:
    """One entry per thing tinygen can use: what, found, version, needed_for, get."""
    python = sys.version.split()[0]
    entries = [_entry("Python", sys.version_info >= (3, 11), python, "everything", "Python 3.11 or newer")]
    for package, what, needed_for, get in _PACKAGES:
        version = _package_version(package)
        entries.append(_entry(what, version is not None, version or "", needed_for, get))
    for program, needed_for, get in _PROGRAMS:
        version = _program_version(program)
        entries.append(_entry(program, version is not None, version or "", needed_for, get))
    entries += [_flasher(flasher) for flasher in FLASHERS if flasher.is_tool]
    entries += [_library(vendor) for vendor in VENDORS.values()]
    entries.append(_objects())
    return entries


def _flasher(flasher: Flasher) -> dict[str, Any]:
    version = _package_version(flasher.module) if flasher.module else None
    found = version is not None or flasher.find() is not None
    version = version or _program_version(flasher.program) or ""
    needed_for = f"tinygen flash --method {flasher.name}: {flasher.boards}"
    return _entry(flasher.program, found, version, needed_for, flasher.get)


def _objects() -> dict[str, Any]:
    """The folder of cached objects, and its size."""
    cache = object_cache()
    needed_for = f"unchanged C is not compiled again; {CACHE_VARIABLE}=FOLDER moves it, =off stops it"
    if cache is None:
        return _entry("object cache", False, "", needed_for, f"unset {CACHE_VARIABLE}")
    size = f"{cache.size_bytes() / 1024**2:.1f} of at most {LIMIT_BYTES >> 20} MiB in {cache.folder}"
    return _entry("object cache", True, size, needed_for, f"{CACHE_VARIABLE}=FOLDER")


def _library(vendor: Vendor) -> dict[str, Any]:
    get = f"git clone {vendor.url}, and its folder in {vendor.variable}"
    needed_for = f"--kernels {vendor.family}, to compare with"
    try:
        checkout = find_checkout(vendor, None)
    except TinygenError:
        return _entry(vendor.title, False, "", needed_for, get)
    return _entry(vendor.title, True, checkout.commit[:12] or str(checkout.path), needed_for, get)


def _entry(what: str, found: bool, version: str, needed_for: str, get: str) -> dict[str, Any]:
    return {"what": what, "found": found, "version": version, "needed_for": needed_for, "get": get}


def _package_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _program_version(program: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        return None
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=20)
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else "present"
