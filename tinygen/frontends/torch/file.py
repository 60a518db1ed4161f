"""`.pt2` files: what torch.export.save writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.ao.quantization.fx._decomposed  # The operators of quantized files.
from torch.export import ExportedProgram

from tinygen.errors import ModelError, TinygenError
from tinygen.frontends.aten.layout import NCHW
from tinygen.frontends.layouts import Layout
from tinygen.frontends.names import c_name
from tinygen.frontends.ptq.calibrate import Sample
from tinygen.frontends.ptq.quantize import quantize
from tinygen.frontends.ptq.samples import Noise, read_samples
from tinygen.frontends.torch.archive import without_code
from tinygen.frontends.torch.aten import read_program
from tinygen.ir.graph import Graph


def load_pt2(
    path: Path,
    name: str | None = None,
    calibration: Path | Noise | None = None,
    layout: Layout | None = None,
    trust_pickle: bool = False,
) -> Graph:
    """Reads a .pt2 file: of a float module, which becomes int8, or of one that PT2E has quantized.

    Args:
        path: the file.
        name: C identifier for the model; by default made from the file's name.
        calibration: .npy or .npz of inputs as the module takes them: `x`, or `x0`, `x1`, ..., or arrays named after the
            inputs; see `Rows.take`.
        layout: of images in the calibration file; None: NCHW, as for the module.
        trust_pickle: let torch read the whole file itself, which may run code that is in it.

    Raises:
        ModelError: torch cannot read the file; or it holds what may run code, and not `trust_pickle`.
        UnsupportedError: it uses an operator tinygen lacks.
        TinygenError: calibration is missing, or does not fit.
    """
    program = load_program(path, trust_pickle)
    try:
        model = read_program(program, name or c_name(path.stem))
        return quantize(model, None if calibration is None else _samples(calibration, model.graph, layout))
    except TinygenError as error:
        error.where = f"{path}: {error.where}" if error.where else str(path)
        raise


def load_program(path: Path, trust_pickle: bool = False) -> ExportedProgram:
    """What torch.export.save wrote.

    Raises:
        ModelError: see `load_pt2`.
    """
    try:
        with _without_tracebacks():
            return torch.export.load(path if trust_pickle else without_code(path))
    except TinygenError as error:
        error.where = str(path)
        raise
    except Exception as error:  # torch's readers have no common base for their exceptions.
        raise ModelError(
            f"torch cannot read it ({type(error).__name__}: {error})",
            where=str(path),
            fix="Write it with torch.export.save, with the same version of torch.",
        ) from error


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """torch logs the traceback of the first way to read a file, and then tries another."""
    logger = logging.getLogger("torch.export")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _samples(path: Path | Noise, graph: Graph, layout: Layout | None) -> list[Sample]:
    images = {name: Layout.NCHW for name in graph.inputs if len(graph.tensors[name].shape) == len(NCHW)}
    return read_samples(path, graph, images, layout)
