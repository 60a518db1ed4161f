"""Draws docs/images/demo.svg: what `tinygen demo` prints in a terminal of 84 columns.

python -m tests.docs.picture
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from rich.console import Console

from tests.docs.pages import ROOT
from tinygen.apps.digits.demo import run_demo
from tinygen.cli.tables import demo_view

PICTURE = ROOT / "docs" / "images" / "demo.svg"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tinygen-picture-") as folder:
        result = run_demo("f746zg", Path(folder) / "demo", digits=200)
    console = Console(record=True, width=84, file=io.StringIO(), markup=False, emoji=False, highlight=False)
    console.print(demo_view(result))
    drawn = console.export_svg(title="tinygen demo", unique_id="demo")
    # The fonts would be fetched from the network: the reader's own monospaced one does.
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
