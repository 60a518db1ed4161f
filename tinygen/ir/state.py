"""What a network keeps from one invocation to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class State:
    """A tensor that outlives an invocation.

    Attributes:
        tensor: what an invocation reads; no operator writes it.
        update: the tensor whose codes `tensor` has in the next invocation: an input, another state's tensor, or what
            an operator writes. All states change at once, when the last operator has finished.
        initial: codes before the first invocation, and after a reset; shaped and typed as the tensor.
    """

    tensor: str
    update: str
    initial: np.ndarray
