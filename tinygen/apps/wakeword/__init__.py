"""A wake word of one's own: from a phrase to a small streaming network, all data synthesised.

`utterances` says who says what, `scenes` turns it into sound in rooms and noise, `dataset` into feature codes (cached);
`network`, `training` and `export` make the int8 and the switchable network of it; `evaluate` and `det` hold them
against voices that training has not heard.
"""
