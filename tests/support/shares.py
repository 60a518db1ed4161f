"""The same test on some of its cases in the default run, on all of them in the long one."""

from __future__ import annotations

import pytest

SHARE = 7
"""The default run takes one case in so many; coprime to most of the cycles in which encodings follow each other."""

shares = pytest.mark.parametrize("every", [SHARE, pytest.param(1, marks=pytest.mark.long)], ids=["some", "all"])
"""For tests that take `cases[::every]`."""
