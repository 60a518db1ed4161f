"""Opens a model file by what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import check_c_name
from tinygen.frontends.onnx import load_onnx
from tinygen.frontends.tflite import load_tflite
from tinygen.frontends.tg import load_tg
from tinygen.ir.graph import Graph

_READERS = {".tflite": load_tflite, ".onnx": load_onnx, ".tg": load_tg}


def load_model(path: Path | MemoryModel, name: str | None = None, calibration: Path | None = None) -> Graph:
    """The Graph of a model file.

    Args:
        path: a .tflite or .onnx file, a .tg file (`tinygen.save`), a .pt2 file (`torch.export.save`), or a model made
            in memory.
        name: C identifier for the model; by default made from the file's name, or the one a .tg was saved with.
        calibration: .npy or .npz of inputs as the PyTorch module takes them, to quantize a float .pt2 with.

    Raises:
        ModelError, UnsupportedError: see the format's reader.
    """
    if isinstance(path, MemoryModel):
        return path.graph if name is None else replace(path.graph, name=check_c_name(name))
    if not path.is_file():
        raise ModelError("there is no such file", where=str(path))
    checked = None if name is None else check_c_name(name)
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        # Not before: importing torch takes seconds, and it may not be there.
        try:
            from tinygen.frontends.torch.file import load_pt2
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise TinygenError(
                "PyTorch, which reads such files, is not installed", where=str(path), fix="pip install 'tinygen[torch]'"
            ) from error
        return load_pt2(path, checked, calibration)
    if calibration is not None:
        raise TinygenError("takes no calibration: it is quantized already", where=str(path))
    if suffix not in _READERS:
        raise UnsupportedError(
            f"cannot tell what a '{path.suffix}' file holds", where=str(path),
            fix="tinygen reads .tflite, .onnx, .tg and .pt2 models.",
        )  # fmt: skip
    return _READERS[suffix](path, checked)
