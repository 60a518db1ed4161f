"""Parts: what a chip is whatever board it is on. One entry for each, with the sources of its limits.

A board file names its part; memory sizes, limits and register models follow from that, and from nothing else.
"""

from tinygen.targets.parts.known import find_part, known_parts, part_of
from tinygen.targets.parts.part import Area, Part

__all__ = ["Area", "Part", "find_part", "known_parts", "part_of"]
