"""`.pt2` files: what torch.export.save writes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed  # The operators of quantized files.

from tinygen.errors import ModelError, TinygenError
from tinygen.frontends.arrays import read_arrays
from tinygen.frontends.names import c_name
from tinygen.frontends.ptq.calibrate import Sample
from tinygen.frontends.ptq.quantize import quantize
from tinygen.frontends.torch.aten import read_program
from tinygen.frontends.torch.export import samples_of
from tinygen.frontends.torch.layout import NCHW
from tinygen.ir.graph import Graph


def load_pt2(path: Path, name: str | None = None, calibration: Path | None = None) -> Graph:
    """Reads a .pt2 file: of a float module, which becomes int8, or of one that PT2E has quantized.

    torch itself opens the file: read only those that you trust.

    Args:
        path: the file.
        name: C identifier for the model; by default made from the file's name.
        calibration: .npy or .npz of inputs as the module takes them, images NCHW: `x`, or `x0`, `x1`, ..., or arrays
            named after the inputs; one sample per row, flat or shaped.

    Raises:
        ModelError: torch cannot read the file.
        UnsupportedError: it uses an operator tinygen lacks.
        TinygenError: calibration is missing, or does not fit.
    """
    try:
        program = torch.export.load(path)
    except Exception as error:  # Whatever torch's readers raise: they have no common error.
        raise ModelError(
            f"torch cannot read it ({type(error).__name__}: {error})", where=str(path),
            fix="Write it with torch.export.save, with the same version of torch.",
        ) from error  # fmt: skip
    try:
        model = read_program(program, name or c_name(path.stem))
        return quantize(model, None if calibration is None else _samples(calibration, model.graph))
    except TinygenError as error:
        error.where = f"{path}: {error.where}" if error.where else str(path)
        raise


def _samples(path: Path, graph: Graph) -> list[Sample]:
    arrays = read_arrays(path)
    found = []
    for index, name in enumerate(graph.inputs):
        names = [f"x{index}", name] + (["x"] if len(graph.inputs) == 1 else [])
        key = next((key for key in names if key in arrays), None)
        if key is None:
            raise TinygenError(
                f"has no array for input {index} ('{name}')", where=str(path),
                fix=f"Name it one of {names}; the file has {sorted(arrays)}.",
            )  # fmt: skip
        found.append(_shaped(arrays[key], graph.tensors[name].shape))
    return samples_of(found[0] if len(found) == 1 else tuple(found), graph)


def _shaped(array: np.ndarray, stored: tuple[int, ...]) -> np.ndarray:
    """Rows that are flat, in the shape that the module takes."""
    shape = tuple(stored[i] for i in NCHW) if len(stored) == 4 else stored
    flat = array.ndim == 2 and array.shape[1] == math.prod(shape)
    return array.reshape(len(array), *shape[1:]) if flat else array
