"""Vendors' kernel libraries, from the user's own checkouts, and which of their files a model needs.

Nothing of them is part of tinygen.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from tinygen.errors import TinygenError
from tinygen.lowering.select import CMSIS_NN, ESP_NN, Family
from tinygen.targets.toolchains.libraries import CMSIS_NN_PLACE, ESP_NN_PLACE, LibraryPlace

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_FUNCTION = re.compile(r"^[A-Za-z_][^;{}#=]*?\b(\w+)\s*\([^;{}]*\)\s*\{(.*?)^\}", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"^(?:extern )?const \w+ (\w+)\[[^\]]*\]\s*=", re.MULTILINE)
_WORD = re.compile(r"\b[A-Za-z_]\w+\b")
_VALUE = re.compile(r"^#define[ \t]+(\w+)[ \t]+\S[^\n\\]*$", re.MULTILINE)
_ALIAS = re.compile(r"^#define[ \t]+(\w+)[ \t]+(\w+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Vectors:
    """Forms of a library for a core's vector unit, which nothing here compiles.

    Attributes:
        aliases: the header that says how they are called.
        sources: patterns of the files that define them.
    """

    aliases: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Vendor:
    """A kernel library.

    Attributes:
        title: as its makers write it.
        family: of kernels that call it.
        url, commit: where it is, and the state that tinygen was tried with.
        place: in a project.
        marks: what a checkout has: files and folders.
        sources, headers: patterns of the files that a project may need.
        aliases: the header that says how functions are truly called; "" where they have but one name.
        inline_headers: what the text of a function may need besides the headers of calls.
        files: headers beside the copied files: name and content.
        bare_files: the same where there is no C library, in place of headers that the library includes.
        component: its name in Espressif's registry; "" where it is in none.
        vectors: by core.
    """

    title: str
    family: Family
    url: str
    commit: str
    place: LibraryPlace
    marks: tuple[str, ...]
    sources: tuple[str, ...]
    headers: tuple[str, ...]
    aliases: str = ""
    inline_headers: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    bare_files: dict[str, str] = field(default_factory=dict)
    component: str = ""
    vectors: Mapping[str, Vectors] = field(default_factory=dict)

    @property
    def option(self) -> str:
        """Its option on the command line."""
        return f"--{self.family}"

    @property
    def variable(self) -> str:
        """Name of the environment variable that holds the checkout's folder."""
        return f"{self.family.upper().replace('-', '_')}_PATH"

    @property
    def how(self) -> str:
        """How to get it."""
        return (
            f"Get it with: git clone {self.url} {self.title} && git -C {self.title} checkout {self.commit}\n"
            f"and name the folder with {self.option} PATH or in {self.variable}."
        )


CMSIS_NN_LIBRARY = Vendor(
    title="CMSIS-NN",
    family=CMSIS_NN,
    url="https://github.com/ARM-software/CMSIS-NN",
    commit="99f736a63036613032f9b70de36b493bcd7802d4",  # July 2026, after release 7.0.0
    place=CMSIS_NN_PLACE,
    marks=("Include/arm_nnfunctions.h", "Source"),
    sources=("Source/**/*.c",),
    headers=("Include/**/*.h", "Source/**/*.h"),
)
ESP_NN_LIBRARY = Vendor(
    title="ESP-NN",
    family=ESP_NN,
    url="https://github.com/espressif/esp-nn",
    commit="d45b843ca5f873ca9d0706ab0e7f14eafd132e98",  # April 2026, release 1.2.3
    place=ESP_NN_PLACE,
    marks=("include/esp_nn.h", "src"),
    sources=("src/**/*_ansi.c", "src/**/*_opt.c"),
    headers=("include/*.h", "src/**/*.h"),
    aliases="include/esp_nn_generic_opt.h",
    inline_headers=("common_functions.h",),
    # What ESP-IDF's menu makes the default of this library, for chips that have no vector unit.
    files={"sdkconfig.h": "#define CONFIG_NN_OPTIMIZED 1\n"},
    # It prints when it was given no scratch.
    bare_files={"stdio.h": "#define printf(...) ((void)0)\n"},
    component="espressif/esp-nn",
    vectors={
        core: Vectors(f"include/esp_nn_{core}.h", (f"src/**/*_{core}.c", "src/**/*_ansi.c"))
        for core in ("esp32s3", "esp32p4")
    },
)
VENDORS: Mapping[str, Vendor] = {vendor.family: vendor for vendor in (CMSIS_NN_LIBRARY, ESP_NN_LIBRARY)}
"""Libraries by kernel family."""


def find_checkout(vendor: Vendor, path: Path | None) -> Checkout:
    """The library in folder `path`, or in the one that its variable names.

    Raises:
        TinygenError: no path is given, or it is not that library.
    """
    named = path or (Path(os.environ[vendor.variable]) if os.environ.get(vendor.variable) else None)
    if named is None:
        raise TinygenError(
            f"the kernels of {vendor.title} need the library, and no path to it is given", fix=vendor.how
        )
    if not all((named / mark).exists() for mark in vendor.marks):
        what = f"is not {vendor.title}: {' or '.join(vendor.marks)} is missing"
        raise TinygenError(what, where=str(named), fix=vendor.how)
    return Checkout(vendor, named.resolve())


@dataclass(frozen=True)
class _Definition:
    """The definition of a function or table: its file, its text, and the names that the text mentions."""

    file: str
    text: str
    mentions: frozenset[str]


class Checkout:
    """A library's files."""

    def __init__(self, vendor: Vendor, path: Path) -> None:
        self.vendor, self.path = vendor, path

    @cached_property
    def _definitions(self) -> dict[str, _Definition]:
        """Definitions by name, inline functions of headers included."""
        return self._defined_in((*self.vendor.sources, *self.vendor.headers))

    def _defined_in(self, patterns: Iterable[str]) -> dict[str, _Definition]:
        found: dict[str, _Definition] = {}
        for file in sorted({path for pattern in patterns for path in self.path.glob(pattern)}):
            text = _COMMENT.sub("", file.read_text(encoding="utf-8", errors="replace"))
            name = file.relative_to(self.path).as_posix()
            for match in _FUNCTION.finditer(text):
                found[match[1]] = _Definition(name, match[0], frozenset(_WORD.findall(match[2])) - {match[1]})
            found |= {table: _Definition(name, "", frozenset()) for table in _TABLE.findall(text)}
        return found

    @cached_property
    def _aliases(self) -> dict[str, str]:
        return self._named_in(self.vendor.aliases)

    def _named_in(self, header: str) -> dict[str, str]:
        return dict(_ALIAS.findall((self.path / header).read_text(encoding="utf-8"))) if header else {}

    def true_name(self, function: str) -> str:
        """The name by which a function is defined."""
        return self._aliases.get(function, function)

    def vector_function(self, function: str, core: str) -> str:
        """C text of a function as it is for a core's vector unit.

        Raises:
            TinygenError: the library has no such function.
        """
        vectors = self.vendor.vectors[core]
        name = self._named_in(vectors.aliases).get(function, function)
        found = self._defined_in(vectors.sources).get(name)
        if found is None:
            raise self._lacks(name)
        includes = "".join(f"#include <{header}>\n" for header in self.vendor.inline_headers)
        values = {match[1]: match[0] for match in _VALUE.finditer((self.path / found.file).read_text(encoding="utf-8"))}
        includes += "".join(f"{values[name]}\n" for name in sorted(found.mentions & values.keys()))
        return f"{includes}#undef {function}\n#define {function} {name}\n{found.text}\n"

    def sources(self, functions: Iterable[str]) -> tuple[str, ...]:
        """C files that `functions` need, directly or not; paths relative to the checkout.

        Raises:
            TinygenError: the library has no such function.
        """
        names = sorted({self.true_name(function) for function in functions})
        for name in names:
            if name not in self._definitions:
                raise self._lacks(name)
        reached, waiting = set(names), list(names)
        while waiting:
            wanted = (self._mentioned_with(waiting.pop()) & self._definitions.keys()) - reached
            reached |= wanted
            waiting += wanted
        return tuple(sorted({file for name in reached if (file := self._definitions[name].file).endswith(".c")}))

    def _mentioned_with(self, name: str) -> frozenset[str]:
        """Names mentioned by a function, and by the other functions of its C file: not every linker drops unused
        ones.
        """
        found = self._definitions[name]
        return self._mentions[found.file] if found.file.endswith(".c") else found.mentions

    @cached_property
    def _mentions(self) -> dict[str, frozenset[str]]:
        """Names that each file mentions, by file."""
        found: dict[str, frozenset[str]] = {}
        for definition in self._definitions.values():
            found[definition.file] = found.get(definition.file, frozenset()) | definition.mentions
        return found

    def _lacks(self, function: str) -> TinygenError:
        what = f"this {self.vendor.title} has no {function}"
        return TinygenError(what, where=str(self.path), fix=f"It is too old or too new.\n{self.vendor.how}")

    def headers(self) -> tuple[str, ...]:
        """All its headers, relative to the checkout."""
        found = {path for pattern in self.vendor.headers for path in self.path.glob(pattern)}
        return tuple(sorted(file.relative_to(self.path).as_posix() for file in found))

    def copy(self, functions: Iterable[str], project: Path, *, bare: bool = False) -> tuple[str, ...]:
        """Copies what `functions` need into the library's folder in `project`. Returns the sources, relative to it.

        Args:
            bare: there is no C library.
        """
        folder = self.vendor.place.folder
        sources = self.sources(functions)
        licence = ("LICENSE",) if (self.path / "LICENSE").is_file() else ()
        for name in (*sources, *self.headers(), *licence):
            target = project / folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path / name, target)
        for name, text in (self.vendor.files | self.vendor.bare_files if bare else self.vendor.files).items():
            (project / folder / name).write_text(text, newline="\n")
        return tuple(f"{folder}/{name}" for name in sources)

    @cached_property
    def components(self) -> dict[str, str]:
        """The component that an ESP-IDF project fetches instead of a copy: name in Espressif's registry, and version.

        Raises:
            TinygenError: the library is in no such registry, or the checkout does not say which version it is.
        """
        if not self.vendor.component:
            what = f"{self.vendor.title} is no component of ESP-IDF"
            raise TinygenError(what, where=str(self.path), fix="Use --kernels esp-nn, or tinygen.")
        file = self.path / "idf_component.yml"
        try:
            version = str(yaml.safe_load(file.read_text(encoding="utf-8"))["version"])
        except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
            raise TinygenError("does not say which version it is", where=str(file), fix=self.vendor.how) from error
        return {self.vendor.component: version}

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
