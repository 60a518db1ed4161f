"""The format that writer and reader share.

A `.tg` file is a zip archive of uncompressed entries: `graph.json`, and one `arrays/N.npy` per array. The JSON is
`{"format": FORMAT, "version": 1, "graph": GRAPH}`, or `{"format": FORMAT, "version": 2, "network": NETWORK}`. GRAPH is
the dataclass `Graph`, NETWORK the dataclass `Network`, field by field:

- a dataclass is an object of its fields, with its class name under "type"; fields that came later are left out where
  they hold their default;
- a tuple is a list, a mapping an object, an enumeration member its value;
- a float that JSON has no number for is {"float": "inf"}, "-inf" or "nan";
- an array is {"array": N}; equal arrays are stored once.

Nothing in a file is executed: classes come from the IR only, arrays hold plain numbers.
"""

from __future__ import annotations

FORMAT = "tinygen graph"
GRAPH_VERSION, NETWORK_VERSION = 1, 2
STRUCTURE = "graph.json"
TYPE, ARRAY, FLOAT = "type", "array", "float"
ARRAY_KINDS = "biuf"
"""NumPy kinds that an array may have."""


def array_entry(index: int) -> str:
    """Name of an array in the archive."""
    return f"arrays/{index}.npy"
