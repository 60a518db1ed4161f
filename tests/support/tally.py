"""What comparisons with torch counted; conftest.py prints it. Without torch, so that it is always there."""

from __future__ import annotations

from collections import Counter

CODES: Counter[str] = Counter()
"""How many codes were compared with torch's, by label."""
DIFFERING: Counter[str] = Counter()
"""How many of them differ, each at a boundary within float32's rounding of the exact value."""
INPUTS: Counter[str] = Counter()
"""On how many inputs the largest output was compared."""
OTHER_TOP: Counter[str] = Counter()
"""On how many of them it was another one."""
