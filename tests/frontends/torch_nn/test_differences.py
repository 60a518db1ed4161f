"""Sums and differences of branches: what becomes of the constants beside their accumulators."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinygen.frontends.folding import Reach
from tinygen.frontends.torch_nn import sums
from tinygen.frontends.torch_nn.values import linear


def _operand(name: str, offset: int) -> Any:
    chain = linear([Fraction(1)], [Fraction(offset)])
    reach = Reach(np.array([-5]), np.array([5]))
    return SimpleNamespace(shape=(1, 1, 1, 1), flat=False, chain=chain, inputs=(name,), reach=reach)


@pytest.mark.parametrize("sign", [1, -1])
def test_offsets_have_the_sign_of_their_operand(sign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "_operand", lambda builder, x, where: x)
    monkeypatch.setattr(sums, "_largest", lambda builder, x: [5])
    builder: Any = None
    found = sums.add(builder, _operand("a", 3), _operand("b", 2), "here", sign)
    assert found.chain.offset == (Fraction(3 + sign * 2),)
    assert found.chain.gain == (Fraction(1),) and found.inputs == ("a", "b")
