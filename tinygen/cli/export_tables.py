"""What `tinygen export` prints."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType

from tinygen.builds.gates import GateEntry
from tinygen.builds.plain import from_plain
from tinygen.cli.sheet import Sheet, name, prose


def export_summary(content: dict[str, Any]) -> RenderableType:
    """The results of an export."""
    facts = Sheet(
        f"{content['model']} for {content['board']}, as {content['as']}", [name(""), prose("")], headings=False
    )
    if content["flash_bytes"] is not None:
        facts.add_row("flash", f"{content['flash_bytes']:,} B, with {content['weight_bytes']:,} B of weights")
        facts.add_row("RAM", f"{content['ram_bytes']:,} B, with the static arena")
    facts.add_row("arena", f"{content['arena_bytes']:,} B, aligned to {content['arena_align']}")
    if content["library"]:
        facts.add_row("calls", content["library"]["name"])
    for layer in content["gated_layers"]:
        entry = from_plain(GateEntry, layer)
        facts.add_row(f"gate of {entry.layer}", entry.text)
    app = content["app"]
    if app:
        facts.add_row("listens for", ", ".join(app["labels"]) or app["wake_word"])
    facts.add_row("example", f"{content['vectors']} {'hops' if app else 'test vectors'}, all right on this computer")
    facts.add_row("build", content["build_id"])
    return facts
