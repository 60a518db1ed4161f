"""Which files a C source reads, so that its object can be named by their contents.

Found without starting a compiler: every #include is followed, whatever #if surrounds it, and into every folder where
its name exists, not only the first. So a header that appears in a folder searched earlier is seen too. An #include
written so that this scan may miss it (in pieces, as a macro) makes the object one that is not kept. What lies outside
the folders of the build is left to the compiler's own list, `read_dependencies`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_HASH = rb"(?:#|%:|\?\?=)"
_INCLUDE = re.compile(rb"^[ \t]*" + _HASH + rb"[ \t]*(?:include|include_next|import)[ \t]*([\"<][^\n]*)", re.MULTILINE)
_NAME = re.compile(rb'"([^"\n]+)"|<([^>\n]+)>')
# As many as the line above finds, or one of them is written in a way that it does not understand.
_ANY_INCLUDE = re.compile(
    _HASH + rb"[^\n]*?\b(?:include|include_next|import)\b|" + _HASH + rb"[ \t]*\w*(?:\\|\?\?/)\r?\n"
)
# What makes the object depend on more than the text: the clock, files that are no headers, files that are absent.
_OPAQUE = re.compile(rb"__DATE__|__TIME__|__TIMESTAMP__|\.incbin|__has_include|__has_embed|#[ \t]*embed\b")
# Flags that name files or folders in other ways than -IFOLDER and -isystem FOLDER.
_READING = ("-i", "@", "-B", "--sysroot", "-Xpreprocessor", "-Wp,")


@dataclass(frozen=True)
class _Read:
    """A file as it was read: its SHA-256, what it includes (None: cannot be told), and its size and time before."""

    digest: str
    quoted: tuple[str, ...]
    angled: tuple[str, ...]
    is_clear: bool
    stamp: tuple[int, int]


def stamp_of(path: str) -> tuple[int, int]:
    """Size and time of the last change of a file.

    Raises:
        OSError: it cannot be looked at.
    """
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


class Includes:
    """Follows the includes of sources that are compiled in folder `root` with the same flags.

    One object serves the sources of one build, each file is read once; threads may share it.
    """

    def __init__(self, root: Path, flags: Sequence[str]) -> None:
        self._root = str(root)
        self._folders = [f[2:] for f in flags if f.startswith("-I")]
        self._folders += [after for flag, after in pairwise(flags) if flag == "-isystem"]
        others = (f for f in flags if f == "-I" or f.startswith(_READING))
        self._is_clear = all(flag == "-isystem" for flag in others)
        self._read: dict[str, _Read] = {}

    def files(self, source: str) -> dict[str, str] | None:
        """SHA-256 by path (relative to the root, as the compiler would name it) of `source` and all it may include.

        None when that cannot be told: an include that is a macro, the time of day in the code, a file that is missing.
        """
        if not self._is_clear:
            return None
        found: dict[str, str] = {}
        waiting = [source]
        try:
            while waiting:
                name = waiting.pop()
                if name in found:
                    continue
                read = self._file(name)
                if not read.is_clear:
                    return None
                found[name] = read.digest
                here = os.path.dirname(name)
                waiting += self._candidates(read.quoted, [here, *self._folders])
                waiting += self._candidates(read.angled, self._folders)
        except OSError:
            return None
        return found

    def unchanged(self, names: Sequence[str]) -> bool:
        """Whether these files are still as they were read."""
        try:
            return all(stamp_of(os.path.join(self._root, name)) == self._read[name].stamp for name in names)
        except OSError:
            return False

    def outside(self, dependencies: Sequence[str], known: Sequence[str]) -> tuple[str, ...] | None:
        """Files that the compiler read and that are not `known`; None if some of them are the build's."""
        inside = {self._plain(name) for name in known}
        others = {self._plain(name) for name in dependencies} - inside
        own = self._root + os.sep
        return None if any(path.startswith(own) for path in others) else tuple(sorted(others))

    def _plain(self, name: str) -> str:
        return os.path.normpath(os.path.join(self._root, name))

    def _candidates(self, names: Sequence[str], folders: Sequence[str]) -> list[str]:
        paths = (os.path.join(folder, name) for name in names for folder in folders)
        return [path for path in paths if os.path.isfile(os.path.join(self._root, path))]

    def _file(self, name: str) -> _Read:
        read = self._read.get(name)
        if read is None:
            read = self._read[name] = _read(os.path.join(self._root, name))
        return read


def _read(path: str) -> _Read:
    stamp = stamp_of(path)
    text = Path(path).read_bytes()
    names = [_NAME.match(match[1]) for match in _INCLUDE.finditer(text)]
    known = [name for name in names if name is not None]
    is_clear = _OPAQUE.search(text) is None and len(known) == len(_ANY_INCLUDE.findall(text))
    quoted = tuple(os.fsdecode(name[1]) for name in known if name[1])
    angled = tuple(os.fsdecode(name[2]) for name in known if name[2])
    return _Read(hashlib.sha256(text).hexdigest(), quoted, angled, is_clear, stamp)


def read_dependencies(path: Path) -> tuple[str, ...]:
    """The files that a compiler's list (`-MD -MF path`, a rule of make) says it has read.

    Raises:
        OSError: there is no such list.
    """
    text = path.read_text(encoding="utf-8", errors="surrogateescape").replace("\\\n", " ")
    _, _, files = text.partition(": ")
    words = re.findall(r"(?:\\[ #]|\S)+", files)
    return tuple(re.sub(r"\\([ #])", r"\1", word).replace("$$", "$") for word in words)
