"""The common parts of all forms of an exported library.

A library is the model's C, its header apart from the rest; an example that runs test vectors; and a README. A form adds
the files of its build system, and defines the folder layout.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinygen.emit.ctext import array_lines
from tinygen.emit.templates import environment
from tinygen.project.exports.listener import Listener
from tinygen.targets.board import Board
from tinygen.targets.toolchains.libraries import LibraryPlace
from tinygen.targets.vendors import Checkout, Vendor
from tinygen.version import VERSION


@dataclass(frozen=True, eq=False)
class Vectors:
    """Inputs, and the outputs that the model gives for them, as they lie in memory.

    Attributes:
        inputs: of each input, [vectors, elements].
        outputs: of each switch and output, [vectors, elements]. A model with states takes the vectors in order,
            starting from reset states.
        tolerance: the largest difference of floats that is right, as a part of the largest value in an output.
    """

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[tuple[np.ndarray, ...], ...]
    tolerance: float

    def __len__(self) -> int:
        return len(self.inputs[0])


@dataclass(frozen=True, eq=False)
class Library:
    """A model as a library.

    Attributes:
        name: in C.
        board: target of the choice of kernels and memories.
        files: text of the model's C by file name.
        interface: facts about the model for templates, see `tinygen.emit.model.interface_of`.
        vectors: for the example.
        build_id: of the C.
        version: of the library, MAJOR.MINOR.PATCH, perhaps with -PRERELEASE and +METADATA.
        url: of the library's page; "" for none.
        facts: (what, value) of the README's table.
        vendor: of a vendor's kernels that the C calls.
        functions: those of the vendor's functions that are called.
        listener: detects words in sound; None for a library that does not.
        with_proof: the C has comments for Frama-C, and what runs it comes along.
    """

    name: str
    board: Board
    files: Mapping[str, str]
    interface: Mapping[str, Any]
    vectors: Vectors
    build_id: str
    version: str
    url: str = ""
    facts: Sequence[tuple[str, str]] = ()
    vendor: Checkout | None = None
    functions: tuple[str, ...] = ()
    listener: Listener | None = None
    with_proof: bool = False

    @property
    def all_files(self) -> Mapping[str, str]:
        """The model's, and the listener's."""
        return self.files if self.listener is None else {**self.files, **self.listener.files}

    @property
    def headers(self) -> tuple[str, ...]:
        """Public ones."""
        return (self.header, *(() if self.listener is None else self.listener.headers))

    @property
    def header(self) -> str:
        """The header that a user of the model includes."""
        return f"{self.name}.h"

    @property
    def c_files(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.all_files if name.endswith(".c")))

    @property
    def runs(self) -> int:
        """Number of results that the example compares."""
        if self.listener is not None:
            return len(self.listener.expected.sound)
        return len(self.vectors) * len(self.vectors.outputs)

    @property
    def tolerance(self) -> float:
        """That of the vectors, if the example compares floats; else 0."""
        floats = any(rows.dtype.kind == "f" for rows in self.vectors.outputs[0])
        return self.vectors.tolerance if floats and self.listener is None else 0.0

    @property
    def verdict(self) -> str:
        """What the example prints behind the number of right results."""
        if self.listener is not None:
            return "hops of sound right"
        within = f", floats within {self.tolerance:g} of the largest" if self.tolerance else ""
        return f"test vectors right{within}"

    @property
    def alignment(self) -> int:
        """Alignment of the arena, in bytes."""
        return int(self.interface["arena_align"])


@dataclass(frozen=True)
class Layout:
    """The folder layout of a form, relative to its folder.

    Attributes:
        header: folder of the public header; sources: of all other C; example: of the example's files.
        main: the example's main file.
    """

    header: str = "include"
    sources: str = "src"
    example: str = "example"
    main: str = "main.c"


@dataclass(frozen=True)
class Written:
    """The content of a library's folder.

    Attributes:
        sources: C files of the library, vendor's among them.
        vendor_includes: folders of the vendor's headers.
    """

    layout: Layout
    sources: tuple[str, ...]
    vendor_includes: tuple[str, ...] = ()


class Form(ABC):
    """A form of library."""

    name: ClassVar[str]
    title: ClassVar[str]
    layout: ClassVar[Layout] = Layout()
    example_template: ClassVar[str] = "main.c.j2"
    """Name of the template of the example's main file, in templates/export."""

    def misfit(self, board: Board) -> str:
        """Describes the boards that the form supports; "" if this is one of them."""
        return ""

    def vendor_misfit(self, vendor: Vendor) -> str:
        """Why the form cannot include a vendor's kernels; "" if it can."""
        return ""

    def vendor_comes_along(self, vendor: Vendor) -> bool:
        """Whether a vendor's kernels are copied into the library; if not, the ecosystem fetches them."""
        return True

    @abstractmethod
    def extras(self, library: Library, written: Written) -> Mapping[str, str]:
        """Text of the build system's files, by file name; C, example and README come on top."""

    def write(self, library: Library, folder: Path) -> Written:
        """Writes the library into `folder`; returns its content."""
        layout = self.layout
        for name, text in library.all_files.items():
            place = layout.header if name in library.headers else layout.sources
            write_text(folder / place / name, text)
        written = self._with_vendor(library, folder)
        context = self.context(library, written)
        for name, text in self._example(library, context).items():
            write_text(folder / layout.example / name, text)
        write_text(folder / "README.md", render("export/README.md.j2", context))
        for name, text in self.extras(library, written).items():
            write_text(folder / name, text)
        return written

    def _with_vendor(self, library: Library, folder: Path) -> Written:
        own = tuple(f"{self.layout.sources}/{name}" for name in library.c_files)
        if library.vendor is None or not self.vendor_comes_along(library.vendor.vendor):
            return Written(self.layout, own)
        place: LibraryPlace = library.vendor.vendor.place
        copied = library.vendor.copy(library.functions, folder)
        return Written(self.layout, (*own, *copied), place.includes)

    def _example(self, library: Library, context: Mapping[str, Any]) -> dict[str, str]:
        main = {self.layout.main: render(f"export/{self.example_template}", context)}
        if library.listener is not None:
            return main | {f"{library.name}_expected.h": render("export/expected.h.j2", context)}
        vectors = {**context, **_vector_context(library)}
        return main | {f"{library.name}_vectors.h": render("export/vectors.h.j2", vectors)}

    def context(self, library: Library, written: Written) -> dict[str, Any]:
        """For all templates of the form."""
        vendor = None if library.vendor is None else library.vendor.vendor
        return {
            **library.interface,
            "library": library,
            "board": library.board,
            "form": self.name,
            "form_title": self.title,
            "layout": written.layout,
            "sources": written.sources,
            "vendor_includes": written.vendor_includes,
            "vendor": vendor,
            "listener": None if library.listener is None else library.listener.context,
            "vectors": len(library.vectors),
            "runs": library.runs,
            "with_proof": library.with_proof,
            "what": "hops of sound" if library.listener else "test vectors",
            "tolerance": library.tolerance,
            "verdict": library.verdict,
            "facts": library.facts,
            "build": library.build_id,
            "use": f"export/{self.name}/use.md.j2",
            "version": VERSION,
        }


def host_example(library: Library, form: Form) -> str:
    """C text of the example as a program for this computer; every form's example does the same."""
    return render("export/main.c.j2", form.context(library, Written(form.layout, ())))


def _vector_context(library: Library) -> dict[str, Any]:
    vectors = library.vectors
    return {
        "input_lines": [[array_lines(row) for row in rows] for rows in vectors.inputs],
        "output_lines": [[[array_lines(row) for row in rows] for rows in outputs] for outputs in vectors.outputs],
    }


def render(template: str, context: Mapping[str, Any]) -> str:
    return environment().get_template(template).render(context)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
