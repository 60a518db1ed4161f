"""A vendor's kernel library built for one board: how much scratch its functions want.

Scratch is what the library's own functions say when they run on the board's core, built by the board's compiler,
because the answer depends on both. For a vector unit that nothing here compiles, this computer asks the same function.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

from tinygen.claims import Claim
from tinygen.errors import TinygenError
from tinygen.files import temporary_folder
from tinygen.lowering.plan import VendorCall
from tinygen.lowering.program import Program
from tinygen.targets.board import Board
from tinygen.targets.emulator.bare import BareCore
from tinygen.targets.emulator.counting import Watch
from tinygen.targets.toolchain import HostCode, build_executable, build_flat
from tinygen.targets.toolchains.base import Toolchain
from tinygen.targets.vendors import Checkout

_ARGUMENTS = 0x30000000


def library_functions(programs: Sequence[Program]) -> tuple[str, ...]:
    """The library functions the programs' C calls; empty when it needs no library."""
    plans = [step.plan for program in programs for step in program.layers]
    calls = [plan.library for plan in plans if plan.library is not None]
    return tuple(sorted({function for call in calls for function in call.functions}))


class VendorLibrary:
    """A library built for one board by one compiler (a `VendorLibrary` of lowering).

    Args:
        checkout: the library.
        board: its core runs the library's functions; the host runs them natively.
        toolchain: builds them.
    """

    def __init__(self, checkout: Checkout, board: Board, toolchain: Toolchain) -> None:
        self.checkout, self.board, self.toolchain = checkout, board, toolchain
        self.place = checkout.vendor.place
        self._answers: dict[VendorCall, int] = {}
        self._cores: dict[str, BareCore] = {}

    def scratch_bytes(self, call: VendorCall) -> int:
        """Bytes of scratch, by the library's own function.

        Raises:
            TinygenError: this library lacks a function, or the emulator is missing.
        """
        self.checkout.sources(call.functions)
        if not call.buffer_query:
            return 0
        if call not in self._answers:
            size = self._on_host(call) if self._is_native else self._on_core(call)
            if size < 0:
                raise TinygenError(f"{call.buffer_query} answers {size}", where=str(self.checkout.path))
            self._answers[call] = size
        return self._answers[call]

    @property
    def _is_native(self) -> bool:
        """Whether this computer runs it: for the host, and to prove a project that only another compiler can build."""
        return self.board.is_host or self.board.is_project_only

    def add_to(self, programs: Sequence[Program], project: Path) -> dict[str, str] | None:
        """Copies what the programs call into `project`; gives what the manifest says of it.

        Returns:
            name, commit ("" when the folder is no git checkout) and SHA-256 of the copied files; None when the
            programs call nothing of the library.
        """
        functions = library_functions(programs)
        if not functions:
            return None
        self.checkout.copy(functions, project, bare=not self._is_native)
        digest = hashlib.sha256()
        for path in sorted((project / self.place.folder).glob("**/*.[ch]")):
            digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes())
        return {"name": self.checkout.vendor.title, "commit": self.checkout.commit, "sha256": digest.hexdigest()}

    def _on_core(self, call: VendorCall) -> int:
        """On an emulated core, the structs in a page of RAM."""
        query = self.checkout.true_name(call.buffer_query)
        if query not in self._cores:
            self._cores[query] = self._build_core(query)
        core = self._cores[query]
        place, arguments = _ARGUMENTS, []
        for argument in call.buffer_arguments:
            if isinstance(argument, int):
                arguments.append(argument)
            else:
                core.write(place, struct.pack(f"<{len(argument)}i", *argument))
                arguments.append(place)
                place += 4 * len(argument)
        return _signed(core.call(query, *arguments))

    def _build_core(self, function: str) -> BareCore:
        # The ELF stays as long as this object: a fault is named by its line in there.
        claim = Claim(Path(tempfile.gettempdir()))
        weakref.finalize(self, claim.release)
        folder = claim.folder
        sources = self.checkout.copy([function], folder, bare=True)
        code = HostCode(folder, sources, system_include_dirs=self.place.includes)
        elf = build_flat(code, folder / "ask.elf", self.toolchain, entries=[function])
        core = BareCore(elf, self.board.core, Watch(count=False, strict=False))
        core.map("arguments", _ARGUMENTS, 4096)
        return core

    def _on_host(self, call: VendorCall) -> int:
        """A small program of this computer asks and prints."""
        with temporary_folder() as temporary:
            folder = temporary
            sources = self.checkout.copy([call.buffer_query], folder)
            # In the library's folder: it is compiled as the library is.
            ask = folder / self.place.folder / "ask.c"
            ask.write_text(_asking_program(call, self._vector_function(call.buffer_query)))
            files = (ask.relative_to(folder).as_posix(), *sources)
            code = HostCode(folder, files, system_include_dirs=self.place.includes)
            program = build_executable(code, folder / "ask", self.toolchain)
            answer = subprocess.run([program], capture_output=True, text=True, check=True)
        return int(answer.stdout)

    def _vector_function(self, function: str) -> str:
        """The function's text, where the board's core has forms of its own that only its compiler knows."""
        if self.board.core not in self.checkout.vendor.vectors:
            return ""
        return self.checkout.vector_function(function, self.board.core)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _asking_program(call: VendorCall, function: str = "") -> str:
    """C that prints the answer; a struct of int32_t is passed as an array of them.

    Args:
        function: C text that defines what is asked, where no file of the library does that can be compiled.
    """
    lines, arguments = [], []
    for index, argument in enumerate(call.buffer_arguments):
        if isinstance(argument, int):
            arguments.append(str(argument))
        else:
            lines.append(f"    const int32_t a{index}[] = {{{', '.join(map(str, argument))}}};")
            arguments.append(f"(const void *)a{index}")
    lines.append(f'    printf("%d\\n", (int){call.buffer_query}({", ".join(arguments)}));')
    body = "\n".join(lines)
    includes = "".join(f"#include <{header}>\n" for header in call.headers)
    return f"#include <stdio.h>\n{includes}{function}int main(void)\n{{\n{body}\n    return 0;\n}}\n"
