"""Models that keep something from one invocation to the next: small ones, and those that pymicro-wakeword ships."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator as Code

from tests.support.tflite_builder import ModelSpec, TensorSpec, build_chain, options
from tests.targets.tools import requires_package
from tinygen.ir.graph import Graph

WAKE_WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
_SPEC = importlib.util.find_spec("pymicro_wakeword")

needs_wake_words = requires_package("pymicro_wakeword")


def wake_word(name: str) -> Path:
    """The .tflite file of one of `WAKE_WORDS`."""
    assert _SPEC is not None and _SPEC.origin is not None, "pip install pymicro-wakeword"
    return Path(_SPEC.origin).parent / "models" / f"{name}.tflite"


def frames(graph: Graph, count: int, seed: int = 20) -> list[list[np.ndarray]]:
    """Inputs that go on from each other as sound does: random walks, some slow, some fast, some clipped."""
    rng = np.random.default_rng(seed)
    rows: list[list[np.ndarray]] = []
    level = [np.zeros(graph.tensors[name].shape) for name in graph.inputs]
    for index in range(count):
        pace = (2.0, 20.0, 200.0)[index // 16 % 3]
        level = [np.clip(x + rng.normal(-2.0, pace, x.shape), -160, 160) for x in level]
        rows.append([np.clip(np.round(x), -128, 127).astype(np.int8) for x in level])
    return rows


@dataclass
class Variables:
    """Operators on variables, all int8 of one scale.

    Attributes:
        once: operators of the subgraph that initialises them.
    """

    scale: float = 0.5
    once: list[ModelSpec] = field(default_factory=list)

    def tensor(self, *shape: int, data: np.ndarray | None = None) -> TensorSpec:
        """A tensor of shape [shape]."""
        return TensorSpec(shape, scale=self.scale, zero_point=3, data=data)

    def declare(self, name: str, initial: np.ndarray | None = None) -> tuple[ModelSpec, TensorSpec]:
        """The operator that gives a variable's handle, and the handle; it begins with these codes."""
        if initial is not None:
            operator, handle = self.declare(name)
            constant = self.tensor(*initial.shape, data=initial)
            self.once += [operator, ModelSpec(Code.ASSIGN_VARIABLE, [handle, constant], [])]
        handle = TensorSpec((), "resource", name=f"{name}_handle")
        return ModelSpec(Code.VAR_HANDLE, [], [handle], **options("VarHandleOptions", sharedName=name)), handle

    def model(
        self, operators: Sequence[ModelSpec], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> bytes:
        """The .tflite file; CALL_ONCE comes first."""
        call = ModelSpec(Code.CALL_ONCE, [], [], **options("CallOnceOptions", initSubgraphIndex=1))
        return build_chain([call, *operators], inputs=inputs, outputs=outputs, once=self.once)


def read(handle: TensorSpec, output: TensorSpec) -> ModelSpec:
    return ModelSpec(Code.READ_VARIABLE, [handle], [output])


def assign(handle: TensorSpec, value: TensorSpec) -> ModelSpec:
    return ModelSpec(Code.ASSIGN_VARIABLE, [handle, value], [])


def add(a: TensorSpec, b: TensorSpec, output: TensorSpec) -> ModelSpec:
    return ModelSpec(Code.ADD, [a, b], [output], **options("AddOptions"))


def concatenation(parts: Sequence[TensorSpec], output: TensorSpec, axis: int = 1) -> ModelSpec:
    return ModelSpec(Code.CONCATENATION, parts, [output], **options("ConcatenationOptions", axis=axis))


def rows(source: TensorSpec, first: int, output: TensorSpec) -> ModelSpec:
    """The last rows of [1, rows, 1, channels], from `first` on."""

    def numbers(*values: int) -> TensorSpec:
        return TensorSpec((4,), "int32", data=np.array(values, np.int32))

    operands = [source, numbers(0, first, 0, 0), numbers(*source.shape), numbers(1, 1, 1, 1)]
    return ModelSpec(Code.STRIDED_SLICE, operands, [output], **options("StridedSliceOptions"))


def accumulator() -> bytes:
    """The sum of all inputs, which saturates."""
    v = Variables()
    declared, handle = v.declare("sum", np.array([[3, -90, 7, 120]], np.int8))
    x, old, new = v.tensor(1, 4), v.tensor(1, 4), v.tensor(1, 4)
    return v.model([declared, read(handle, old), add(old, x, new), assign(handle, new)], [x], [new])


def ring() -> bytes:
    """The last five rows, two of which are new."""
    v = Variables()
    declared, handle = v.declare("rows", np.full((1, 3, 1, 4), 3, np.int8))
    x, old, whole, new = v.tensor(1, 2, 1, 4), v.tensor(1, 3, 1, 4), v.tensor(1, 5, 1, 4), v.tensor(1, 3, 1, 4)
    total = v.tensor(1, 5, 1, 4)
    chain = [declared, read(handle, old), concatenation([old, x], whole), rows(whole, 2, new), assign(handle, new)]
    return v.model([*chain, add(whole, whole, total)], [x], [total])


def delay_line() -> bytes:
    """What was put in two invocations ago: one variable becomes what the other was."""
    v = Variables()
    (one, first), (two, second) = (v.declare(name, np.full((1, 4), i, np.int8)) for i, name in enumerate("ab"))
    x, a, b, y = (v.tensor(1, 4) for _ in range(4))
    chain = [one, two, read(first, a), read(second, b), add(b, a, y), assign(second, a), assign(first, x)]
    return v.model(chain, [x], [y])


def read_again() -> bytes:
    """A variable that is read, assigned, and read again in one invocation."""
    v = Variables()
    declared, handle = v.declare("sum", np.array([[1, 2, 3, 4]], np.int8))
    x, old, middle, again, new, y = (v.tensor(1, 4) for _ in range(6))
    chain = [declared, read(handle, old), add(old, x, middle), assign(handle, middle), read(handle, again)]
    return v.model([*chain, add(again, x, new), assign(handle, new), add(again, old, y)], [x], [y])


def used_late() -> bytes:
    """An operator behind the assignment reads what the variable was before."""
    v = Variables()
    declared, handle = v.declare("last", np.array([[9, 8, 7, 6]], np.int8))
    x, old, new, y = (v.tensor(1, 4) for _ in range(4))
    chain = [declared, read(handle, old), add(x, x, new), assign(handle, new), add(old, new, y)]
    return v.model(chain, [x], [y])


def swapped() -> bytes:
    """Two variables that change places; what is added to one shows in the other."""
    v = Variables()
    (one, first), (two, second) = (v.declare(name, np.full((1, 4), i, np.int8)) for i, name in enumerate("ab"))
    x, a, b, y = (v.tensor(1, 4) for _ in range(4))
    chain = [one, two, read(first, a), read(second, b), add(a, x, y), assign(first, b), assign(second, a)]
    return v.model(chain, [x], [y])


def gives_old() -> bytes:
    """The model's output is what the variable was before."""
    v = Variables()
    declared, handle = v.declare("last", np.array([[9, 8, 7, 6]], np.int8))
    x, old, new = (v.tensor(1, 4) for _ in range(3))
    return v.model([declared, read(handle, old), add(x, x, new), assign(handle, new)], [x], [old])


SMALL: dict[str, Callable[[], bytes]] = {
    "accumulator": accumulator,
    "ring": ring,
    "delay_line": delay_line,
    "read_again": read_again,
    "used_late": used_late,
}
"""Models that can be built."""
ONLY_RUN: dict[str, Callable[[], bytes]] = {"swapped": swapped, "gives_old": gives_old}
"""Models that have a meaning, and no C."""
