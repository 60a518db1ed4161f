"""CAST: the same numbers in another type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinygen.ir.encodings import Affine, Float32, Plain
from tinygen.ir.ops.base import Node, Op, Stripe
from tinygen.ir.tensor import Shape


@dataclass(frozen=True, kw_only=True)
class Cast(Op):
    """Input and output: float32, bool or integers of 8 to 64 bits. Codes are taken as numbers, whatever their scale.

    Integers wrap. Floats lose their fraction; beyond the type they become its limit, NaN its upper one (LiteRT's
    cast.cc). Anything but 0 is true.
    """

    KIND: ClassVar[str] = "cast"

    def infer_shapes(self, node: Node) -> list[Shape]:
        return [node.input(0).shape]

    def stripe(self, node: Node, first: int, end: int) -> Stripe | None:
        return Stripe(self, ((first, end),))

    def check(self, node: Node) -> None:
        for tensor in (node.input(0), node.output):
            node.require(isinstance(tensor.encoding, Affine | Plain | Float32), f"{tensor.encoding} is not supported")

    def evaluate(self, node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        x, kind = values[0], node.output.dtype
        if x.dtype.kind != "f" or kind.kind not in "iu":
            return [x.astype(kind)]
        info = np.iinfo(kind)
        # In double precision the limits of 32 bits are exact; 2^63 itself, rounded from 2^63 - 1, is beyond.
        whole = np.trunc(np.nan_to_num(x.astype(np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf))
        inside = (whole >= float(info.min)) & (whole < float(info.max) + (kind.itemsize < 8))
        limits = np.where(whole > 0, info.max, info.min).astype(kind)
        return [np.where(inside, np.where(inside, whole, 0).astype(np.int64).astype(kind), limits)]
