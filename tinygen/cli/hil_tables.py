"""What `tinygen hil` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tinygen.cli.sheet import Sheet, name, prose
from tinygen.hil.page import energy_text, time_text

_STYLES = {"passed": "green", "failed": "red", "skipped": "yellow"}


def hil_view(report: Mapping[str, Any]) -> RenderableType:
    """Checks, then the figures of each switch."""
    device = report["device"]
    at = f" at {device['port']}" if device["port"] else ""
    checks = Sheet(
        f"{report['model']} on {device['name']}{at}; inputs: {report['inputs']['source']}",
        [name("check"), name(""), prose("found")],
    )
    for one in report["checks"]:
        check = f"{one['name']} [{one['switch']}]" if one["switch"] else one["name"]
        checks.add_row(check, Text(one["status"], style=_STYLES[one["status"]]), one["message"])
    return Group(checks, *(part for entry in report["switches"] for part in (Text(), _figures(entry))))


def _figures(part: Mapping[str, Any]) -> RenderableType:
    title = f"Switch {part['switch']}" if part["switch"] else ""
    facts = Sheet(title, [name(""), prose("")], headings=False)
    if part["accuracy"]:
        found = part["accuracy"]
        facts.add_row("accuracy", f"{found['correct']:,} of {found['of']:,} right, {100 * found['accuracy']:.2f} %")
    if part["latency"]:
        latency = part["latency"]
        times = latency["microseconds"]
        spread = f"{time_text(times['min'])} to {time_text(times['max'])}, {latency['inferences']:,} inferences"
        facts.add_row(f"latency, {latency['source']}", f"{time_text(times['median'])} ({spread})")
        facts.add_row(f"cycles, {latency['source']}", f"{latency['cycles']['median']:,.0f}")
    for path in part.get("paths", ()):
        cycles = f", {path['cycles']['median']:,.0f} cycles" if path["cycles"] else ""
        branches = ", ".join(f"{operator} {number}" for operator, number in path["branches"].items())
        facts.add_row(branches, f"{100 * path['share']:.1f} % of inputs{cycles}")
    for energy in part["energy"]:
        facts.add_row(f"energy, {energy['source']}", energy_text(energy))
    memory = part["memory"]
    if memory["stack_used_bytes"] is not None:
        of = f" of {memory['stack_bytes']:,}" if memory["stack_bytes"] else ""
        facts.add_row("deepest stack", f"{memory['stack_used_bytes']:,}{of} B")
    if memory["arena_used_bytes"] is not None:
        facts.add_row("arena written", f"{memory['arena_used_bytes']:,} of {memory['arena_bytes']:,} B")
    if part["incidents"]:
        facts.add_row("tried again", f"{len(part['incidents']):,} times; the report says why")
    return facts
