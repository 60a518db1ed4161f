"""Vendors' kernel libraries for tests: they are in no registry, so a test that needs one is skipped where its variable
does not name a checkout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest

from tests.support.differential import assert_same, random_codes
from tests.support.tflite_builder import ModelSpec, build
from tinygen.bench.bare_models import BareModels
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.lowering.lower import lower
from tinygen.lowering.plan import VendorCall
from tinygen.lowering.program import Program
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import find_toolchain
from tinygen.targets.vendor_library import VendorLibrary
from tinygen.targets.vendors import CMSIS_NN_LIBRARY, ESP_NN_LIBRARY, Vendor, find_checkout


def _needs(vendor: Vendor) -> pytest.MarkDecorator:
    reason = f"{vendor.variable} does not name a checkout of {vendor.title} (it is in no registry)"
    return pytest.mark.skipif(not os.environ.get(vendor.variable), reason=reason)


needs_cmsis_nn, needs_esp_nn = _needs(CMSIS_NN_LIBRARY), _needs(ESP_NN_LIBRARY)


@dataclass
class Answers:
    """A library that wants so many bytes, and remembers what it was asked."""

    size: int
    asked: list[VendorCall] = field(default_factory=list)

    def scratch_bytes(self, call: VendorCall) -> int:
        self.asked.append(call)
        return self.size if call.buffer_query else 0


@dataclass(frozen=True)
class User:
    """Who calls a library on a board, or on the host."""

    vendor: Vendor
    board: str

    def library(self, toolchain: str = "zig") -> VendorLibrary:
        return _library(self.vendor.title, self.board, toolchain)

    def lowered(self, graph: Graph, toolchain: str = "zig") -> Program:
        """A graph with the library's kernels."""
        isa = ("c99", *load_board(self.board).isa)
        return lower(simplify(graph), family=self.vendor.family, isa=isa, library=self.library(toolchain))

    def compare_on_core(
        self, specs: Sequence[ModelSpec], *, toolchain: str = "zig", samples: int = 2, all_by_library: bool = True
    ) -> list[Program]:
        """Runs single-operator models on the emulated core and compares them with `expected`.

        Args:
            all_by_library: demand that the library computes every one of them.
        """
        rng = np.random.default_rng(len(specs))
        graphs = [read_tflite(build(spec), name=f"m{i}") for i, spec in enumerate(specs)]
        programs = [self.lowered(graph, toolchain) for graph in graphs]
        for spec, program in zip(specs, programs, strict=True):
            by_library = [step.kernel.family == self.vendor.family for step in program.layers]
            assert all(by_library) or not all_by_library, f"{spec.label}: {program.layers[0].node.describe()}"
        user = self.library(toolchain)
        bare = BareModels(programs, user.board, user.toolchain, library=user, strict=True)
        for index, (spec, graph, program) in enumerate(zip(specs, graphs, programs, strict=True)):
            for _ in range(samples):
                sample = [random_codes(tensor, rng) for tensor in spec.runtime_inputs]
                want = expected(graph, program, sample)
                label = f"{spec.label}: {self.vendor.title} on the core"
                assert_same(want, bare.run(index, sample).outputs, graph, label)
        return programs


CMSIS_NN_USER = User(CMSIS_NN_LIBRARY, "f746zg")
ESP_NN_USER = User(ESP_NN_LIBRARY, "esp32c3")
_VENDORS = {vendor.title: vendor for vendor in (CMSIS_NN_LIBRARY, ESP_NN_LIBRARY)}


@cache
def _library(title: str, board: str, toolchain: str) -> VendorLibrary:
    target = load_board(board)
    checkout = find_checkout(_VENDORS[title], None)
    return VendorLibrary(checkout, target, find_toolchain(None if target.is_host else toolchain, target))


def expected(graph: Graph, program: Program, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The semantics, with the library's own arithmetic where a kernel declares one."""
    instead = {s.node.op.name: s.kernel.arithmetic for s in program.steps if s.kernel.arithmetic is not None}
    return evaluate(graph, sample, instead)
