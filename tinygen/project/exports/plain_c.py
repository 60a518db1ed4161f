"""`--as c`: folders of C, and a README that says how to compile them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tinygen.project.exports.library import Form, Library, Written, render

_PROOF = ("proof/any_input.c", "proof/builtins.h", "proof/eva.sh")


class PlainC(Form):
    name: ClassVar[str] = "c"
    title: ClassVar[str] = "C sources"

    def extras(self, library: Library, written: Written) -> Mapping[str, str]:
        if not library.with_proof:
            return {}
        context = self.context(library, written)
        return {name: render(f"export/{name}.j2", context) for name in _PROOF}
