"""hil-report.json: what a session found. `SCHEMA_VERSION` rises when a key changes its meaning or goes away.

    schema, schema_version   "tinygen-hil-report", 1
    tinygen, created         version; UTC, ISO 8601
    passed                   whether no check failed
    checks                   [{name, switch, status: passed|failed|skipped, message}]; see `tinygen.hil.checks`
    model, build_id, board, board_title, toolchain, kernels
    device                   {name, engine: serial|unicorn|qemu|labwired|native, port, clock_hz}, the clock as it says
    inputs                   {source, count, labels}: the file, or how random ones were drawn; whether there are labels
    limits                   {min_accuracy, max_latency_us}, null where not asked for
    seconds                  that all of it took, on this computer
    switches                 one entry per switch; a model that cannot be switched has one, whose `switch` is null:
        switch               name
        planned, completed   inputs; `stopped` says why the session ended early, or is null
        mismatches           results that are not the integer semantics'; `first_mismatch` says where, or is null:
                             {sample, layer, tensor, element, values: [semantics, device]}
        accuracy             {correct, of, accuracy}, or null without labels
        latency              null where nothing counts, or {source, about, inferences, clock_hz,
                             cycles and microseconds: {min, median, mean, p99, max}}
        layers               [{name, cycles, microseconds, instructions, source}] of one inference; instructions or null
        paths                of models with branches: [{branches: {operator: number}, share, cycles}], the latter as in
                             latency, or null
        energy               [{source, about, microjoules, interval}] per inference, at most one predicted and one
                             measured, which has all that `tinygen.hil.power.result.EnergyResult.as_json` gives
        memory               {stack_used_bytes, stack_bytes, arena_used_bytes, arena_bytes}; null where nothing shows it
        incidents            [{sample, what}]: what went wrong and was tried again
        rows                 [{sample, matches, stable, attempts, cycles, crc32, label, right}], crc32 of the codes

`source` is "measured" (by the board's own counter, or an instrument), "predicted" (by tinygen's model of the core, or
the board file's run current), or "reported": by what is behind a pseudo-terminal or a network, a board or a program.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tinygen.builds.arrays import Samples
from tinygen.builds.manifest import Manifest, ProgramEntry
from tinygen.builds.predicted import predicted_energy
from tinygen.hil.device import MEASURED, PREDICTED, REPORTED, Device
from tinygen.hil.semantics import Semantics
from tinygen.hil.session import Collected, Row
from tinygen.targets.board import Board

SCHEMA, SCHEMA_VERSION = "tinygen-hil-report", 1
_ABOUT = {
    MEASURED: "counted by the device while it computed",
    PREDICTED: "by tinygen's cycle model of the core, as the emulated board's counter shows it",
    REPORTED: "as the device behind the port says; a board would have measured it, an emulated one predicts",
}
_NATIVE = "by this computer's clock, whose nanoseconds stand for cycles"


def describe_switch(
    found: Collected,
    name: str | None,
    *,
    semantics: Semantics,
    samples: Samples,
    manifest: Manifest,
    device: Device,
) -> dict[str, Any]:
    """The entry of a switch.

    Args:
        found: by the session.
        name: of the switch.
        semantics: what the device should answer.
        samples: inputs there were to run.
        manifest: of the build.
        device: what it was run on.
    """
    timer, program = device.timer, manifest.section(name)
    clock_hz = timer.info.clock_hz if timer and timer.info else 0
    source = found.cycles_source or (PREDICTED if found.beside else "")
    cycles = [row.cycles for row in found.rows if row.cycles is not None] or found.beside
    rows = [_row(row, semantics, samples.labels) for row in found.rows]
    right = [row["right"] for row in rows if row["right"] is not None]
    about = _NATIVE if device.engine == "native" else _ABOUT.get(source, "")
    latency = _latency(cycles, source, about, clock_hz) if cycles and clock_hz else None
    return {
        "switch": name,
        "planned": len(samples),
        "completed": len(rows),
        "stopped": found.stopped or None,
        "mismatches": sum(not row.matches for row in found.rows),
        "first_mismatch": found.first_mismatch.as_json() if found.first_mismatch else None,
        "accuracy": {"correct": sum(right), "of": len(right), "accuracy": sum(right) / len(right)} if right else None,
        "latency": latency,
        "layers": _layers(found, source, clock_hz, program),
        **({"paths": _paths(found.rows)} if program.has_branches else {}),
        "energy": _predicted_energy(latency, device.board) if latency else [],
        "memory": {
            "stack_used_bytes": found.stack_used,
            "stack_bytes": manifest.stack_bytes,
            "arena_used_bytes": found.arena_used,
            "arena_bytes": program.arena_bytes,
        },
        "incidents": [asdict(incident) for incident in found.incidents],
        "rows": rows,
    }


def _row(row: Row, semantics: Semantics, labels: np.ndarray | None) -> dict[str, Any]:
    label = None if labels is None else int(labels[row.sample])
    checksum = 0
    for codes in row.outputs:
        checksum = zlib.crc32(np.ascontiguousarray(codes).tobytes(), checksum)
    return {
        "sample": row.sample,
        "matches": row.matches,
        "stable": row.stable,
        "attempts": row.attempts,
        "cycles": row.cycles,
        "crc32": f"{checksum:08x}",
        "label": label,
        "right": None if label is None else semantics.is_right(row.outputs, label),
    }


def _paths(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Which share of inputs takes which branches, the most frequent first, and their cycles."""
    groups: dict[tuple[tuple[str, int], ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(sorted(row.path.items())), []).append(row)
    found = []
    for path, taken in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        cycles = [row.cycles for row in taken if row.cycles is not None]
        share = round(len(taken) / len(rows), 6)
        found.append({"branches": dict(path), "share": share, "cycles": _figures(cycles) if cycles else None})
    return found


def _latency(cycles: Sequence[int], source: str, about: str, clock_hz: int) -> dict[str, Any]:
    figures = _figures(cycles)
    return {
        "source": source,
        "about": about,
        "inferences": len(cycles),
        "clock_hz": clock_hz,
        "cycles": figures,
        "microseconds": {key: round(value / clock_hz * 1e6, 3) for key, value in figures.items()},
    }


def _figures(values: Sequence[int]) -> dict[str, float]:
    array = np.asarray(values, np.float64)
    return {
        "min": float(array.min()),
        "median": float(np.median(array)),
        "mean": round(float(array.mean()), 3),
        # The value that at most one inference in a hundred exceeds.
        "p99": float(np.percentile(array, 99, method="inverted_cdf")),
        "max": float(array.max()),
    }


def _layers(found: Collected, source: str, clock_hz: int, program: ProgramEntry) -> list[dict[str, Any]]:
    if len(found.layers) != len(program.layers) or not clock_hz:
        return []
    instructions: Sequence[int | None] = found.instructions or [None] * len(found.layers)
    return [
        {
            "name": layer.name,
            "cycles": cycles,
            "microseconds": round(cycles / clock_hz * 1e6, 3),
            "instructions": count,
            "source": source,
        }
        for layer, cycles, count in zip(program.layers, found.layers, instructions, strict=True)
    ]


def _predicted_energy(latency: Mapping[str, Any], board: Board) -> list[dict[str, Any]]:
    energy = predicted_energy(latency["microseconds"]["median"] * 1e-6, board)
    if energy is None or board.run_current is None:
        return []
    current = board.run_current
    return [
        {
            "source": PREDICTED,
            "about": f"{current.ma:g} mA at {current.volts:g} V ({current.source}) for the median latency, which is "
            f"{latency['source']}",
            "microjoules": energy[0],
            "interval": energy[1],
        }
    ]
