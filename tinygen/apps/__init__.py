"""Applications of everything else: the digits demo, pictures (`classify`), wake words; their training."""
