"""What lowering asks of a vendor's kernel library; `tinygen.targets` knows how to answer."""

from __future__ import annotations

from typing import Protocol

from tinygen.lowering.plan import LibraryCall


class KernelLibrary(Protocol):
    """A library built for one core by one compiler: the answers depend on both."""

    def scratch_bytes(self, call: LibraryCall) -> int:
        """Bytes of working memory the call wants, by the library's own account.

        Raises:
            TinygenError: the library has no such function.
        """
