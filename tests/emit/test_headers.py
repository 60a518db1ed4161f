"""Models of mixed layers include several of tinygen's headers together."""

from __future__ import annotations

import re

from tinygen.paths import resource

_DEFINITION = re.compile(r"^(?:TG_\w+|static)[ \w*]*?\b(tg_\w+)\(|^#\s*define (TG_\w+)", re.MULTILINE)


def test_no_name_is_defined_by_two_headers() -> None:
    found: dict[str, set[str]] = {}
    headers = sorted(resource("templates").joinpath("model").glob("tinygen_*.h"))
    for header in headers:
        for function, macro in _DEFINITION.findall(header.read_text(encoding="utf-8")):
            found.setdefault(function or macro, set()).add(header.name)
    assert len(headers) >= 9 and len(found) > 100, "the pattern no longer finds what headers define"
    assert not {name: files for name, files in found.items() if len(files) > 1}
