"""Every suite of `tinygen bench`: importing a suite's module registers it."""

from __future__ import annotations

import tinygen.bench.boards
import tinygen.bench.branches
import tinygen.bench.flash_limits
import tinygen.bench.gated_digits
import tinygen.bench.gated_layers
import tinygen.bench.generation
import tinygen.bench.int8_kernels
import tinygen.bench.lowbit
import tinygen.bench.lowbit_networks
import tinygen.bench.mobilenet
import tinygen.bench.models
import tinygen.bench.operators
import tinygen.bench.pairs
import tinygen.bench.pruned
import tinygen.bench.sparse
import tinygen.bench.switchable
import tinygen.bench.switches
import tinygen.bench.wakeword  # noqa: F401  (each registers its suite)
from tinygen.bench.suites import Suite, registered
from tinygen.errors import TinygenError


def all_suites() -> tuple[Suite, ...]:
    """Every suite, in the order of their registration."""
    return registered()


def find_suite(name: str) -> Suite:
    """The suite `name`.

    Raises:
        TinygenError: there is none.
    """
    known = {entry.name: entry for entry in all_suites()}
    if name not in known:
        raise TinygenError(f"there is no suite '{name}'", where="--suite", fix=f"Suites: {', '.join(known)}.")
    return known[name]
