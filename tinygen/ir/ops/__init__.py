"""One operator per file: its dataclass, its shape rule, its exact meaning in NumPy."""
