"""Applications: the digits demo, image classification (`classify`) and wake words, with their training."""
