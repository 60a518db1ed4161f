"""Helpers in the measurements of `--flash`: functions of the model's headers that kernels of several layers call."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from tinygen.builds.switches import helper_sizes
from tinygen.lowering.layers import Layer, all_layers
from tinygen.verbs.compiled import Compiled

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Caller:
    """What may call helpers: a kernel and its headers."""

    kernel: str
    headers: tuple[str, ...]

    @staticmethod
    def of(layer: Layer) -> Caller:
        return Caller(layer.step.kernel.name, layer.step.plan.headers)


@dataclass
class Helpers:
    """The helpers of all firmwares. An ELF does not say who calls them, so callers are those that may be: kernels that
    are in no firmware without the helper, and have it in one of their headers.
    """

    _firmwares: list[tuple[frozenset[str], Mapping[str, int]]] = field(default_factory=list)
    _words: dict[str, frozenset[str]] = field(default_factory=dict)
    """Of each header."""

    def record(self, compiled: Compiled) -> int:
        """Notes a firmware; gives the bytes of its helpers."""
        sizes = helper_sizes(compiled.emitted, compiled.result)
        kernels = frozenset(one.step.kernel.name for each in compiled.program.programs for one in all_layers(each))
        self._firmwares.append((kernels, sizes))
        for name, text in compiled.emitted.files.items():
            if name not in self._words:
                self._words[name] = frozenset(_WORD.findall(text))
        return sum(sizes.values())

    def parts(self, callers: Iterable[Caller]) -> dict[Hashable, int]:
        """Bytes of the helpers that these may call, by name, aligned as in `Option.parts`."""
        found: dict[Hashable, int] = {}
        for caller in callers:
            calls = frozenset[str]().union(*(self._words.get(header, ()) for header in caller.headers))
            without = [sizes for kernels, sizes in self._firmwares if caller.kernel in kernels]
            for _, sizes in self._firmwares:
                for name, size in sizes.items():
                    if name in calls and all(name in others for others in without):
                        found["helper", name] = max(found.get(("helper", name), 0), size)
        return found
