"""What writer and reader agree on.

A `.tg` file is a zip archive of uncompressed entries: `graph.json`, and one `arrays/N.npy` per array. The JSON is
`{"format": FORMAT, "version": VERSION, "graph": GRAPH}`. GRAPH is the dataclass `Graph`, field by field:

- a dataclass is an object of its fields, with its class name under "type";
- a tuple is a list, a mapping an object, an enumeration member its value;
- a float that JSON has no number for is {"float": "inf"}, "-inf" or "nan";
- an array is {"array": N}.

Nothing in it is executed: classes come from the IR only, arrays hold plain numbers.
"""

from __future__ import annotations

FORMAT = "tinygen graph"
VERSION = 1
STRUCTURE = "graph.json"
TYPE, ARRAY, FLOAT = "type", "array", "float"
ARRAY_KINDS = "biuf"
"""NumPy kinds that an array may have."""


def array_entry(index: int) -> str:
    """Name of an array in the archive."""
    return f"arrays/{index}.npy"
