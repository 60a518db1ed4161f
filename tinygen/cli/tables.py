"""Rich tables for people; `--json` is for machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinygen.verbs.report import (
    SWITCH_COLUMNS,
    arena_text,
    codes_text,
    constants_text,
    energy_text,
    size_text,
    stream_text,
    switch_row,
)

if TYPE_CHECKING:
    from tinygen.verbs.demo import DemoResult
    from tinygen.verbs.run import RunResult
    from tinygen.verbs.verify import VerifyReport


def _table(title: str, columns: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name, justify in columns:
        first = name in ("layer", "switch")
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold", no_wrap=first)
    return table


def build_summary(manifest: dict[str, Any]) -> RenderableType:
    """What a build came to."""
    profile = manifest.get("profile")
    layers = _table(
        f"{manifest['model']} on {manifest['board_title']}, {manifest['toolchain']}, kernels: {manifest['kernels']}",
        [("layer", ""), ("kernel", ""), ("MAC", "right"), ("weights, B", "right")]
        + ([("instructions", "right"), ("cycles, predicted", "right"), ("MAC/cycle", "right")] if profile else []),
    )
    for index, layer in enumerate(manifest["layers"]):
        row = [layer["name"], layer["kernel"], f"{layer['macs']:,}", f"{layer['weight_bytes']:,}"]
        if profile:
            count, cycles = (profile["layers"][index][key] for key in ("instructions", "cycles_predicted"))
            row += [f"{count:,}", f"{cycles:,}", f"{layer['macs'] / cycles:.2f}" if layer["macs"] and cycles else ""]
        layers.add_row(*row)
    parts: list[RenderableType] = [layers, Text()]
    if manifest["switches"]:
        layers.title = Text(f"{layers.title}; layers of switch {manifest['switches'][0]['name']}")
        parts += [_switch_table(manifest), Text()]
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(justify="left")
    facts.add_column(justify="left")
    for region in manifest["memory"]:
        used = sum(region["parts"].values())
        facts.add_row(region["name"], f"{size_text(used)} of {size_text(region['size'])}")
    if manifest.get("target_note"):
        facts.add_row("target", manifest["target_note"])
    else:
        facts.add_row("model in flash", size_text(manifest["flash_model_bytes"]))
    if manifest["switches"]:
        facts.add_row("constants", constants_text(manifest["network"]))
        facts.add_row("arena of all switches", size_text(manifest["network"]["arena_bytes"]))
    else:
        facts.add_row("arena", arena_text(manifest))
    if manifest.get("app"):
        facts.add_row("wake word", app_text(manifest["app"]))
    if len(manifest["memory"]) > 1 and manifest["arena_memory"]:
        facts.add_row("arena in", ", ".join(f"{name} ({n:,} B)" for name, n in manifest["arena_memory"].items()))
    if manifest["stream"]:
        facts.add_row("stripes", stream_text(manifest))
    if not manifest["switches"]:
        facts.add_row("MAC", f"{manifest['macs']:,}")
    if profile and not manifest["switches"]:
        facts.add_row("instructions", f"{profile['instructions']:,} per inference")
        facts.add_row("cycles, predicted", f"{profile['cycles_predicted']:,}")
        if "milliseconds_predicted" in profile:
            facts.add_row("time, predicted", f"{profile['milliseconds_predicted']:,.3f} ms")
        if "microjoules_predicted" in profile:
            facts.add_row("energy, predicted", energy_text(profile))
    return Group(*parts, facts)


def app_text(app: dict[str, Any]) -> str:
    """What an application listens for, and what that takes beside model and protocol."""
    cutoff = f"cutoff {app['cutoff']:g} over {app['sliding_window']}"
    size = f"; flash {app['flash_bytes']:,} B, RAM {app['ram_bytes']:,} B" if "flash_bytes" in app else ""
    alone = "; listens by itself" if app.get("listens") else ""
    return f"{app['wake_word']}, {cutoff}{alone}{size}"


def _switch_table(manifest: dict[str, Any]) -> Table:
    """What each switch of a network takes."""
    table = _table(
        "Switches; in flash, what each has for itself + what it shares with others",
        [(name, "right" if index else "") for index, name in enumerate(SWITCH_COLUMNS)],
    )
    for entry in manifest["switches"]:
        table.add_row(*switch_row(entry))
    return table


def run_table(result: RunResult) -> RenderableType:
    """Outputs and instruction counts, the first rows."""
    table = _table(
        f"{len(result.rows)} inferences on {result.device}" + (f", switch {result.switch}" if result.switch else ""),
        [
            ("#", "right"),
            ("output", ""),
            ("instructions", "right"),
            ("cycles, predicted", "right"),
            ("device cycles", "right"),
        ],
    )
    for index, row in enumerate(result.rows[:20]):
        values = row.outputs[0].reshape(-1)
        text = " ".join(str(v) for v in values[:12].tolist()) + (" ..." if values.size > 12 else "")
        counts = [f"{n:,}" for n in (row.profile.instructions, row.profile.cycles)] if row.profile else ["", ""]
        table.add_row(str(index), text, *counts, f"{row.cycles:,}")
    more = len(result.rows) - 20
    return Group(table, Text(f"... and {more} more" if more > 0 else ""))


def verify_tables(report: VerifyReport) -> RenderableType:
    """Pairs of runtimes, and accuracy."""
    pairs = _table(
        f"{report.model} on {report.board}: {report.samples} samples",
        [("runtimes", ""), ("samples", "right"), ("differ", "right"), ("largest difference", "right"), ("first", "")],
    )
    for comparison in report.comparisons:
        entry = comparison.as_json()
        where = entry["first_mismatch"]
        first = ""
        if where:
            layer = where["layer"] or "output"
            first = f"sample {where['sample']}, {layer}, element {where['element']}: {where['values']}"
        style = "red" if entry["mismatches"] else "green"
        switch = f"{comparison.switch}: " if comparison.switch else ""
        pairs.add_row(
            switch + entry["pair"].replace("/", " = "), str(entry["samples"]),
            Text(str(entry["mismatches"]), style=style), str(entry["max_abs_diff"]), first,
        )  # fmt: skip
    notes = [Text(), _library_table(report)] if report.library_outputs is not None else []
    if report.accuracy is None:
        return Group(pairs, *notes)
    accuracy = _table("Accuracy", [("runtime", ""), ("correct", "right"), ("accuracy", "right")])
    for name, count in report.accuracy.items():
        accuracy.add_row(name, f"{count} of {report.samples}", f"{100 * count / report.samples:.2f} %")
    return Group(pairs, *notes, Text(), accuracy)


def _library_table(report: VerifyReport) -> RenderableType:
    """Layers that the library computes otherwise than LiteRT, and what comes of it."""
    layers = _table(
        "The library rounds otherwise than LiteRT; the boards are compared with the library's own arithmetic",
        [("layer", ""), ("kernel", ""), ("codes", "right"), ("differ", "right"), ("largest difference", "right")],
    )
    for entry in report.library:
        layers.add_row(entry.layer, entry.kernel, f"{entry.codes:,}", f"{entry.differing:,}", str(entry.max_abs_diff))
    assert report.library_outputs is not None
    outputs = report.library_outputs.as_json()
    total = (
        f"the model's outputs differ from LiteRT by up to {codes_text(outputs['max_abs_diff'])}, "
        f"in {outputs['mismatches']} of {outputs['samples']} samples"
    )
    lines = [*(entry.sentence() for entry in report.library), total]
    return Group(layers, *(Text(f"  {line}") for line in lines))


_USUAL = ("none", (1, 1), (0, 0), (1,))
"""Attributes that say nothing: no activation, steps of one, no padding, rising channels."""


def graph_table(content: dict[str, Any]) -> RenderableType:
    """A model's operators; switch by switch, where it has switches."""
    title = f"{content['source']}: {content['file_bytes']:,} B, "
    if "switches" not in content:
        return _operator_table(title, content)
    tables = [_operator_table(f"{title}switch {one['name']}: ", one) for one in content["switches"]]
    return Group(*(part for table in tables for part in (table, Text())))


def _operator_table(title: str, content: dict[str, Any]) -> Table:
    table = _table(
        f"{title}{content['macs']:,} MAC, {content['constant_bytes']:,} B of constants",
        [("operator", ""), ("inputs", ""), ("output", ""), ("encoding", ""), ("attributes", ""), ("MAC", "right")],
    )
    for op in content["operators"]:
        inputs = ", ".join(_short(t) for t in op["inputs"])
        attributes = ", ".join(f"{k}={v}" for k, v in op["attributes"].items() if v not in _USUAL)
        table.add_row(
            op["name"], inputs, ", ".join(_short(t) for t in op["outputs"]),
            op["outputs"][0]["encoding"] if op["outputs"] else "", attributes, f"{op['macs']:,}" if op["macs"] else "",
        )  # fmt: skip
    return table


def _short(tensor: dict[str, Any]) -> str:
    shape = "x".join(map(str, tensor["shape"])) or "scalar"
    return f"{tensor['dtype']} {shape}" + (" const" if tensor["constant"] else "")


def board_table(content: list[dict[str, Any]]) -> RenderableType:
    """All boards."""
    table = _table(
        "Boards",
        [
            ("board", ""),
            ("", ""),
            ("core", ""),
            ("MHz", "right"),
            ("flash", "right"),
            ("RAM", "right"),
            ("runs on", ""),
        ],
    )
    for board in content:
        mhz = f"{board['clock_hz'] / 1e6:g}" if board["clock_hz"] else ""
        sizes = [f"{board[key] // 1024} KiB" if board[key] else "" for key in ("flash_bytes", "ram_bytes")]
        table.add_row(board["name"], board["title"], board["core"], mhz, *sizes, board["emulator"])
    return table


def doctor_table(content: list[dict[str, Any]]) -> RenderableType:
    """What is installed and what is missing."""
    table = _table("", [("", ""), ("what", ""), ("version", ""), ("for", ""), ("how to get it", "")])
    for entry in content:
        mark = Text("ok", style="green") if entry["found"] else Text("missing", style="yellow")
        get = "" if entry["found"] else entry["get"]
        table.add_row(mark, entry["what"], entry["version"], entry["needed_for"], get)
    return table


def demo_view(result: DemoResult) -> RenderableType:
    """Some digits as the board saw them, then the figures."""
    pictures = Table(box=None, show_header=False, pad_edge=False)
    for _ in result.pictures:
        pictures.add_column()
    pictures.add_row(*(Text(picture) for picture in result.pictures))
    pictures.add_row(
        *(
            Text(f"board says {guess}, is {label}", style="green" if guess == label else "red")
            for guess, label in result.answers
        )
    )
    return Group(pictures, Text(), build_summary(result.build), Text(), Text(result.sentence(), style="bold"))
