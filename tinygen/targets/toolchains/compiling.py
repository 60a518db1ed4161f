"""Compiles the sources of a build, or takes their objects from the cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tinygen.errors import ToolchainError
from tinygen.targets.toolchains.base import COMPILE_FLAGS, OPTIMIZE, Toolchain, compile_error, flags_of_source
from tinygen.targets.toolchains.includes import Includes, read_dependencies
from tinygen.targets.toolchains.objects import object_cache, object_name


def compile_all(
    toolchain: Toolchain,
    directory: Path,
    sources: Sequence[str],
    flags: Sequence[str],
    temporary: Path,
    optimize: str = OPTIMIZE,
) -> dict[str, Path]:
    """Object file (in folder `temporary`) by source.

    Args:
        directory: where the compiler runs; sources and folders in `flags` are relative to it.

    Raises:
        ToolchainError: all are compiled, and this is the first error of the first source that fails.
    """
    compilation = _Compilation(toolchain, directory.resolve(), [*COMPILE_FLAGS, optimize, *flags])
    objects = {source: temporary / f"{i:03}.o" for i, source in enumerate(sources)}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for error in pool.map(compilation.compile, objects, objects.values()):
            if error is not None:
                raise error
    return objects


class _Compilation:
    """The common state for the sources of one build."""

    def __init__(self, toolchain: Toolchain, root: Path, flags: Sequence[str]) -> None:
        self._toolchain = toolchain
        self._root = root
        self._flags = [*flags, *_maps(toolchain.prefix_maps())]
        self._here = _maps({str(root): "."})
        self._includes = Includes(root, flags)
        self._cache = object_cache()

    def compile(self, source: str, output: Path) -> ToolchainError | None:
        """Writes the object of `source`; returns the error in the C, if there is one."""
        flags = [*self._flags, *flags_of_source(source)]
        files = self._includes.files(source) if self._cache is not None else None
        name = object_name(self._toolchain, flags, source, files) if files is not None else None
        if self._cache is None or files is None or name is None:
            return self._call(source, flags, output)
        data = self._cache.get(name)
        if data is not None:
            output.write_bytes(data)
            return None
        listed = output.with_suffix(".d")
        asked = self._toolchain.dependency_flags(listed)
        error = self._call(source, [*flags, *asked], output)
        if error is None:
            with suppress(OSError):
                read = read_dependencies(listed) if asked else ()
                outside = self._includes.outside(read, list(files))
                if outside is not None and self._includes.unchanged(list(files)):
                    self._cache.put(name, output.read_bytes(), outside)
        return error

    def _call(self, source: str, flags: Sequence[str], output: Path) -> ToolchainError | None:
        result = self._toolchain.run([*flags, *self._here, "-c", source, "-o", str(output)], self._root)
        return compile_error(self._toolchain, source, result.stderr) if result.returncode else None


def _maps(folders: dict[str, str]) -> list[str]:
    return [f"-ffile-prefix-map={old}={new}" for old, new in folders.items()]
