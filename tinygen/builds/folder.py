"""Folders that tinygen writes, perhaps repeatedly: only tinygen's own files in them are ever replaced.

Each kind of folder has a record, a JSON document that lists every file beside it with its SHA-256, and its own digest:
`manifest.json` of a build, `hil-report.json` of a hil report. A folder is ours where such a record stands. Then

- files that the record lists, and that are as they were written, are replaced, or removed where there are none of that
  name any more;
- one that has been changed since is an error, unless `force`: then it is replaced too, or stays where nothing replaces
  it;
- all others stay. One that stands where a new file would go is an error, also with `force`.

In any other folder nothing is written unless it is empty.

The new files are made in a temporary folder on the same disk and put in place by renaming. An earlier failure leaves
the folder unchanged. If a program is killed between two renames, the record says so (`unfinished`) and lists the files
that are there, old or new, so that the next run can continue.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tinygen.claims import PREFIX
from tinygen.errors import TinygenError
from tinygen.files import check_writable, temporary_folder, uninterrupted, writing

FILES, DIGEST, UNFINISHED = "files", "record_sha256", "unfinished"
_NEW, _OLD = "new", "old"


@dataclass(frozen=True)
class Record:
    """A kind of folder.

    Attributes:
        name: of the document that lists its files.
        what: the folder holds: "build".
        shares: whether several records, each with files of its own, stand in one folder; then it need not be empty.
        beside: what an empty folder may hold all the same.
    """

    name: str
    what: str
    shares: bool = False
    beside: frozenset[str] = frozenset()


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def seal(content: Mapping[str, Any], files: Mapping[str, Any]) -> bytes:
    """A record as it is written: what it says, the files it lists, and the digest by which it is known."""
    listed = {**content, FILES: dict(sorted(files.items()))}
    return (json.dumps({**listed, DIGEST: _digest(listed)}, indent=2) + "\n").encode()


def _digest(content: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(content))  # keys are strings, tuples are lists
    return sha256_of(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode())


def listed_in(path: Path) -> dict[str, frozenset[str]] | None:
    """The files that a record lists, with the digests that are ours; None where there is no such record, or none that
    tinygen wrote.
    """
    try:
        content = json.loads(path.read_bytes())
        digest = content.pop(DIGEST)
        files = content[FILES]
        if digest != _digest(content) or not all(_is_inside(name) for name in files):
            return None
        return {name: frozenset([known] if isinstance(known, str) else known) for name, known in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


class Folder:
    """A folder to write.

    Args:
        out: where: a new folder, an empty one, or an earlier one of ours; a link to a folder is followed.
        record: what stands there, or will.
        force: replace files of ours that have been changed.
    """

    def __init__(self, out: Path, record: Record, *, force: bool = False) -> None:
        self.out, self.record, self.force = out, record, force

    def check(self) -> None:
        """Before the work that leads to new files.

        Raises:
            TinygenError: `out` is a file, is not ours and not empty, has files of ours that have been changed, or
                nothing can be written there.
        """
        with writing(self.out):
            check_writable(self._nearest())
            self._removable(self._listed())

    @contextmanager
    def replaced(self) -> Iterator[Path]:
        """A temporary folder for the new files, the record (see `seal`) among them; put in place at the end.

        Raises:
            TinygenError: see `check`; or it cannot be written, and is then as it was.
        """
        self.check()
        with writing(self.out), temporary_folder(self._nearest(), self._resolved() / self.record.name) as temporary:
            new = temporary / _NEW
            new.mkdir()
            yield new
            self._put(new, temporary / _OLD)

    def write(self, content: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """All files of a folder, with the record's content.

        Raises:
            TinygenError: see `replaced`.
        """
        with self.replaced() as new:
            for name, data in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(data)
            self.write_record(new, content)

    def write_record(self, new: Path, content: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the record of all files that lie in `new`; gives what it says."""
        names = [name for name in files_in(new) if name != self.record.name]
        sealed = seal(content, {name: _sha256_in(new / name) for name in names})
        (new / self.record.name).write_bytes(sealed)
        return json.loads(sealed)

    def _resolved(self) -> Path:
        try:
            return self.out.resolve()
        except (OSError, RuntimeError) as error:
            raise TinygenError("is a link that leads nowhere", where=str(self.out), fix="Name a directory.") from error

    def _nearest(self) -> Path:
        """The folder itself, or that above it which is there."""
        out = self._resolved()
        nearest = next(path for path in (out, *out.parents) if os.path.lexists(path))
        if not nearest.is_dir():
            where = self.out if nearest == out else nearest
            raise TinygenError("is a file", where=str(where), fix="Name a directory for --out.")
        return nearest

    def _listed(self) -> dict[str, frozenset[str]]:
        """Files of ours that should lie there, the record left out.

        Raises:
            TinygenError: the folder is not ours, and not empty.
        """
        out = self._resolved()
        if not out.exists():
            return {}
        listed = listed_in(out / self.record.name)
        if listed is not None:
            return listed
        if self.record.shares:
            return {}
        present = [path for path in out.iterdir() if path.name not in self.record.beside]
        present = [path for path in present if not path.name.startswith(PREFIX)]  # of a process that was killed
        if present:
            raise self._not_ours(out, first_file(out, present))
        return {}

    def _not_ours(self, out: Path, first: str) -> TinygenError:
        what = f"holds files that are not an earlier {self.record.what}, {first} for one"
        fix = "Choose an empty or new directory."
        try:
            content = json.loads((out / self.record.name).read_bytes())
            if "tinygen" in content or "build_id" in content:
                fix = (
                    f"Its {self.record.name} is changed or of an older tinygen, and does not say which files are ours: "
                    "delete the directory, or choose another one."
                )
        except (OSError, ValueError, TypeError, RecursionError):
            pass
        return TinygenError(what, where=str(self.out), fix=fix)

    def _removable(self, listed: Mapping[str, frozenset[str]], names: Iterable[str] = ()) -> list[str]:
        """The listed files that exist and may be removed: unchanged ones; if forced, also those of `names`.

        Raises:
            TinygenError: one was changed, and not `force`.
        """
        out, wanted, found = self._resolved(), frozenset(names), []
        for name, known in listed.items():
            path = out / name
            if not os.path.lexists(path):
                continue
            if _is_plain(out, name) and _sha256_in(path) in known:
                found.append(name)
            elif not self.force:
                raise TinygenError(
                    "has been changed since tinygen wrote it",
                    where=str(self.out / name),
                    fix="Move it to keep it, or give --force to replace it.",
                )
            elif name in wanted and _is_plain(out, name):
                found.append(name)
        return found

    def _put(self, new: Path, old: Path) -> None:
        """Puts the files of `new` in place, and those of ours that they replace into `old`; or leaves all as it is.

        Raises:
            TinygenError: a file that is not ours stands in the way; see also `check`.
        """
        out, names = self._resolved(), files_in(new)
        if not out.exists():
            with uninterrupted(), _new_parents(out):
                new.rename(out)
            return
        listed, going = self._listed(), self.check_free(names)
        old.mkdir()
        with uninterrupted():
            _Swap(out, new, old, self.record.name).run(going, names)
            _remove_empty(out, listed)

    def check_free(self, names: Iterable[str]) -> list[str]:
        """Gives the files of ours that new ones of those names replace, or that go without a successor.

        Raises:
            TinygenError: a file that is not ours stands in the way; see also `check`.
        """
        out, names = self._resolved(), list(names)
        going = self._removable(self._listed(), names)
        ours = {*going, *([self.record.name] if listed_in(out / self.record.name) is not None else [])}
        for name in (name for name in names if name not in ours):
            parents = [out / parent for parent in PurePosixPath(name).parents if parent.parts]
            taken = [path for path in (out / name, *parents) if os.path.lexists(path)]
            standing = next((p for p in taken if p == out / name or p.is_symlink() or not p.is_dir()), None)
            if standing is not None:
                raise TinygenError(
                    f"stands where the {self.record.what} has a file of its own, and tinygen did not write it",
                    where=str(self.out / standing.relative_to(out)),
                    fix="Move it, or choose another directory.",
                )
        return going


class _Swap:
    """Renames that can be undone: files of `out` into `old`, files of `new` into `out`; the record last."""

    def __init__(self, out: Path, new: Path, old: Path, record: str) -> None:
        self.out, self.new, self.old, self.record = out, new, old, record
        self.done: list[tuple[Path, Path]] = []
        self.made: list[Path] = []

    def run(self, going: Sequence[str], names: Sequence[str]) -> None:
        coming = [name for name in names if name != self.record]
        had_record = (self.out / self.record).exists()
        if had_record:
            shutil.copy2(self.out / self.record, self.old / self.record)
        between = self.new.with_name(UNFINISHED)
        between.write_bytes(seal({UNFINISHED: True}, self._both(going, coming)))
        try:
            os.replace(between, self.out / self.record)
            for name in going:
                self._move(self.out / name, self.old / name)
            for name in coming:
                self._move(self.new / name, self.out / name)
            os.replace(self.new / self.record, self.out / self.record)
        except BaseException:
            self._undo(had_record)
            raise

    def _both(self, going: Iterable[str], coming: Iterable[str]) -> dict[str, list[str]]:
        """What may lie there between the first rename and the last."""
        files: dict[str, list[str]] = {}
        for folder, names in ((self.out, going), (self.new, coming)):
            for name in names:
                files.setdefault(name, []).append(_sha256_in(folder / name))
        return files

    def _move(self, source: Path, target: Path) -> None:
        for parent in reversed([parent for parent in target.parents if not parent.exists()]):
            parent.mkdir()
            self.made.append(parent)
        os.replace(source, target)
        self.done.append((source, target))

    def _undo(self, had_record: bool) -> None:
        for source, target in reversed(self.done):
            os.replace(target, source)
        for folder in reversed(self.made):
            folder.rmdir()
        if had_record:
            os.replace(self.old / self.record, self.out / self.record)
        else:
            (self.out / self.record).unlink(missing_ok=True)


def _remove_empty(out: Path, names: Iterable[str]) -> None:
    """Folders that files of those names stood in, and nothing stands in any more."""
    for name in names:
        for parent in PurePosixPath(name).parents[:-1]:
            with suppress(OSError):  # it is not empty, or not there
                (out / parent).rmdir()


@contextmanager
def _new_parents(out: Path) -> Iterator[None]:
    """Makes the folders above `out`; they go again where the block fails."""
    made: list[Path] = []
    try:
        for parent in reversed([parent for parent in out.parents if not parent.exists()]):
            parent.mkdir()
            made.append(parent)
        yield
    except BaseException:
        for parent in reversed(made):
            parent.rmdir()
        raise


def files_in(folder: Path) -> list[str]:
    """Names of all files below a folder, with `/` between their parts, in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def first_file(folder: Path, present: Iterable[Path]) -> str:
    """Name of the first file in some of a folder's entries; of the first entry where that holds none."""
    first = min(present)
    for place, folders, names in os.walk(first):  # not into links, and no further than needed
        folders.sort()
        if names:
            return (Path(place) / min(names)).relative_to(folder).as_posix()
    return first.relative_to(folder).as_posix()


def _is_plain(out: Path, name: str) -> bool:
    """Whether it is a file inside `out`, and not reached over links, which tinygen does not write."""
    parents = [out / parent for parent in PurePosixPath(name).parents[:-1]]
    path = out / name
    return path.is_file() and not any(one.is_symlink() for one in (path, *parents))


def _sha256_in(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
