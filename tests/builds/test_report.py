"""What a build's report says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tinygen.builds.manifest import Manifest, ProgramEntry
from tinygen.builds.report import arena_text, plain_text
from tinygen.lowering.program import Ordering

KEPT = Ordering(given_arena_bytes=1008, changed=False, optimal=True)
MOVED = Ordering(given_arena_bytes=2000, changed=True, optimal=True)


@pytest.mark.parametrize(
    ("arena", "optimal", "order", "text"),
    [
        (1000, True, KEPT, "1000 B, the lower bound"),
        (1008, True, KEPT, "1008 B, proved the smallest; 8 B above the lower bound 1000 B"),
        (1008, False, KEPT, "1008 B, perhaps not the smallest; 8 B above the lower bound 1000 B"),
        (1000, True, MOVED, "1000 B, the lower bound; 2,000 B (2.0 KiB) in the model's own order of operators"),
    ],
)
def test_arena_and_its_bound(arena: int, optimal: bool, order: Ordering, text: str) -> None:
    program = ProgramEntry(
        inputs=(),
        outputs=(),
        states=(),
        arena_bytes=arena,
        arena_lower_bound_bytes=1000,
        arena_optimal=optimal,
        order=order,
        stream=None,
        macs=0,
        layers=(),
        arena=(),
        steps=(),
    )
    assert arena_text(program) == text


def test_plain_layers() -> None:
    """Those with weights that no tuned kernel computes, and others that take 1 % of the cycles and do not only copy;
    none where plain loops were asked for.
    """
    kinds = (
        ("first", "conv_2d_dsp_rows", 90),
        ("second", "conv_2d_codes", 1200),
        ("third", "mean", 0),
        ("fourth", "pad", 0),
        ("fifth", "prelu", 0),
    )
    layers = [SimpleNamespace(name=name, kernel=kernel, macs=macs) for name, kernel, macs in kinds]
    profile = SimpleNamespace(layers=[SimpleNamespace(cycles_predicted=n) for n in (100, 9876, 5, 4000, 400)])

    def text(**more: Any) -> str:
        return plain_text(cast(Manifest, SimpleNamespace(**{"layers": layers, "kernels": "tinygen", **more})))

    assert text(profile=None) == "second (1,200 MAC)"
    assert text(profile=profile) == "second (9,876 cycles), fifth (400 cycles)"
    assert text(profile=profile, kernels="reference") == ""
    profile.layers[1].cycles_predicted = 0
    assert "second (1,200 MAC)" in text(profile=profile)
