"""Arm's CMSIS-NN library, from the user's own checkout: which of its files a model needs, and how much scratch.

Nothing of the library is part of tinygen. Scratch is what the library's own `*_get_buffer_size` functions say when
they run on the board's core, built by the board's compiler, because the answer depends on both.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from tinygen.errors import TinygenError
from tinygen.lowering.plan import LibraryCall
from tinygen.lowering.program import Program
from tinygen.targets.board import Board
from tinygen.targets.emulator.bare import BareCore
from tinygen.targets.toolchain import HostCode, build_executable, build_flat
from tinygen.targets.toolchains.base import LIBRARY_FOLDER, LIBRARY_INCLUDE, Toolchain

VARIABLE = "CMSIS_NN_PATH"
URL = "https://github.com/ARM-software/CMSIS-NN"
COMMIT = "99f736a63036613032f9b70de36b493bcd7802d4"
"""The state of the library that tinygen was tried with (July 2026, after release 7.0.0)."""

_ARGUMENTS = 0x30000000
_HOW = (
    f"Get it with: git clone {URL} CMSIS-NN && git -C CMSIS-NN checkout {COMMIT}\n"
    f"and name the folder with --cmsis-nn PATH or in {VARIABLE}."
)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_FUNCTION = re.compile(r"^[A-Za-z_][^;{}#=]*?\b(\w+)\s*\([^;{}]*\)\s*\{(.*?)^\}", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"^(?:extern )?const \w+ (\w+)\[[^\]]*\]\s*=", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z_]\w+\b")


def find_checkout(path: Path | None) -> Checkout:
    """The library in folder `path`, or in the one that CMSIS_NN_PATH names.

    Raises:
        TinygenError: no path is given, or it is not a CMSIS-NN.
    """
    named = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is None:
        raise TinygenError("the kernels of CMSIS-NN need the library, and no path to it is given", fix=_HOW)
    if not (named / "Include/arm_nnfunctions.h").is_file() or not (named / "Source").is_dir():
        what = "is not CMSIS-NN: Include/arm_nnfunctions.h or Source/ is missing"
        raise TinygenError(what, where=str(named), fix=_HOW)
    return Checkout(named.resolve())


class Checkout:
    """CMSIS-NN's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _definitions(self) -> dict[str, tuple[str, frozenset[str]]]:
        """Function or table -> (file that defines it, names it mentions). Inline functions of headers count too."""
        found: dict[str, tuple[str, frozenset[str]]] = {}
        for file in sorted([*self.path.glob("Source/**/*.c"), *self.path.glob("Include/*.h")]):
            text = _COMMENT.sub("", file.read_text(encoding="utf-8", errors="replace"))
            name = file.relative_to(self.path).as_posix()
            for match in _FUNCTION.finditer(text):
                found[match[1]] = (name, frozenset(_WORD.findall(match[2])) - {match[1]})
            found |= {table: (name, frozenset()) for table in _TABLE.findall(text)}
        return found

    def sources(self, functions: Iterable[str]) -> tuple[str, ...]:
        """C files that `functions` need, directly or not; paths relative to the checkout.

        Raises:
            TinygenError: the library has no such function.
        """
        functions = sorted(set(functions))
        for function in functions:
            if function not in self._definitions:
                raise TinygenError(
                    f"this CMSIS-NN has no {function}", where=str(self.path), fix=f"It is too old or too new.\n{_HOW}"
                )
        reached, waiting = set(functions), list(functions)
        while waiting:
            wanted = (self._definitions[waiting.pop()][1] & self._definitions.keys()) - reached
            reached |= wanted
            waiting += wanted
        return tuple(sorted({file for name in reached if (file := self._definitions[name][0]).endswith(".c")}))

    def headers(self) -> tuple[str, ...]:
        """All its headers, relative to the checkout: those of Include/, and those beside the sources."""
        found = [*self.path.glob("Include/**/*.h"), *self.path.glob("Source/**/*.h")]
        return tuple(sorted(file.relative_to(self.path).as_posix() for file in found))

    def copy(self, functions: Iterable[str], project: Path) -> tuple[str, ...]:
        """Copies what `functions` need into `project`/cmsis-nn. Gives the sources, relative to `project`."""
        sources = self.sources(functions)
        licence = ("LICENSE",) if (self.path / "LICENSE").is_file() else ()
        for name in (*sources, *self.headers(), *licence):
            target = project / LIBRARY_FOLDER / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path / name, target)
        return tuple(f"{LIBRARY_FOLDER}/{name}" for name in sources)

    @cached_property
    def commit(self) -> str:
        """The commit that is checked out; "" when the folder is no git checkout."""
        if not (self.path / ".git").exists():
            return ""
        command = ["git", "-C", str(self.path), "rev-parse", "HEAD"]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return result.stdout.strip()


def library_functions(programs: Sequence[Program]) -> tuple[str, ...]:
    """The library functions the programs' C calls; empty when it needs no library."""
    plans = [step.plan for program in programs for step in program.layers]
    calls = [plan.library for plan in plans if plan.library is not None]
    return tuple(sorted({function for call in calls for function in call.functions}))


class CmsisNn:
    """CMSIS-NN built for one board by one compiler (a `KernelLibrary` of lowering).

    Args:
        checkout: the library.
        board: its core runs the library's functions; the host runs them natively.
        toolchain: builds them.
    """

    def __init__(self, checkout: Checkout, board: Board, toolchain: Toolchain) -> None:
        self.checkout, self.board, self.toolchain = checkout, board, toolchain
        self._answers: dict[LibraryCall, int] = {}
        self._cores: dict[str, BareCore] = {}

    def scratch_bytes(self, call: LibraryCall) -> int:
        """Bytes of scratch, by the library's own function.

        Raises:
            TinygenError: this CMSIS-NN lacks a function, or the emulator is missing.
        """
        self.checkout.sources(call.functions)
        if not call.buffer_query:
            return 0
        if call not in self._answers:
            size = self._on_host(call) if self.board.is_host else self._on_core(call)
            if size < 0:
                raise TinygenError(f"{call.buffer_query} answers {size}", where=str(self.checkout.path))
            self._answers[call] = size
        return self._answers[call]

    def add_to(self, programs: Sequence[Program], project: Path) -> dict[str, str] | None:
        """Copies what the programs call into `project`; gives what the manifest says of it.

        Returns:
            name, commit ("" when the folder is no git checkout) and SHA-256 of the copied files; None when the
            programs call nothing of the library.
        """
        functions = library_functions(programs)
        if not functions:
            return None
        self.checkout.copy(functions, project)
        digest = hashlib.sha256()
        for path in sorted((project / LIBRARY_FOLDER).glob("**/*.[ch]")):
            digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes())
        return {"name": "CMSIS-NN", "commit": self.checkout.commit, "sha256": digest.hexdigest()}

    def _on_core(self, call: LibraryCall) -> int:
        """On an emulated core, the structs in a page of RAM."""
        if call.buffer_query not in self._cores:
            self._cores[call.buffer_query] = self._build_core(call.buffer_query)
        core = self._cores[call.buffer_query]
        place, arguments = _ARGUMENTS, []
        for argument in call.buffer_arguments:
            if isinstance(argument, int):
                arguments.append(argument)
            else:
                core.write(place, struct.pack(f"<{len(argument)}i", *argument))
                arguments.append(place)
                place += 4 * len(argument)
        return _signed(core.call(call.buffer_query, *arguments))

    def _build_core(self, function: str) -> BareCore:
        # The ELF stays as long as this object: a fault is named by its line in there.
        folder = Path(tempfile.mkdtemp(prefix="tinygen-cmsis-nn-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        sources = self.checkout.copy([function], folder)
        code = HostCode(folder, sources, system_include_dirs=(LIBRARY_INCLUDE,))
        elf = build_flat(code, folder / "ask.elf", self.toolchain, entries=[function])
        core = BareCore(elf, self.board.core, count=False, strict=False)
        core.map("arguments", _ARGUMENTS, 4096)
        return core

    def _on_host(self, call: LibraryCall) -> int:
        """A small program of this computer asks and prints."""
        with tempfile.TemporaryDirectory(prefix="tinygen-cmsis-nn-") as temporary:
            folder = Path(temporary)
            sources = self.checkout.copy([call.buffer_query], folder)
            (folder / "ask.c").write_text(_asking_program(call))
            code = HostCode(folder, ("ask.c", *sources), system_include_dirs=(LIBRARY_INCLUDE,))
            program = build_executable(code, folder / "ask", self.toolchain)
            answer = subprocess.run([program], capture_output=True, text=True, check=True)
        return int(answer.stdout)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _asking_program(call: LibraryCall) -> str:
    """C that prints the answer; a struct of int32_t is passed as an array of them."""
    lines, arguments = [], []
    for index, argument in enumerate(call.buffer_arguments):
        if isinstance(argument, int):
            arguments.append(str(argument))
        else:
            lines.append(f"    const int32_t a{index}[] = {{{', '.join(map(str, argument))}}};")
            arguments.append(f"(const void *)a{index}")
    lines.append(f'    printf("%d\\n", (int){call.buffer_query}({", ".join(arguments)}));')
    body = "\n".join(lines)
    return f"#include <stdio.h>\n#include <{call.header}>\nint main(void)\n{{\n{body}\n    return 0;\n}}\n"
