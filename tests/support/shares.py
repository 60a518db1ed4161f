"""The same test on some of its cases in the default run, on all of them in the long one."""

from __future__ import annotations

import pytest

SHARE = 7
"""The default run takes one case in so many; coprime to most of the cycles in which encodings follow each other."""


def one_in(share: int) -> pytest.MarkDecorator:
    """For tests that take `cases[::every]`."""
    values = [share, pytest.param(1, marks=pytest.mark.long)]
    return pytest.mark.parametrize("every", values, ids=["some", "all"])


shares = one_in(SHARE)
