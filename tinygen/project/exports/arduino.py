"""`--as arduino`: a library for the Arduino IDE and arduino-cli (library specification, revision 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tinygen.project.exports.library import Form, Layout, Library, Written, render
from tinygen.targets.board import Board
from tinygen.targets.vendors import Vendor

_ARCHITECTURES = (
    "mbed",
    "mbed_edge",
    "mbed_giga",
    "mbed_nano",
    "mbed_nicla",
    "mbed_opta",
    "mbed_portenta",
    "mbed_rp2040",
    "renesas_portenta",
    "renesas_uno",
    "sam",
    "samd",
    "esp32",
    "esp8266",
    "nrf52",
    "rp2040",
    "stm32",
    "zephyr",
)
"""Cores whose int has 32 bits, as the C takes it for granted: all but AVR's."""


class Arduino(Form):
    """All C lies in `src`, the one folder on the include path."""

    name: ClassVar[str] = "arduino"
    title: ClassVar[str] = "Arduino library"
    layout: ClassVar[Layout] = Layout(header="src", example="examples/Vectors", main="Vectors.ino")
    example_template: ClassVar[str] = "arduino/Vectors.ino.j2"

    def misfit(self, board: Board) -> str:
        return "Arduino's cores are for boards." if board.is_host else ""

    def vendor_misfit(self, vendor: Vendor) -> str:
        return "its libraries have one folder of headers"

    def extras(self, library: Library, written: Written) -> Mapping[str, str]:
        # A name begins with a letter or digit.
        title = library.name.lstrip("_") or "model"
        context = {**self.context(library, written), "title": title, "architectures": ",".join(_ARCHITECTURES)}
        return {"library.properties": render("export/arduino/library.properties.j2", context)}
