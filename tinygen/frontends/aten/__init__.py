"""ATen operators to a float Graph. Needs no torch: other formats' float operators are read as ATen's."""
