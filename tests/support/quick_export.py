"""torch.export without what it does over and over: a test exports dozens of small modules, a user one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any


def export_quickly() -> None:
    """Where torch.export is loaded, from now on; where torch has been rearranged, nothing happens.

    Before it takes in-place operators out of a program, torch looks all operators of C++ up, once for each of their
    name spaces, and registers a thousand of them with a function whose annotations are evaluated at each call.
    """
    exporting, operators = sys.modules.get("torch._export.utils"), sys.modules.get("torch._ops")
    if exporting is None or operators is None:
        return
    look_up = getattr(exporting, "_materialize_cpp_cia_ops", None)
    base = getattr(operators, "OperatorBase", None)
    register = getattr(base, "py_impl", None)
    if look_up is None or register is None or hasattr(look_up, "cache_info"):
        return
    exporting._materialize_cpp_cia_ops = cache(look_up)  # type: ignore[attr-defined]
    base.py_impl = _unannotated(register, operators.DispatchKey)  # type: ignore[union-attr]


def _unannotated(register: Callable[..., Any], keys: Any) -> Callable[..., Any]:
    """`OperatorBase.py_impl`, which for the usual keys makes no function that has to be annotated."""

    def py_impl(self: Any, k: Any) -> Callable[..., Any]:
        if not isinstance(k, keys) or k == keys.Python or k in self.py_kernels:
            return register(self, k)

        def inner(fn):  # type: ignore[no-untyped-def]
            self.py_kernels[k] = fn
            self._dispatch_cache.clear()
            return fn

        return inner

    return py_impl
