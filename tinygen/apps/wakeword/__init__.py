"""Custom wake words: from a phrase to a small streaming network, with synthesised data only.

`parts`, `phrase` and `near_misses` define speakers and texts, `scenes` makes sound with rooms and noise of them,
`dataset` feature codes (cached); `network`, `training` and `export` make the int8 and the switchable network;
`evaluate` and `det` measure them on voices that are not in the training data.
"""
