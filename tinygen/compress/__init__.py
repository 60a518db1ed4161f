"""Methods that make networks smaller while they are trained, or after: one file per method, its paper in the docstring.

What they have in common: they take an nn.Module and give masks (see `masks`), and a mask becomes a smaller network in
one place (`surgery`), or stays in it as zeros that kernels skip.
"""
