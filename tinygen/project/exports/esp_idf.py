"""`--as esp-idf`: a component of ESP-IDF's build system, and a project that uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tinygen.project.exports.library import Form, Layout, Library, Written, render
from tinygen.targets.board import Board
from tinygen.targets.vendors import Vendor

_PROJECT = "examples/vectors"


class EspIdf(Form):
    """The component's name is that of its folder; ESP-NN comes from Espressif's registry."""

    name: ClassVar[str] = "esp-idf"
    title: ClassVar[str] = "ESP-IDF component"
    layout: ClassVar[Layout] = Layout(example=f"{_PROJECT}/main")
    example_template: ClassVar[str] = "esp-idf/main.c.j2"

    def misfit(self, board: Board) -> str:
        return "" if board.esp_chip else "ESP-IDF is for the chips of Espressif: esp32, esp32c3, esp32c6, esp32s3."

    def vendor_comes_along(self, vendor: Vendor) -> bool:
        return not vendor.component

    def extras(self, library: Library, written: Written) -> Mapping[str, str]:
        vendor = library.vendor
        fetched = {} if vendor is None or written.vendor_includes else vendor.components
        context = {**self.context(library, written), "components": fetched, "chip": library.board.esp_chip}
        return {
            "CMakeLists.txt": render("export/esp-idf/CMakeLists.txt.j2", context),
            "idf_component.yml": render("export/esp-idf/idf_component.yml.j2", context),
            f"{_PROJECT}/CMakeLists.txt": render("export/esp-idf/project.cmake.j2", context),
            f"{_PROJECT}/sdkconfig.defaults": render("export/esp-idf/sdkconfig.defaults.j2", context),
            f"{_PROJECT}/main/CMakeLists.txt": render("export/esp-idf/main.cmake.j2", context),
        }
