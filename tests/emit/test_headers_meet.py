"""The headers of kernels stand side by side in one file of C."""

from __future__ import annotations

import re
from collections import defaultdict

from tinygen.paths import resource

_FUNCTION = re.compile(r"^(?:static inline|TG_INLINE) [\w *]*?(tg_\w+)\(", re.MULTILINE)
_MACRO = re.compile(r"^#define (TG_\w+)", re.MULTILINE)


def test_no_name_is_in_two_headers() -> None:
    """A model of many kinds of layers includes any of them together."""
    where: dict[str, set[str]] = defaultdict(set)
    for header in (resource("templates") / "model").glob("tinygen_*.h"):
        text = header.read_text()
        for name in (*_FUNCTION.findall(text), *_MACRO.findall(text)):
            where[name].add(header.name)
    assert len(where) > 200
    assert not {name: sorted(headers) for name, headers in where.items() if len(headers) > 1}
