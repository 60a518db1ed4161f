"""`--as cmsis-pack`: a software pack for Keil MDK, csolution projects and CubeIDE, unzipped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from xml.sax.saxutils import escape, quoteattr

from tinygen.lowering.select import CMSIS_NN
from tinygen.project.exports.library import Form, Library, Written, render
from tinygen.targets.board import Board
from tinygen.targets.vendors import Vendor


class CmsisPack(Form):
    """One component; the example is a template that projects copy. CMSIS-NN is Arm's own pack."""

    name: ClassVar[str] = "cmsis-pack"
    title: ClassVar[str] = "CMSIS pack"

    def misfit(self, board: Board) -> str:
        return "" if board.core.startswith("cortex-") else "CMSIS packs are for Arm's Cortex cores."

    def vendor_comes_along(self, vendor: Vendor) -> bool:
        return vendor.family != CMSIS_NN

    def extras(self, library: Library, written: Written) -> Mapping[str, str]:
        vectors = f"{library.name}_{'expected' if library.listener else 'vectors'}.h"
        context = {
            **self.context(library, written),
            "vectors_header": vectors,
            "escape": escape,
            "quote": quoteattr,
            "needs_cmsis_nn": library.vendor is not None and not written.vendor_includes,
        }
        return {f"tinygen.{library.name}.pdsc": render("export/cmsis-pack/pack.pdsc.j2", context)}
