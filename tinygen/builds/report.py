"""report.html: one self-contained page about a build."""

from __future__ import annotations

from typing import Any

from tinygen.builds.decisions import CostsEntry
from tinygen.builds.firmware_entry import FlashBudget
from tinygen.builds.flash_curve import flash_curve
from tinygen.builds.manifest import (
    Manifest,
    NetworkEntry,
    Predicted,
    ProfileEntry,
    ProgramEntry,
    SwitchEntry,
    TensorEntry,
)
from tinygen.builds.pages import COLOURS, page_environment
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.targets.cycles.interval import percent

_NOTABLE = 0.01
"""Share of all cycles from which on a layer without weights is named if it runs in plain loops."""
_WIDTH, _LEFT, _TOP, _PLOT = 1000, 70, 10, 300


def render_report(manifest: Manifest) -> str:
    """The page for one build, from its manifest (with `profile`, when a run was profiled)."""
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            m=manifest,
            cards=_cards(manifest),
            regions=_regions(manifest),
            arena=_arena(manifest),
            budget=_budget(manifest),
            paths=_paths(manifest),
            work=_work(manifest),
            layers=_layers(manifest),
            switches=[switch_row(entry) for entry in manifest.switches],
            switch_columns=SWITCH_COLUMNS,
            constants=constants_text(manifest.network) if manifest.network else "",
        )
    )


def codes_text(count: int) -> str:
    """`1 code`, `2 codes`"""
    return f"{count} code" if count == 1 else f"{count} codes"


def size_text(count: int) -> str:
    """12,345 B (12.1 KiB)."""
    return f"{count:,} B ({count / 1024:.1f} KiB)" if count >= 1024 else f"{count} B"


def arena_text(m: ProgramEntry) -> str:
    """The arena's size, how far from the lower bound (largest sum of live buffers), and what reordering saved."""
    gap = m.arena_bytes - m.arena_lower_bound_bytes
    text = size_text(m.arena_bytes)
    if gap:
        proof = "proved the smallest" if m.arena_optimal else "perhaps not the smallest"
        text += f", {proof}; {gap:,} B above the lower bound {size_text(m.arena_lower_bound_bytes)}"
    else:
        text += ", the lower bound"
    if m.order.changed:
        text += f"; {size_text(m.order.given_arena_bytes)} in the model's own order of operators"
    return text


def packed_text(m: ProgramEntry) -> str:
    """The layers whose outputs of few bits are packed in RAM: `4 bits: conv1, pool`; "" where none are."""
    names: dict[int, list[str]] = {}
    for layer in m.layers:
        for bits in {t.bits for t in layer.outputs if t.packed and t.bits > 1}:
            names.setdefault(bits, []).append(layer.name)
    return "; ".join(f"{bits} bits: {', '.join(layers)}" for bits, layers in sorted(names.items()))


def mixing_text(m: ProgramEntry) -> str:
    """Mixed weights in RAM: `whole layer: conv1_mixed (9,216 B); four filters at a time: conv2 (576 B)`; "" where no
    experts are mixed.
    """
    whole = [f"{layer.name} ({layer.outputs[0].bytes:,} B)" for layer in m.layers if layer.op == MixWeights.KIND]
    apart = [f"{layer.name} ({layer.mixed_bytes:,} B)" for layer in m.layers if layer.mixed_bytes]
    named = (("whole layer", whole), ("four filters at a time", apart))
    return "; ".join(f"{how}: {', '.join(layers)}" for how, layers in named if layers)


def plain_text(m: Manifest) -> str:
    """Layers that run in plain loops, and their predicted cycles where known: those with weights, and those without
    that take a share of the cycles worth a look; "" where none do.
    """
    # Commands that show no build need not load the kernels.
    from tinygen.lowering.plan import registered_kernels
    from tinygen.lowering.select import Family

    if m.kernels == Family.REFERENCE:
        return ""
    plain = {kernel.name for kernel in registered_kernels() if kernel.family == Family.REFERENCE and not kernel.moves}
    counts = [layer.cycles_predicted for layer in m.profile.layers] if m.profile else []
    least = _NOTABLE * sum(counts)
    found = []
    for index, layer in enumerate(m.layers):
        cycles = counts[index] if index < len(counts) else None
        if layer.kernel in plain and (layer.macs or (cycles or 0) > least):
            # In a branch that the profile did not take, none.
            cost = f"{cycles:,} cycles" if cycles else f"{layer.macs:,} MAC"
            found.append(f"{layer.name} ({cost})")
    return ", ".join(found)


def stream_text(m: ProgramEntry) -> str:
    """How the first layers are computed in stripes; empty when they are not."""
    s = m.stream
    if not s:
        return ""
    extra = s.recomputed_macs
    cost = f"{extra:,} MAC more ({100 * extra / max(s.macs, 1):.1f} %)" if extra else "no MAC more"
    rows = f"{s.stripes} stripes of {s.rows} rows, shared rows {'kept' if s.keep else 'computed again'}"
    before = size_text(s.arena_bytes_before)
    return f"{s.operators[0]} to {s.operators[-1]} in {rows}: {cost}; arena without stripes at least {before}"


def budget_text(budget: FlashBudget) -> str:
    """The flash limit, the kernels chosen within it, and those that would be chosen without a limit."""
    small, fast = budget.curve[0], budget.curve[-1]
    return (
        f"{size_text(budget.limit_bytes)}: {budget.cycles_predicted:,} cycles; smallest found "
        f"{size_text(small.flash_bytes)}, {small.cycles_predicted:,} cycles; fastest {size_text(fast.flash_bytes)}, "
        f"{fast.cycles_predicted:,} cycles"
    )


NO_ENERGY = "none: no run current of this board is known"
"""Instead of predicted energy, where its board file has `run_current: null`."""


def energy_text(profile: Predicted) -> str:
    """123 µJ (86 to 160 by the run current alone), or why there is none; empty where there is no time either."""
    if profile.microjoules_predicted is None or profile.microjoules_interval is None:
        return "" if profile.milliseconds_predicted is None else NO_ENERGY
    low, high = profile.microjoules_interval
    return f"{profile.microjoules_predicted:,.0f} µJ ({low:,.0f} to {high:,.0f} by the run current alone)"


def time_text(profile: ProfileEntry) -> str:
    """The predicted time and how far it may be off."""
    text = f"{profile.milliseconds_predicted:,.3f} ms"
    off = interval_text(profile)
    return f"{text}; {off}" if off else text


def interval_text(profile: ProfileEntry) -> str:
    """The interval of 90 % of such times and its source, or why there is none."""
    if profile.milliseconds_interval is None or not profile.milliseconds_predicted:
        return profile.cycles_interval_source
    low, high = profile.milliseconds_interval
    off = " to ".join(percent(one / profile.milliseconds_predicted) for one in (low, high))
    return f"90 %: {low:,.3g} to {high:,.3g} ms ({off} %), by {profile.cycles_interval_source}"


SWITCH_COLUMNS = ("switch", "MAC", "constants, B", "code, B", "arena, B", "cycles, predicted", "energy, µJ")


def switch_row(entry: SwitchEntry) -> list[str]:
    """The resources of one switch, in the order of SWITCH_COLUMNS; bytes of flash as "its own + shared with others"."""
    profile = entry.profile
    cycles = profile.cycles_predicted if profile else None
    energy = profile.microjoules_predicted if profile else None
    return [
        entry.name,
        f"{entry.macs:,}",
        *(f"{part.own:,} + {part.shared:,}" for part in (entry.constant_bytes, entry.code_bytes)),
        f"{entry.arena_bytes:,}",
        "" if cycles is None else f"{cycles:,}",
        "" if energy is None else f"{energy:,.1f}",
    ]


def constants_text(network: NetworkEntry) -> str:
    """The constants of a switchable network, compared with separate firmwares and float32 weights."""
    apart = sum(network.constant_bytes_apart.values()), sum(network.coded_bytes_apart.values())
    return (
        f"{_with_code(network.constant_bytes, network.coded_bytes)} for all switches; {_with_code(*apart)} in "
        f"independent firmwares, {size_text(network.float_bytes)} as float32 weights"
    )


def _with_code(constants: int, coded: int) -> str:
    return size_text(constants) + (f", and about {size_text(coded)} of weights as code" if coded else "")


def _cards(m: Manifest) -> list[tuple[str, str]]:
    sizes = (
        [("target", m.target_note)]
        if m.target_note
        else [
            ("flash", size_text(m.flash_bytes or 0)),
            ("of which model", size_text(m.flash_model_bytes)),
            ("RAM, stack included", size_text(m.ram_bytes or 0)),
        ]
    )
    cards = [
        *sizes,
        ("arena", size_text((m.network or m).arena_bytes)),
        ("multiply-accumulates", f"{m.macs:,}"),
    ]
    profile = m.profile
    if m.profile_note:
        cards.append(("cycles", m.profile_note))
    if profile:
        cards.append(("instructions per inference", f"{profile.instructions:,}"))
        cards.append((f"cycles ({profile.cycles_source})", f"{profile.cycles_predicted:,}"))
        if profile.milliseconds_predicted is not None:
            clock = f"at {(m.clock_hz or 0) / 1e6:g} MHz, predicted; {interval_text(profile)}"
            cards.append((clock.rstrip("; "), f"{profile.milliseconds_predicted:.2f} ms"))
        if energy := energy_text(profile):
            cards.append(("energy, predicted", energy))
    return cards


def _regions(m: Manifest) -> list[dict[str, Any]]:
    regions = []
    for region in m.memory:
        total = region.size
        parts = [
            {
                "name": name,
                "bytes": count,
                "text": size_text(count),
                "percent": round(100 * count / total, 3),
                "colour": COLOURS[index % len(COLOURS)],
            }
            for index, (name, count) in enumerate(region.parts.items())
            if count
        ]
        used = region.used
        text = f"{size_text(used)} of {size_text(total)}, {100 * used / total:.1f} %"
        regions.append({"name": region.name, "text": text, "parts": parts})
    return regions


def _budget(m: Manifest) -> dict[str, Any] | None:
    """Flash against cycles: of each choice of kernels, with the limit and what was chosen."""
    budget = m.flash_budget
    if budget is None or m.flash_bytes is None:
        return None
    points = [(point.flash_bytes, point.cycles_predicted) for point in budget.curve]
    chosen = m.flash_bytes, budget.cycles_predicted
    return {
        "curve": flash_curve(points, limit=budget.limit_bytes, chosen=chosen),
        "summary": budget_text(budget),
        "switches": len(m.switches),
    }


def cost_rows(costs: CostsEntry) -> list[tuple[str, str]]:
    """(heading, text) of what inferences cost at worst, at best, and over the data set."""
    expected = f"expected over {costs.inputs:,} inputs"
    named = (("worst", costs.worst), (expected, costs.expected), ("best", costs.best))
    return [
        (f"cycles, {costs.source}, {name}", f"{cost.cycles:,}; {cost.macs:,} MAC")
        for name, cost in named
        if cost is not None
    ]


def _paths(m: Manifest) -> dict[str, Any] | None:
    """The share of a data set's inputs on each path, and its cost compared with the worst."""
    costs = m.costs
    if costs is None:
        return None
    worst = max(costs.worst.cycles, 1)
    rows = [
        {
            "name": one.text,
            "share": round(100 * one.share, 2),
            "cost": round(100 * one.cycles / worst, 2),
            "text": f"{one.cycles:,} cycles, {one.macs:,} MAC",
        }
        for one in costs.paths
    ]
    settings = [(one.text, one.cost_text) for one in costs.settings]
    about = {"summary": cost_rows(costs), "source": costs.source, "inputs": f"{costs.inputs:,}"}
    return {"rows": rows, "settings": settings, **about}


def _arena(m: ProgramEntry) -> dict[str, Any]:
    steps = max(len(m.steps), 1)
    height = max(m.arena_bytes, 1)
    column = (_WIDTH - _LEFT) / steps

    def y_of(offset: float) -> float:
        return round(_TOP + _PLOT * (1 - offset / height), 1)

    boxes = []
    for index, buffer in enumerate(m.arena):
        last = min(buffer.last, steps - 1)
        width = column * (last - buffer.first + 1)
        tall = _PLOT * buffer.bytes / height
        title = f"{buffer.name}: {buffer.bytes} B at {buffer.offset}, layers {buffer.first} to {last}"
        short = buffer.name.rsplit("/", 1)[-1].rsplit(";", 1)[-1][: max(int(width / 7), 0)]
        boxes.append(
            {
                "x": round(_LEFT + column * buffer.first, 1),
                "y": y_of(buffer.offset + buffer.bytes),
                "w": round(width, 1),
                "h": round(max(tall, 1), 1),
                "colour": COLOURS[index % len(COLOURS)],
                "title": title,
                "label": short if tall >= 16 and len(short) > 3 else "",
            }
        )
    ticks = [
        {"x": _LEFT - 6, "y": y_of(mark) + 4, "anchor": "end", "text": f"{mark:,}"}
        for mark in (m.arena_bytes * k // 4 for k in range(5))
    ]
    every = max(1, steps // 20)
    ticks += [
        {"x": round(_LEFT + column * (i + 0.5), 1), "y": _TOP + _PLOT + 16, "anchor": "middle", "text": str(i)}
        for i in range(0, steps, every)
    ]
    packed = packed_text(m)
    summary = f"Arena {arena_text(m)}." + (f" Activations packed in {packed}." if packed else "")
    mixing = mixing_text(m)
    summary += f" Experts' weights mixed, {mixing}." if mixing else ""
    summary += f" Stripes: {stream_text(m)}." if m.stream else ""
    return {
        "width": _WIDTH,
        "height": _TOP + _PLOT + 24,
        "left": _LEFT,
        "boxes": boxes,
        "ticks": ticks,
        "bound_y": y_of(m.arena_lower_bound_bytes),
        "summary": summary,
    }


def _work(m: Manifest) -> dict[str, Any]:
    profile = m.profile
    if profile:
        counts = [layer.instructions for layer in profile.layers]
        title = "Where the instructions go"
        note = f"Executed instructions of one inference on zero input, counted in the emulated board: {sum(counts):,}."
    else:
        counts = [layer.macs for layer in m.layers]
        title = "Where the multiply-accumulates go"
        note = "No instruction counts: this build was not run in an emulated board that counts."
    top = max([*counts, 1])
    total = max(sum(counts), 1)
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys(layer.op for layer in m.layers))}
    rows = [
        {
            "name": layer.name,
            "percent": round(100 * count / top, 2),
            "text": f"{count:,} ({100 * count / total:.1f} %)",
            "colour": COLOURS[kinds[layer.op] % len(COLOURS)],
        }
        for layer, count in zip(m.layers, counts, strict=True)
    ]
    return {"title": title, "note": note, "rows": rows}


def _layers(m: Manifest) -> list[dict[str, Any]]:
    profile = m.profile
    rows = []
    for index, layer in enumerate(m.layers):
        instructions = profile.layers[index].instructions if profile else None
        cycles = profile.layers[index].cycles_predicted if profile else None
        rate = layer.macs / cycles if cycles else None
        rows.append(
            {
                "name": layer.name,
                "kernel": layer.kernel,
                "inputs": ", ".join(layer.inputs),
                "outputs": ", ".join(_shape_text(t) for t in layer.outputs),
                "macs": f"{layer.macs:,}",
                "weight_bytes": f"{layer.weight_bytes:,}",
                "scratch_bytes": f"{layer.scratch_bytes:,}",
                "instructions": f"{instructions:,}" if instructions is not None else "",
                "cycles": f"{cycles:,}" if cycles is not None else "",
                "rate": f"{rate:.2f}" if rate else "",
            }
        )
    return rows


def _shape_text(tensor: TensorEntry) -> str:
    bits = f" in {tensor.bits} bit{'s' if tensor.bits > 1 else ''}" if tensor.packed else ""
    return f"{tensor.dtype} [{','.join(map(str, tensor.shape))}]{bits}"
