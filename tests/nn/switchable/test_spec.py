"""Switches: names, what is none, and which channels a width leaves."""

from __future__ import annotations

import pytest
import torch

from tinygen.errors import UnsupportedError
from tinygen.nn.switchable import Run, SwitchSpec
from tinygen.nn.switchable.runs import elements, index_of
from tinygen.nn.switchable.spec import check_switches


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (SwitchSpec(2, 4), "w2a4"),
        (SwitchSpec(2, 4, 0.5), "w2a4_x0_5"),
        (SwitchSpec(1, 1, 0.25), "w1a1_x0_25"),
        (SwitchSpec(8, 8, 0.125), "w8a8_x0_125"),
        (SwitchSpec(32, 32), "w32a32"),
    ],
)
def test_names(spec: SwitchSpec, name: str) -> None:
    assert spec.name == name and SwitchSpec.parse(name) == spec


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((9, 4), "9 weight bits"),
        ((0, 4), "0 weight bits"),
        ((4, 16), "16 activation bits"),
        ((4, 4, 0.0), "a width of 0.0"),
        ((4, 4, 1.5), "a width of 1.5"),
        ((4, 4, float("nan")), "a width of nan"),
        ((4, 4, 1 / 3), "at most 3 decimals"),
    ],
)
def test_no_switch(arguments: tuple, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        SwitchSpec(*arguments)


@pytest.mark.parametrize("name", ["w2", "W2a4", "w2a4_x0.5", "w2a4_x2_5", ""])
def test_no_name(name: str) -> None:
    with pytest.raises(UnsupportedError, match="is no switch"):
        SwitchSpec.parse(name)


def test_lists() -> None:
    with pytest.raises(UnsupportedError, match="an empty list of switches"):
        check_switches([])
    with pytest.raises(UnsupportedError, match="w4a4 is there twice"):
        check_switches([SwitchSpec(4, 4), SwitchSpec(2, 2), SwitchSpec(4, 4, 1)])


def test_which_channels_a_width_leaves() -> None:
    assert Run(7).kept(0.5) == 4 and Run(7).kept(1) == 7 and Run(1).kept(0.25) == 1
    assert Run(20).kept(0.55) == 11, "0.55 * 20 is above 11 in floats"
    assert Run(7, slims=False).kept(0.5) == 7
    assert index_of((Run(7),), 0.5) == slice(0, 4)
    assert index_of((Run(3, slims=False), Run(4)), 0.5) == slice(0, 5)
    flat = index_of((Run(3, size=2), Run(4, size=2)), 0.5)
    assert isinstance(flat, torch.Tensor) and flat.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert elements((Run(3, size=2), Run(4, size=2)), 0.5) == 8
