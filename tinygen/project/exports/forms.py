"""All forms, by name."""

from __future__ import annotations

from enum import StrEnum

from tinygen.project.exports.arduino import Arduino
from tinygen.project.exports.cmake import CMake
from tinygen.project.exports.cmsis_pack import CmsisPack
from tinygen.project.exports.esp_idf import EspIdf
from tinygen.project.exports.library import Form
from tinygen.project.exports.plain_c import PlainC
from tinygen.project.exports.platformio_lib import PlatformIoLib
from tinygen.project.exports.zephyr import Zephyr

FORMS: dict[str, Form] = {
    form.name: form for form in (PlainC(), CMake(), EspIdf(), PlatformIoLib(), Arduino(), Zephyr(), CmsisPack())
}


class FormName(StrEnum):
    """Values of `--as`."""

    C = "c"
    CMAKE = "cmake"
    ESP_IDF = "esp-idf"
    PLATFORMIO_LIB = "platformio-lib"
    ARDUINO = "arduino"
    ZEPHYR = "zephyr"
    CMSIS_PACK = "cmsis-pack"
