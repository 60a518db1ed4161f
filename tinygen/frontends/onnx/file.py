"""ONNX files: quantized ones as they are, float ones quantized after training."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinygen.errors import ModelError, TinygenError, TinygenWarning
from tinygen.frontends.aten.layout import NHWC
from tinygen.frontends.aten.layout import Layout as StoredAs
from tinygen.frontends.layouts import Layout
from tinygen.frontends.names import c_name
from tinygen.frontends.onnx.islands import floats_of, in_integers
from tinygen.frontends.onnx.reader import DAMAGE, Reader
from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.quantize import quantize
from tinygen.frontends.ptq.samples import Noise, read_samples
from tinygen.frontends.ptq.simplify import simplify_float
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.graph import Graph


def import_onnx() -> Any:
    """The onnx package.

    Raises:
        TinygenError: the package is not installed.
    """
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise TinygenError(
            "ONNX models are read with the onnx package, which is not installed", fix="pip install 'tinygen[onnx]'"
        ) from error
    return onnx


_NAMED = 3
"""Operators that a note names."""


@dataclass(frozen=True)
class OnnxModel:
    """A file that has been read.

    Attributes:
        graph: with the file's own encodings, or all in float.
        inputs, outputs: how the graph stores each.
        notes: what a user should know.
    """

    graph: Graph
    inputs: dict[str, StoredAs]
    outputs: tuple[StoredAs, ...]
    notes: tuple[str, ...]

    @property
    def images(self) -> dict[str, Layout]:
        """Layout of each input that is an image, as the file has it."""
        return {
            name: Layout.NCHW if stored == StoredAs.dense(stored.shape, NHWC) else Layout.NHWC
            for name, stored in self.inputs.items()
            if len(stored.shape) == len(NHWC)
        }

    def simplified(self) -> Graph:
        """A float model as it is before its tensors become codes."""
        return simplify_float(FloatModel(_used(self.graph))).graph

    @property
    def is_float(self) -> bool:
        """Whether nothing in it is quantized."""
        return not any(isinstance(tensor.encoding, IntegerEncoding) for tensor in self.graph.tensors.values())


def load_onnx(
    path: Path,
    name: str | None = None,
    calibration: Path | Noise | None = None,
    layout: Layout | None = None,
    *,
    float32: bool = False,
) -> Graph:
    """Reads an .onnx file: one that is quantized, or of floats, which become int8 by TFLite's rules.

    Args:
        path: the file; weights it keeps in other files beside it are read too.
        name: C identifier for the model; by default made from the file's name.
        calibration: of a float model, .npy or .npz of its inputs; see `read_samples`.
        layout: of images in the calibration file; None: as the model takes them.
        float32: keep a float model in float, for boards with an FPU.

    Raises:
        ModelError: the file cannot be read or is damaged.
        UnsupportedError: it uses an operator, type or shape tinygen lacks.
        TinygenError: the onnx package is not installed; calibration is missing, or does not fit.
    """
    model = load_model_file(path, name)
    for note in model.notes:
        warnings.warn(f"{path}: {note}", TinygenWarning, stacklevel=2)
    try:
        return _finished(model, calibration, layout, float32=float32)
    except TinygenError as error:
        error.where = f"{path}: {error.where}" if error.where else str(path)
        raise


def load_model_file(path: Path, name: str | None = None) -> OnnxModel:
    """The file before it is quantized; arguments and errors are those of `load_onnx`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})", where=str(path)) from error
    return read_model(content, name or c_name(path.stem), str(path), path.parent)


def _finished(model: OnnxModel, calibration: Path | Noise | None, layout: Layout | None, *, float32: bool) -> Graph:
    if not model.is_float:
        if calibration is not None:
            raise TinygenError("takes no calibration: it is quantized already", fix="Leave --calibration out.")
        return model.graph
    floats = FloatModel(_used(model.graph))
    if float32 and calibration is None:
        return simplify_float(floats).graph
    samples = None if calibration is None else read_samples(calibration, floats.graph, model.images, layout)
    return quantize(floats, samples)


def _used(graph: Graph) -> Graph:
    """Without tensors that nothing reads."""
    used = {name for op in graph.ops for name in (*op.inputs, *op.outputs)} | {*graph.inputs, *graph.outputs}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    return Graph(graph.name, tensors, graph.ops, graph.inputs, graph.outputs)


def read_onnx(content: bytes, name: str = "model", where: str = "model", folder: Path | None = None) -> Graph:
    """The Graph of a file's bytes; of a float model one in float."""
    return read_model(content, name, where, folder).graph


def read_model(content: bytes, name: str = "model", where: str = "model", folder: Path | None = None) -> OnnxModel:
    """Reads a file's bytes.

    Args:
        content: the file.
        where: names it in errors.
        folder: of external weight files.
    """
    onnx = import_onnx()
    try:
        model = onnx.load_from_string(content)
        if folder is not None:
            onnx.load_external_data_for_model(model, str(folder))
    except Exception as error:  # The parser's own error types vary with its version.
        raise ModelError(f"is not an ONNX model, or a damaged one ({error})", where=where) from error
    try:
        opset = max((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), default=0)
        reader = Reader(onnx, model.graph, opset, name)
        graph = in_integers(reader.graph())
        graph.validate()
    except TinygenError as error:
        error.where = f"{where}: {error.where}" if error.where else where
        raise
    except DAMAGE as error:
        raise ModelError(
            f"is damaged: its fields disagree ({error})",
            where=where,
            fix="Check it with onnx.checker.check_model.",
        ) from error
    read = OnnxModel(graph, reader.inputs, reader.outputs, tuple(reader.notes))
    return read if read.is_float else replace(read, notes=(*read.notes, *_in_float(graph)))


def _in_float(graph: Graph) -> list[str]:
    """A note on operators of a quantized model that compute in float."""
    found = [f"{op.KIND} '{op.name}'" for op in floats_of(graph)]
    if not found:
        return []
    named = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
    return [f"computed in float, as nothing quantizes the result: {named}"]
