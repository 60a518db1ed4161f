"""Branches: a function each, which calls the kernels of a program of its own in the scratch of its layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tinygen.emit.calls import Call, layer_of
from tinygen.emit.ctext import comment_safe
from tinygen.emit.places import Place, Places
from tinygen.emit.ports import Port, ports_of
from tinygen.lowering.program import Program, Step


@dataclass(frozen=True)
class EmittedBranch:
    """What the template says of one.

    Attributes:
        title: for a comment.
        parameters: declarations of inputs, outputs, and of scratch where it wants any.
        arguments: names of the same.
        unread: those of them that the C does not mention.
        places: in the scratch.
        before, after: what is copied, as (target, source, bytes), between its buffers and its places.
        layers: see `layer_of`.
        arrays: symbols of constants.
        calls: of its layers.
        mark: what the observer gets when it has run.
    """

    title: str
    parameters: list[str]
    arguments: list[str]
    unread: list[str]
    places: tuple[Place, ...]
    before: list[tuple[str, str, int]]
    after: list[tuple[str, str, int]]
    layers: list[dict[str, Any]]
    arrays: tuple[str, ...]
    calls: tuple[tuple[Step, Call], ...]
    mark: int


OBSERVER = (("void (*observer)(void *context, uint32_t layer)", "observer"), ("void *context", "context"))
"""Declarations and names of what every branch is given to tell of its layers."""


def branch_of(program: Program, mark: int, call: Callable[[Places, Step], Call]) -> EmittedBranch:
    """One branch.

    Args:
        program: with buffers of the caller.
        mark: what the observer gets when it has run.
        call: registers what a step needs.
    """
    places = Places(program, pointer="(void *)(arena + {})")
    calls = [(step, call(places, step)) for step in program.layers]
    ports = ports_of(program, places)
    before = [(port["copied"], port["label"], port["bytes"]) for port in ports["inputs"] if port["copied"]]
    after = [(port["label"], port["copied"], port["bytes"]) for port in ports["outputs"] if port["copied"]]
    every = [*ports["inputs"], *ports["outputs"]]
    used = set(_words(calls, [*before, *after]))
    scratch = ["scratch"] if places.all else []
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
        places=places.all,
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
    """What the C of a branch mentions."""
    for _, call in calls:
        for argument in call.arguments:
            yield from re.findall(r"\w+", argument)
    for target, source, _ in copies:
        yield from re.findall(r"\w+", f"{target} {source}")
