"""`--as cmake`: a static library for `add_subdirectory`, `FetchContent` and, once installed, `find_package`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tinygen.project.exports.library import Form, Library, Written, render


class CMake(Form):
    name: ClassVar[str] = "cmake"
    title: ClassVar[str] = "CMake package"

    def extras(self, library: Library, written: Written) -> Mapping[str, str]:
        context = self.context(library, written)
        return {
            "CMakeLists.txt": render("export/cmake/CMakeLists.txt.j2", context),
            f"cmake/{library.name}-config.cmake": render("export/cmake/config.cmake.j2", context),
        }
