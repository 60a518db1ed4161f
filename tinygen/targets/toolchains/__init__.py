"""The compilers tinygen can drive, one per file."""
