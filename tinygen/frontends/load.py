"""Opens a model file with the reader for its format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.extras import optional_imports
from tinygen.frontends.layouts import Layout
from tinygen.frontends.memory import MemoryModel, only_graph
from tinygen.frontends.names import check_c_name
from tinygen.frontends.onnx import load_onnx
from tinygen.frontends.ptq.samples import Noise
from tinygen.frontends.tflite import load_tflite
from tinygen.frontends.tg import load_tg_network
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network

SUFFIXES = (".tflite", ".onnx", ".tg", ".pt2")
"""Of the files that are read."""


def load_model(
    path: Path | MemoryModel,
    name: str | None = None,
    calibration: Path | Noise | None = None,
    trust_pickle: bool = False,
) -> Graph:
    """The Graph of a model that is not switchable; arguments and errors are those of `load_network`.

    Raises:
        ModelError: the model has several graphs.
    """
    where = path.name if isinstance(path, MemoryModel) else str(path)
    return only_graph(load_network(path, name, calibration, trust_pickle=trust_pickle), where)


def load_network(
    path: Path | MemoryModel,
    name: str | None = None,
    calibration: Path | Noise | None = None,
    layout: Layout | None = None,
    trust_pickle: bool = False,
    in_float: bool = False,
) -> Network:
    """The Network of a model file. Most files hold one Graph, which becomes a Network of one switch.

    Args:
        path: a .tflite or .onnx file, a .tg file (`tinygen.save`), a .pt2 file (`torch.export.save`), or a model made
            in memory.
        name: C identifier for the model; by default made from the file's name, or the one a .tg was saved with.
        calibration: .npy or .npz of inputs as the model takes them, or noise, to quantize a float .pt2 or .onnx with.
        layout: how images lie in it; None: as the model takes them, NCHW.
        trust_pickle: read a .pt2 file that may run code when it is read.
        in_float: compute layers of float activations and integer weights (hybrid ones of .tflite) in float32.

    Raises:
        ModelError, UnsupportedError: see the format's reader.
    """
    if isinstance(path, MemoryModel):
        return path.network if name is None else _named(path.network, check_c_name(name))
    if not path.is_file():
        raise ModelError("is a directory" if path.is_dir() else "there is no such file", where=str(path))
    if layout is not None and calibration is None:
        raise TinygenError("says how calibration inputs lie, and there are none", where="--layout", fix="Leave it out.")
    checked = None if name is None else check_c_name(name)
    suffix = path.suffix.lower()
    if in_float and suffix != ".tflite":
        raise TinygenError(
            "is for layers of float activations and integer weights in .tflite files",
            where="--float",
            fix="Leave it out: other models are computed as they are.",
        )
    if suffix == ".pt2":
        # Imported here since torch takes seconds to import and may not be installed.
        with optional_imports(str(path)):
            from tinygen.frontends.torch.file import load_pt2
        return Network.of(load_pt2(path, checked, calibration, layout, trust_pickle))
    if suffix == ".onnx":
        return Network.of(load_onnx(path, checked, calibration, layout))
    if calibration is not None:
        raise TinygenError("takes no calibration: it is quantized already", where=str(path))
    if suffix == ".tg":
        return load_tg_network(path, checked)
    if suffix != ".tflite":
        raise UnsupportedError(
            f"cannot tell what a '{path.suffix}' file holds",
            where=str(path),
            fix=f"tinygen reads {', '.join(SUFFIXES)} files.",
        )
    return Network.of(load_tflite(path, checked, in_float=in_float))


def _named(network: Network, name: str) -> Network:
    if network.is_switchable:
        return replace(network, name=name)
    return Network.of(replace(network.first, name=name))
