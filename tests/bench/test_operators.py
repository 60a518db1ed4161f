"""Suite `operators`: what runs in plain loops is what the pages say."""

from __future__ import annotations

import pytest

from tinygen.bench.operators import cases
from tinygen.bench.suites import SuiteOptions
from tinygen.frontends.load import load_model
from tinygen.lowering.select import choose

_PLAIN: set[str] = set()


@pytest.mark.parametrize(
    ("isa", "also"),
    [
        (("dsp",), set()),
        (("scalar", "rv32"), {"max_pool_int16"}),
        (("scalar", "armv6m"), {"largest_of_image_int8", "max_pool_int16"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_plain_loops(isa: tuple[str, ...], also: set[str]) -> None:
    found = set()
    for case in cases(SuiteOptions()).cases:
        kernel = choose(next(iter(load_model(case.model).nodes())), "compact", ("c99", *isa)).kernel
        if kernel.family == "reference" and not kernel.moves:
            found.add(case.name)
    assert found == _PLAIN | also
