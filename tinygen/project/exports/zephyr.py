"""`--as zephyr`: a module of Zephyr's, and a sample that twister can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tinygen.project.exports.library import Form, Layout, Library, Written, render

_SAMPLE = "samples/vectors"
_TEMPLATES = {
    "zephyr/module.yml": "module.yml",
    "zephyr/CMakeLists.txt": "CMakeLists.txt",
    "zephyr/Kconfig": "Kconfig",
    f"{_SAMPLE}/CMakeLists.txt": "sample.cmake",
    f"{_SAMPLE}/prj.conf": "prj.conf",
    f"{_SAMPLE}/sample.yaml": "sample.yaml",
}


class Zephyr(Form):
    """A vendor's kernels come along: the version of CMSIS-NN in Zephyr's tree may be another one."""

    name: ClassVar[str] = "zephyr"
    title: ClassVar[str] = "Zephyr module"
    layout: ClassVar[Layout] = Layout(example=f"{_SAMPLE}/src")
    example_template: ClassVar[str] = "zephyr/main.c.j2"

    def extras(self, library: Library, written: Written) -> Mapping[str, str]:
        context = {**self.context(library, written), "option": f"TINYGEN_{library.name.upper()}"}
        return {name: render(f"export/zephyr/{template}.j2", context) for name, template in _TEMPLATES.items()}
