"""What every operator is: attributes, a shape rule, rules on encodings, and an exact meaning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import Field, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.ir.encodings import Binary
from tinygen.ir.fixed_point import multiplier_fits
from tinygen.ir.tensor import Shape, Tensor

LATER: Mapping[str, bool] = MappingProxyType({"later": True})
"""Metadata of fields that operators got once there were files of them: left out where they hold their default, and out
of `repr`, so that files and builds stay what they were."""


def is_left_out(owner: Any, field: Field[Any]) -> bool:
    """Whether a field is omitted from files: it is not stored at all, or was added later and holds its default."""
    return "not saved" in field.metadata or ("later" in field.metadata and getattr(owner, field.name) == field.default)


def later_fields(op: Op) -> dict[str, Any]:
    """Fields that `repr` omits, if they do not hold their default."""
    return {f.name: getattr(op, f.name) for f in fields(op) if "later" in f.metadata and not is_left_out(op, f)}


@dataclass(frozen=True)
class Stripe:
    """An operator restricted to some rows of its output.

    Attributes:
        op: the operator, its attributes changed where rows at the border need that (names are still the
            whole operator's).
        inputs: per input the rows (first, end) that are read; None if all are.
    """

    op: Op
    inputs: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, kw_only=True)
class Op(ABC):
    """One operator. Subclasses add their attributes as fields.

    Attributes:
        name: unique in its graph, for messages and C comments.
        inputs: tensor names; "" stands for an optional input that is absent.
        outputs: tensor names.
    """

    KIND: ClassVar[str]
    """The operator's name in files and reports: "conv_2d"."""
    TAKES_BITS: ClassVar[bool] = False
    """Whether it knows that binary tensors are packed along their channels."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @abstractmethod
    def infer_shapes(self, node: Node) -> list[Shape]:
        """Shapes of the outputs; raises ModelError when the inputs' shapes do not fit together."""

    @abstractmethod
    def check(self, node: Node) -> None:
        """Raises UnsupportedError when the encodings or shapes are outside this operator's meaning."""

    @abstractmethod
    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The exact meaning: codes in, codes out. Absent optional inputs are empty arrays."""

    def macs(self, node: Node) -> int:
        """Multiply-accumulates of one inference, padded taps included."""
        return 0

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        """The operator that computes rows `first` to `end` - 1 of the NHWC output; None if it cannot be cut by rows."""
        return None


@dataclass(frozen=True, eq=False)
class Node:
    """An operator with the tensors it touches."""

    op: Op
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    def input(self, index: int) -> Tensor:
        """Input `index`, known to be present.

        Raises:
            ModelError: the operator lacks it.
        """
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise ModelError(f"input {index} is missing", where=self.op.name)
        return tensor

    def optional(self, index: int) -> Tensor | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def constant(self, index: int) -> np.ndarray:
        """Codes of a constant input.

        Raises:
            UnsupportedError: the input is computed at run time.
        """
        tensor = self.input(index)
        if tensor.data is None:
            raise self.unsupported(f"input {index} ('{tensor.name}') must be a constant")
        return tensor.data

    @property
    def output(self) -> Tensor:
        return self.outputs[0]

    def check(self) -> None:
        """Applies the operator's rules; arithmetic exceptions on invalid shapes become ModelError."""
        with self._fitting():
            self.op.check(self)
            self.op.infer_shapes(self)
            self._check_bits()

    def shapes(self) -> list[Shape]:
        """Shapes of the outputs by the operator's rule; exceptions as in `check`."""
        with self._fitting():
            return self.op.infer_shapes(self)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        try:
            yield
        except TinygenError:
            raise
        except (IndexError, ValueError, ZeroDivisionError, TypeError, OverflowError) as error:
            raise ModelError(f"its tensors do not fit together ({error})", where=self.describe()) from error

    def check_outputs(self) -> None:
        """Raises ModelError where an output has another shape than the operator's rule gives."""
        for tensor, shape in zip(self.outputs, self.op.infer_shapes(self), strict=True):
            if tensor.shape != shape:
                raise ModelError(
                    f"output '{tensor.name}' has shape {list(tensor.shape)}, its inputs give {list(shape)}",
                    where=self.op.name,
                )

    def _check_bits(self) -> None:
        for tensor in (*self.inputs, *self.outputs):
            binary = tensor is not None and isinstance(tensor.encoding, Binary)
            self.require(self.op.TAKES_BITS or not binary, "it does not take binary tensors")

    def unsupported(self, what: str, fix: str = "") -> UnsupportedError:
        return UnsupportedError(what, where=self.describe(), fix=fix)

    def require(self, condition: bool, what: str) -> None:
        """Raises UnsupportedError(what), naming the operator and its shapes, unless `condition`."""
        if not condition:
            raise self.unsupported(what)

    def require_multipliers(self, reals: Iterable[float]) -> None:
        """Raises UnsupportedError unless fixed point can represent all of these scale ratios."""
        for real in reals:
            self.require(multiplier_fits(real), f"its scales are too far apart: a multiplier of {real:.3g}")

    def describe(self) -> str:
        """`conv_2d_0 (int8 [1,49,10,1], ... -> int8 [1,25,5,64])`"""
        ins = ", ".join(t.describe() for t in self.inputs if t is not None)
        outs = ", ".join(t.describe() for t in self.outputs)
        return f"{self.op.name} ({ins} -> {outs})"
