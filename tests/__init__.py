"""Tests; `make test` runs them."""

import os
import sys

# Each core has a process of tests: further threads of numpy and torch would only wait for it, and burn time in waiting.
# They look when they are imported, so that conftest.py is too late.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# pytest rewrites the assertions of all modules of a package that has a plugin of pytest and is installed to be edited:
# tinygen's are not what tests show, and its modules would be parsed again for it.
for _finder in sys.meta_path:
    _marked = getattr(_finder, "_must_rewrite", None)
    if isinstance(_marked, set):
        _marked.discard("tinygen")
