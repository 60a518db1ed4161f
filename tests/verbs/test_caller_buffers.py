"""Firmware whose model has inputs and outputs in buffers of the application."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygen.builds.manifest import read_manifest
from tinygen.demo import MODEL, load_test_digits
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.hil.device import open_device
from tinygen.ir.interpreter import evaluate_all
from tinygen.lowering.program import Io
from tinygen.passes.pipeline import simplify
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.verify import verify


def test_on_the_host_and_the_emulated_board(tmp_path: Path) -> None:
    images, labels = load_test_digits()
    np.savez(tmp_path / "x.npz", x=images[:4], y=labels[:4])
    report = verify(MODEL, tmp_path / "x.npz", BuildOptions(io="caller"))
    assert report.identical and len(report.comparisons) >= 3


def test_every_layer_can_be_looked_at(tmp_path: Path) -> None:
    """Also what lies in a buffer; and the manifest tells places in the arena from them."""
    built = build(MODEL, tmp_path / "out", BuildOptions("host", io=Io.CALLER))
    usual = build(MODEL, tmp_path / "usual", BuildOptions("host"))
    assert built.manifest.io == Io.CALLER != usual.manifest.io
    assert built.manifest.build_id != usual.manifest.build_id
    assert built.manifest.inputs[0].offset is None and usual.manifest.inputs[0].offset is not None
    assert read_manifest(tmp_path / "out") == built.manifest
    sample = [load_test_digits()[0][:1]]
    semantics = evaluate_all(simplify(load_model(MODEL)), sample)
    with open_device(tmp_path / "out") as device:
        found = device.intermediate(sample)
    assert found.keys() >= set(load_model(MODEL).outputs)
    for name, codes in found.items():
        np.testing.assert_array_equal(codes, semantics[name])


def test_elsewhere_is_refused() -> None:
    with pytest.raises(TinygenError, match="inputs and outputs cannot lie in 'stack'") as caught:
        BuildOptions(io="stack")
    assert "arena, caller" in caught.value.fix
