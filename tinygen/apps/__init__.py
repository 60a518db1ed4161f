"""Applications: digits (`digits`), image classification (`classify`) and wake words, with their training."""
