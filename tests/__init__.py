"""Tests; `make test` runs them."""

import os

# Each core has a process of tests: further threads of numpy and torch would only wait for it, and burn time in waiting.
# They look when they are imported, so that conftest.py is too late.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
