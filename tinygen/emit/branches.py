"""A C function for each branch, which runs the branch's own program in the scratch of the branch operator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tinygen.emit.calls import Call, layer_of
from tinygen.emit.ctext import comment_safe
from tinygen.emit.enumerators import Enumerator, Enumerators
from tinygen.emit.ports import Port, ports_of
from tinygen.lowering.program import Program, Step


@dataclass(frozen=True)
class EmittedBranch:
    """Template values of a branch.

    Attributes:
        title: text of a comment.
        parameters: declarations of inputs, outputs, and of scratch if there is any.
        arguments: names of these parameters.
        unread: parameters that the C does not use.
        enumerators: enumerators of offsets in the scratch.
        before, after: copies between the caller's buffers and the scratch, as (target, source, bytes).
        layers: see `layer_of`.
        arrays: symbols of the constants it reads.
        calls: of its layers.
        mark: layer number passed to the observer when the branch has run.
    """

    title: str
    parameters: list[str]
    arguments: list[str]
    unread: list[str]
    enumerators: tuple[Enumerator, ...]
    before: list[tuple[str, str, int]]
    after: list[tuple[str, str, int]]
    layers: list[dict[str, Any]]
    arrays: tuple[str, ...]
    calls: tuple[tuple[Step, Call], ...]
    mark: int


OBSERVER = (("void (*observer)(void *context, uint32_t layer)", "observer"), ("void *context", "context"))
"""Declarations and names of what every branch is given to tell of its layers."""


def branch_of(program: Program, mark: int, call: Callable[[Enumerators, Step], Call]) -> EmittedBranch:
    """Template values of one branch.

    Args:
        program: with buffers of the caller.
        mark: layer number passed to the observer when the branch has run.
        call: registers what a step needs.
    """
    enumerators = Enumerators(program, pointer="(void *)(arena + {})")
    calls = [(step, call(enumerators, step)) for step in program.layers]
    ports = ports_of(program, enumerators)
    before = [(port["copied"], port["label"], port["bytes"]) for port in ports["inputs"] if port["copied"]]
    after = [(port["label"], port["copied"], port["bytes"]) for port in ports["outputs"] if port["copied"]]
    every = [*ports["inputs"], *ports["outputs"]]
    used = set(_words(calls, [*before, *after]))
    scratch = ["scratch"] if enumerators.all else []
    return EmittedBranch(
        title=comment_safe(_title(program)),
        parameters=[
            *map(_declared, every),
            *["void *scratch"] * len(scratch),
            *[declaration for declaration, _ in OBSERVER],
        ],
        arguments=[*(port["label"] for port in every), *scratch, *(name for _, name in OBSERVER)],
        unread=[port["label"] for port in every if port["label"] not in used]
        + [name for _, name in OBSERVER if not calls],
        enumerators=enumerators.all,
        before=before,
        after=after,
        layers=[layer_of(*row) for row in calls],
        arrays=tuple(dict.fromkeys(symbol for _, one in calls for symbol in one.arrays)),
        calls=tuple(calls),
        mark=mark,
    )


def _title(program: Program) -> str:
    macs = sum(step.node.op.macs(step.node) for step in program.steps)
    count = len(program.layers)
    return f"{program.graph.name}: {count} layer{'s' if count != 1 else ''}, {macs:,} MAC"


def _declared(port: Port) -> str:
    return str(port["argument"])


def _words(calls: list[tuple[Step, Call]], copies: list[tuple[str, str, int]]) -> Iterator[str]:
    """Identifiers that the C of a branch uses."""
    for _, call in calls:
        for argument in call.arguments:
            yield from re.findall(r"\w+", argument)
    for target, source, _ in copies:
        yield from re.findall(r"\w+", f"{target} {source}")
