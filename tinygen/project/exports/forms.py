"""All forms, by name."""

from __future__ import annotations

from enum import StrEnum

from tinygen.project.exports.cmake import CMake
from tinygen.project.exports.esp_idf import EspIdf
from tinygen.project.exports.library import Form
from tinygen.project.exports.plain_c import PlainC

FORMS: dict[str, Form] = {form.name: form for form in (PlainC(), CMake(), EspIdf())}


class FormName(StrEnum):
    """What `--as` takes."""

    C = "c"
    CMAKE = "cmake"
    ESP_IDF = "esp-idf"
