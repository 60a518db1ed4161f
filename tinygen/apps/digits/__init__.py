"""Handwritten digits as an application: `tinygen demo`, and networks for them, trained in few bits, switchable, gated.

demo.py        the demo: a model is built, run and compared
lowbit.py      data; a network in float and by each recipe (needs torch and mlxtend, as the following)
switchable.py  one network with several switches
gated.py       one network with gated channels
"""
