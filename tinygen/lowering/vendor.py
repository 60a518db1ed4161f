"""The interface to a vendor's kernel library that lowering needs; `tinygen.targets` implements it."""

from __future__ import annotations

from typing import Protocol

from tinygen.lowering.plan import VendorCall


class VendorLibrary(Protocol):
    """A library built for one core by one compiler: the answers depend on both."""

    def scratch_bytes(self, call: VendorCall) -> int:
        """Bytes of working memory that the call needs, according to the library.

        Raises:
            TinygenError: the library has no such function.
        """
