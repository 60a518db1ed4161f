"""QONNX models in floats: ONNX's own reference in NumPy and double precision, with QONNX's quantizers added.

Definitions: QONNX's operator documents, IntQuant version 1, BipolarQuant version 1, Trunc versions 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from tests.support.onnx_models import QONNX


def rounded(x: np.ndarray, mode: str) -> np.ndarray:
    """By the table of rounding modes in QONNX's documents."""
    size, sign = np.abs(x), np.sign(x)
    return {
        "ROUND": lambda: np.round(x),
        "FLOOR": lambda: np.floor(x),
        "CEIL": lambda: np.ceil(x),
        "UP": lambda: sign * np.ceil(size),
        "DOWN": lambda: sign * np.floor(size),
        "HALF_UP": lambda: sign * np.floor(size + 0.5),
        "HALF_DOWN": lambda: sign * np.ceil(size - 0.5),
    }[mode]()


def limits(bits: int, signed: int, narrow: int) -> tuple[int, int]:
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


class Quant(OpRun):
    op_domain = QONNX

    def _run(self, x, scale, zero, bits, signed=1, narrow=0, rounding_mode="ROUND"):  # type: ignore[no-untyped-def]
        y = np.clip(x / scale + zero, *limits(int(bits), signed or 0, narrow or 0))
        return ((rounded(y, rounding_mode or "ROUND") - zero) * scale,)


class BipolarQuant(OpRun):
    op_domain = QONNX

    def _run(self, x, scale):  # type: ignore[no-untyped-def]
        return (np.where(x >= 0, scale, -scale),)


class Trunc(OpRun):
    op_domain = QONNX

    def _run(self, x, scale, zero, in_bits, *rest, signed=1, narrow=0, rounding_mode="FLOOR"):  # type: ignore[no-untyped-def]
        y = np.round(x / scale + zero)
        mode = rounding_mode or "FLOOR"
        if len(rest) == 1:
            return ((rounded(y / 2.0 ** (int(in_bits) - int(rest[0])), mode) - zero) * scale,)
        factor = 2 ** np.round(np.log2(rest[0] / scale))
        y = np.clip(y / factor, *limits(int(rest[1]), signed or 0, narrow or 0))
        return ((rounded(y, mode) - zero / factor) * rest[0],)


def _in_double(model: Any) -> Any:
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for entry in graph.input:
        entry.type.tensor_type.elem_type = TensorProto.DOUBLE
    del graph.value_info[:]
    outputs = [helper.make_empty_tensor_value_info(entry.name) for entry in graph.output]
    del graph.output[:]
    graph.output.extend(outputs)
    return model


def evaluate_floats(content: bytes, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The model's first output for each feed of its first input, in double precision."""
    model = _in_double(onnx.load_from_string(content))
    session = ReferenceEvaluator(model, new_ops=[Quant, BipolarQuant, Trunc])
    name = model.graph.input[0].name
    return [np.asarray(session.run(None, {name: feed.astype(np.float64)})[0]) for feed in feeds]
