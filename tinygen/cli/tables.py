"""Tables for people; `--json` is for machines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinygen.builds.gates import GateEntry
from tinygen.builds.manifest import AppEntry, Manifest
from tinygen.builds.plain import from_plain
from tinygen.builds.report import (
    SWITCH_COLUMNS,
    arena_text,
    budget_text,
    codes_text,
    constants_text,
    cost_rows,
    energy_text,
    mixing_text,
    packed_text,
    plain_text,
    size_text,
    stream_text,
    switch_row,
    time_text,
)
from tinygen.cli.sheet import Sheet, name, number, prose, tail

if TYPE_CHECKING:
    from tinygen.apps.digits.demo import DemoResult
    from tinygen.frontends.ptq.losses import QuantizationLoss
    from tinygen.verbs.run import RunResult
    from tinygen.verbs.verify import VerifyReport


def build_summary(manifest: Manifest) -> RenderableType:
    """The results of a build."""
    profile = manifest.profile
    measured = [number("instructions", 1), number("cycles, predicted"), number("MAC/cycle", 4)] if profile else []
    layers = Sheet(
        f"{manifest.model} on {manifest.board_title}, {manifest.toolchain}, kernels: {manifest.kernels}",
        [name("layer"), name("kernel"), number("MAC", 2), number("weights, B", 3), *measured],
    )
    for index, layer in enumerate(manifest.layers):
        row = [layer.name, layer.kernel, f"{layer.macs:,}", f"{layer.weight_bytes:,}"]
        if profile:
            count, cycles = profile.layers[index].instructions, profile.layers[index].cycles_predicted
            row += [f"{count:,}", f"{cycles:,}", f"{layer.macs / cycles:.2f}" if layer.macs and cycles else ""]
        layers.add_row(*row)
    parts: list[RenderableType] = [layers, Text()]
    if manifest.switches:
        layers.title += f"; layers of switch {manifest.switches[0].name}"
        parts += [_switch_table(manifest), Text()]
    facts = Sheet("", [name(""), prose("")], headings=False)
    for region in manifest.memory:
        facts.add_row(region.name, f"{size_text(region.used)} of {size_text(region.size)}")
    if manifest.flash_budget:
        facts.add_row("flash limit", budget_text(manifest.flash_budget))
    if manifest.target_note:
        facts.add_row("target", manifest.target_note)
    else:
        facts.add_row("model in flash", size_text(manifest.flash_model_bytes))
    if manifest.network is not None:
        facts.add_row("constants", constants_text(manifest.network))
        facts.add_row("arena of all switches", size_text(manifest.network.arena_bytes))
    else:
        facts.add_row("arena", arena_text(manifest))
        packed = packed_text(manifest)
        if packed:
            facts.add_row("activations packed", packed)
        mixing = mixing_text(manifest)
        if mixing:
            facts.add_row("weights mixed", mixing)
    if manifest.app:
        facts.add_row("wake word", app_text(manifest.app))
    if len(manifest.memory) > 1 and manifest.arena_memory:
        facts.add_row("arena in", ", ".join(f"{name} ({n:,} B)" for name, n in manifest.arena_memory.items()))
    plain = plain_text(manifest)
    if plain:
        facts.add_row("in plain loops", plain)
    if manifest.stream:
        facts.add_row("stripes", stream_text(manifest))
    if not manifest.switches:
        facts.add_row("MAC", f"{manifest.macs:,}")
    for gate in manifest.gated_layers:
        facts.add_row(f"gate of {gate.layer}", gate.text)
    if manifest.costs is not None:
        for heading, text in cost_rows(manifest.costs):
            facts.add_row(heading, text)
        for path in manifest.costs.paths:
            facts.add_row(path.text, f"{100 * path.share:.1f} % of inputs, {path.cycles:,} cycles, {path.macs:,} MAC")
        for setting in manifest.costs.settings:
            facts.add_row(setting.text, setting.cost_text)
    if profile and not manifest.switches:
        facts.add_row("instructions", f"{profile.instructions:,} per inference")
        facts.add_row("cycles, predicted", f"{profile.cycles_predicted:,}")
        if profile.milliseconds_predicted is not None:
            facts.add_row("time, predicted", time_text(profile))
        if energy := energy_text(profile):
            facts.add_row("energy, predicted", energy)
    if manifest.profile_note:
        facts.add_row("cycles", manifest.profile_note)
    return Group(*parts, facts)


def app_text(app: AppEntry) -> str:
    """What an application listens for, and what that takes beside model and protocol."""
    cutoff = f"cutoff {app.cutoff:g} over {app.sliding_window}"
    size = f"; flash {app.flash_bytes:,} B, RAM {app.ram_bytes:,} B" if app.flash_bytes is not None else ""
    alone = "; listens by itself" if app.listens else ""
    return f"{app.wake_word}, {cutoff}{alone}{size}"


_SWITCH_RANKS = {"MAC": 3, "code, B": 2, "energy, µJ": 1}


def _switch_table(manifest: Manifest) -> Sheet:
    """What each switch of a network takes."""
    table = Sheet(
        "Switches; in flash, what each has for itself + what it shares with others",
        [name("switch"), *(number(heading, _SWITCH_RANKS.get(heading, 0)) for heading in SWITCH_COLUMNS[1:])],
    )
    for entry in manifest.switches:
        table.add_row(*switch_row(entry))
    return table


def run_table(result: RunResult) -> RenderableType:
    """Outputs and instruction counts, the first rows."""
    columns = [
        number("#"),
        prose("output"),
        number("instructions", 1),
        number("cycles, predicted"),
        number("device cycles", 2),
    ]
    table = Sheet(
        f"{len(result.rows)} inferences on {result.device}" + (f", switch {result.switch}" if result.switch else ""),
        columns,
    )
    for index, row in enumerate(result.rows[:20]):
        values = row.outputs[0].reshape(-1)
        text = " ".join(str(v) for v in values[:12].tolist()) + (" ..." if values.size > 12 else "")
        if row.path:
            text += "; branches: " + ", ".join(f"{operator} {number}" for operator, number in row.path.items())
        counts = [f"{n:,}" for n in (row.profile.instructions, row.profile.cycles)] if row.profile else ["", ""]
        table.add_row(str(index), text, *counts, f"{row.cycles:,}")
    more = len(result.rows) - 20
    return Group(table, Text(f"... and {more} more" if more > 0 else ""))


def verify_tables(report: VerifyReport) -> RenderableType:
    """Pairs of runtimes, and accuracy."""
    pairs = Sheet(
        f"{report.model} on {report.board}: {report.samples} samples",
        [name("runtimes"), number("samples"), number("differ"), number("largest difference"), prose("first")],
    )
    for comparison in report.comparisons:
        entry = comparison.as_json()
        where = entry["first_mismatch"]
        first = ""
        if where:
            layer = where["layer"] or "output"
            what = f"element {where['element']}: {where['values']}"
            if not where["tensor"]:
                what = "took branch {}, and {}".format(*where["values"])
            first = f"sample {where['sample']}, {layer}{',' if where['tensor'] else ''} {what}"
        style = "red" if entry["mismatches"] else "green"
        switch = f"{comparison.switch}: " if comparison.switch else ""
        pairs.add_row(
            switch + entry["pair"].replace("/", " = "),
            str(entry["samples"]),
            Text(str(entry["mismatches"]), style=style),
            str(entry["max_abs_diff"]),
            first,
        )
    notes = [Text(), _library_table(report)] if report.library_outputs is not None else []
    notes += [Text(), Text(str(report.onnx))] if report.onnx is not None else []
    notes += [Text(), _quantization_table(report.quantization)] if report.quantization is not None else []
    if report.accuracy is None:
        return Group(pairs, *notes)
    accuracy = Sheet("Accuracy", [name("runtime"), number("correct"), number("accuracy")])
    for runtime, count in report.accuracy.items():
        accuracy.add_row(runtime, f"{count} of {report.samples}", f"{100 * count / report.samples:.2f} %")
    return Group(pairs, *notes, Text(), accuracy)


def _quantization_table(loss: QuantizationLoss) -> RenderableType:
    """What the float network gives beside the integer one, and the layers where most is lost."""
    same = "" if loss.same is None else f"same answer for {loss.same} of {loss.samples} samples, "
    title = f"Beside {loss.runtime}: {same}{loss.signal_to_noise:.1f} dB signal to noise"
    if not loss.layers:
        return Text(title)
    layers = Sheet(title, [name("most is lost in"), name("kind"), number("alone"), number("so far")])
    for layer in loss.noisiest:
        layers.add_row(layer.layer, layer.kind, f"{layer.alone:.1f} dB", f"{layer.so_far:.1f} dB")
    return layers


def _library_table(report: VerifyReport) -> RenderableType:
    """Layers that the library computes otherwise than LiteRT, and what comes of it."""
    layers = Sheet(
        "The library rounds otherwise than LiteRT; the boards are compared with the library's own arithmetic",
        [name("layer"), name("kernel"), number("codes", 1), number("differ"), number("largest difference")],
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


def graph_table(content: dict[str, Any]) -> RenderableType:
    """A model's operators and tensors; switch by switch, where it has switches."""
    title = f"{content['source']}: {content['file_bytes']:,} B, "
    if "switches" not in content:
        table = _operator_table(title, content)
        return Group(table, Text(), _firing_table(content["firing"])) if "firing" in content else table
    tables = [_operator_table(f"{title}switch {one['name']}: ", one) for one in content["switches"]]
    return Group(*(part for table in tables for part in (table, Text())))


def _operator_table(title: str, content: dict[str, Any]) -> Sheet:
    """An operator, then a line for each tensor that it reads or writes."""
    columns = [name(""), name("shape"), name("encoding", 1), tail("tensor")]
    least = f"{content['macs_best']:,} to " if "macs_best" in content else ""
    table = Sheet(f"{title}{least}{content['macs']:,} MAC, {content['constant_bytes']:,} B of constants", columns)
    for one in content.get("thresholds", ()):
        table.add_line(Text(f"threshold {one['name']}: {one['value']}, from {one['low']:,} to {one['high']:,}"))
    if "gated_macs" in content:
        table.add_line(_gated_line(content["gated_macs"]))
    for layer in content.get("gated_layers", ()):
        entry = from_plain(GateEntry, layer)
        table.add_line(Text(f"gate of {entry.layer}: {entry.text}"))
    _add_operators(table, content["operators"], "")
    return table


def _firing_table(content: dict[str, Any]) -> Sheet:
    """A gate a row: how many channels are live, which are always or never."""
    macs = content["macs"]
    title = f"{content['inputs']:,} inputs: {macs['least']:,} to {macs['most']:,} MAC, {macs['mean']:,.0f} on average"
    columns = [name("gate"), *map(number, ("channels", "live", "mean", "never", "always", "different sets"))]
    table = Sheet(title, columns)
    for one in content["gates"]:
        live = one["live"]
        span = str(live["most"]) if live["least"] == live["most"] else f"{live['least']} to {live['most']}"
        row = [one["list"], str(one["channels"]), span, f"{live['mean']:.1f}"]
        table.add_row(*row, *(f"{one[key]:,}" for key in ("never", "core", "clusters")))
    return table


def _gated_line(macs: dict[str, int]) -> Text:
    """The share of the convolutions' MAC that gates leave, and the cost of the gates."""
    share = 100 * macs["convolutions"] / macs["whole"]
    live = f"gated convolutions: {macs['convolutions']:,} of {macs['whole']:,} MAC ({share:.1f} %)"
    return Text(f"{live}; gates {macs['gates']:,}, mixing {macs['mixing']:,}")


def _add_operators(table: Sheet, operators: list[dict[str, Any]], within: str) -> None:
    """Adds operators; those of branches follow the operator that selects among them, named like branch/0/conv."""
    for op in operators:
        facts = [f"{key}={_value(value)}" for key, value in op["attributes"].items() if key not in op["usual"]]
        facts += [f"{op['macs']:,} MAC"] if op["macs"] else []
        table.add_line(Text.assemble((within + op["name"], "bold"), "  " if facts else "", ", ".join(facts)))
        for role in ("input", "output"):
            for one in op[f"{role}s"]:
                shape = "x".join(map(str, one["shape"])) or "scalar"
                table.add_row(f"  {'constant' if one['constant'] else role}", shape, one["encoding"], one["name"])
        for index, branch in enumerate(op.get("branches", ())):
            _add_operators(table, branch["operators"], f"{within}{op['name']}/{index}/")


def _value(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def board_table(content: list[dict[str, Any]]) -> RenderableType:
    """All boards."""
    columns = [name("board"), name("core"), number("MHz"), number("flash"), number("RAM"), tail("name")]
    table = Sheet("Boards", columns)
    for board in content:
        mhz = f"{board['clock_hz'] / 1e6:g}" if board["clock_hz"] else ""
        note = ", not emulated" if board["emulator"] == "none" else ""
        note += f"; measured: {board['measured']}" if board.get("measured") else ""
        sizes = [f"{board[key] // 1024:,} KiB" if board[key] else "" for key in ("flash_bytes", "ram_bytes")]
        table.add_row(board["name"], board["core"], mhz, *sizes, board["title"] + note)
    return table


def doctor_table(content: list[dict[str, Any]]) -> RenderableType:
    """What is installed and what is missing, and how to get that."""
    table = Sheet("", [name(""), name("what"), name("version", 1), prose("for")])
    for entry in content:
        mark = Text("ok", style="green") if entry["found"] else Text("missing", style="yellow")
        table.add_row(mark, entry["what"], _version(entry["version"]), entry["needed_for"])
    missing = Sheet("How to get what is missing", [name(""), tail("")], headings=False)
    for entry in content:
        if not entry["found"]:
            missing.add_row(entry["what"], entry["get"])
    return Group(table, Text(), missing) if missing.rows else table


def _version(text: str) -> str:
    """The number in what a program says of its version: `cc (Debian 12.2.0-14) 12.2.0`."""
    plain = re.sub(r"\([^)]*\)", "", text)
    found = re.search(r"\d+(\.\w+)+", plain)
    return found[0] if found else text


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
