"""ONNX Runtime beside a model that was read from an .onnx file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import TinygenError
from tinygen.frontends.aten.layout import Layout
from tinygen.frontends.onnx.file import OnnxModel, load_model_file
from tinygen.frontends.ptq.losses import real_values
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.tensor import Tensor

_FLOAT_RELATIVE = 1e-4
"""Largest difference of floats that counts as none, as a part of the largest: sums are rounded in another order."""
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True)
class OnnxAgreement:
    """Outputs of a quantized model and those of ONNX Runtime, which computes in float between quantizers.

    Attributes:
        samples: how many inputs were run.
        codes: elements of the outputs, of all samples.
        differing: of these.
        max_abs_diff: the largest difference, in codes; of float outputs as a part of the largest element.
        same: samples with the same answer, the largest element of the first output; None if that is no row.
    """

    samples: int
    codes: int
    differing: int
    max_abs_diff: float
    same: int | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        answers = "" if self.same is None else f"; same answer for {self.same} of {self.samples} samples"
        if not self.differing:
            return f"Beside ONNX Runtime: all {self.codes:,} outputs are equal{answers}"
        return (
            f"Beside ONNX Runtime, which rounds in float: {self.differing:,} of {self.codes:,} outputs differ, "
            f"by {self.max_abs_diff:.4g} at most{answers}"
        )


class OnnxRuntime:
    """A model in ONNX Runtime, without its optimizations: operators between quantizers compute in float.

    Args:
        path: the .onnx file.

    Raises:
        TinygenError: onnxruntime is not installed, or refuses the model.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise TinygenError(
                "ONNX Runtime is not installed, so there is nothing to compare with", fix="pip install 'tinygen[onnx]'"
            ) from error
        self.model: OnnxModel = load_model_file(path)
        self._where = str(path)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        except Exception as error:  # Its exceptions have no common base.
            raise TinygenError(f"ONNX Runtime refuses the model ({_first_line(error)})", where=str(path)) from error

    def outputs(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the file gives for real inputs in the graph's order of dimensions; as the graph stores them.

        Raises:
            TinygenError: ONNX Runtime ends with an error, for example at a position beyond a table.
        """
        feeds = {}
        for entry, array in zip(self._session.get_inputs(), sample, strict=True):
            tensor, layout = self.model.graph.tensors[entry.name], self.model.inputs[entry.name]
            stored = _fed(tensor, entry.type, array)
            order = layout.dim_order() or tuple(range(len(layout.shape)))
            shaped = stored.reshape([layout.shape[dim] for dim in order])
            feeds[entry.name] = np.ascontiguousarray(shaped.transpose(np.argsort(order)))
        try:
            found = self._session.run(None, feeds)
        except Exception as error:  # Its exceptions have no common base.
            raise TinygenError(f"ONNX Runtime ends with an error ({_first_line(error)})", where=self._where) from error
        return [_memory(layout, array) for layout, array in zip(self.model.outputs, found, strict=True)]


def _fed(tensor: Tensor, kind: str, real: np.ndarray) -> np.ndarray:
    """Real values as an input of the file: floats, or the codes themselves."""
    if kind in _TYPES or not isinstance(tensor.encoding, IntegerEncoding):
        return real.astype(_TYPES.get(kind, real.dtype))
    codes = np.rint(real / tensor.scale) + tensor.zero_point
    return (codes + 128).astype(np.uint8) if kind == "tensor(uint8)" else codes.astype(tensor.dtype)


def _memory(layout: Layout, array: np.ndarray) -> np.ndarray:
    return layout.to_memory(array.reshape(layout.shape))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def agreement(runtime: OnnxRuntime, graph: Graph, samples: Sequence[Sequence[np.ndarray]]) -> OnnxAgreement:
    """Compares a quantized model with ONNX Runtime.

    Args:
        graph: of the same file.
        samples: codes, as the graph takes them.
    """
    codes = differing = same = 0
    largest = 0.0
    for sample in samples:
        reals = [real_values(graph.tensors[name], x) for x, name in zip(sample, graph.inputs, strict=True)]
        wanted = runtime.outputs(reals)
        found = evaluate(graph, list(sample))
        for name, theirs, ours in zip(graph.outputs, wanted, found, strict=True):
            gap, limit = _gaps(graph.tensors[name], theirs, ours.reshape(-1))
            codes += gap.size
            differing += int(np.count_nonzero(gap > limit))
            largest = max(largest, float(gap.max(initial=0.0)))
        same += int(np.argmax(wanted[0]) == np.argmax(found[0]))
    is_row = graph.tensors[graph.outputs[0]].size == max(graph.tensors[graph.outputs[0]].shape, default=1) > 1
    return OnnxAgreement(len(samples), codes, differing, largest, same if is_row else None)


def _gaps(tensor: Tensor, theirs: np.ndarray, ours: np.ndarray) -> tuple[np.ndarray, float]:
    """(differences, largest that counts as none): in codes; of floats and 32-bit sums as a part of the largest."""
    encoding = tensor.encoding
    if isinstance(encoding, IntegerEncoding) and tensor.dtype != np.int32:
        if theirs.dtype.kind != "f":
            shift = 128 if theirs.dtype == np.uint8 else 0
            return np.abs(theirs.astype(np.int64) - shift - ours), 0.0
        wanted = np.rint(theirs.astype(np.float64) / tensor.scale) + tensor.zero_point
        return np.abs(np.clip(wanted, *tensor.code_range) - ours), 0.0
    wide = theirs.astype(np.float64)
    reach = float(np.abs(wide).max(initial=0.0)) or 1.0
    return np.abs(wide - real_values(tensor, ours)) / reach, _FLOAT_RELATIVE
