"""Operators of sums, and how the epilogue is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tinygen.ir.epilogue import Epilogue, Tflite
from tinygen.ir.fixed_point import Activation
from tinygen.ir.ops.base import Op

_PLAIN = Tflite()


@dataclass(frozen=True, kw_only=True)
class Summing(Op):
    """Sums with an epilogue that makes outputs of them.

    Attributes:
        epilogue: None if the sums, int32, are the output.
    """

    TAKES_BITS: ClassVar[bool] = True

    epilogue: Tflite | Epilogue | None = _PLAIN

    @property
    def is_tflite(self) -> bool:
        return isinstance(self.epilogue, Tflite)

    @property
    def activation(self) -> Activation:
        """The fused activation; NONE where another epilogue clamps."""
        return self.epilogue.activation if isinstance(self.epilogue, Tflite) else Activation.NONE

    @property
    def of_sums(self) -> Epilogue | None:
        """The epilogue of an operator that is not TFLite's."""
        assert not isinstance(self.epilogue, Tflite)
        return self.epilogue
