"""`--as c`: folders of C, and a README that says how to compile them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tinygen.project.exports.library import Form, Library, Written


class PlainC(Form):
    name: ClassVar[str] = "c"
    title: ClassVar[str] = "C sources"

    def extras(self, library: Library, written: Written) -> Mapping[str, str]:
        return {}
