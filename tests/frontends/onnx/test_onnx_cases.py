"""ONNX's own test cases of its operators: whatever is read gives the outputs that they state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tinygen.errors import TinygenError
from tinygen.frontends.onnx.file import OnnxModel, read_model
from tinygen.frontends.ptq.losses import real_values
from tinygen.ir.encodings import IntegerEncoding
from tinygen.ir.interpreter import evaluate

MOST_ERROR = 2e-4
"""As a part of the larger of 1 and the number itself: the reference sums in another order."""
OF_FP16 = 1e-3
EXCEPT = {
    "test_gather_negative_indices": "positions computed at run time count from 0",
    "test_attention_23_boolmask_fullymasked_row_nan_robustness": "a mask of the caller may not hide all keys",
}
READ = 800
"""How many cases are read, at least."""

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


@cache
def cases() -> dict[str, Any]:
    from onnx.backend.test.case.node import collect_testcases

    found = {case.name: case for case in collect_testcases(None) if case.model is not None and case.data_sets}
    return {
        name: case for name, case in found.items() if all(is_array(a) for arrays in case.data_sets[0] for a in arrays)
    }


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or np.isscalar(value)


def with_constants(case: Any, kept: tuple[int, ...]) -> bytes:
    """The case's model with its other inputs as constants, as they are in networks."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    del model.graph.input[:]
    for index, entry in enumerate(case.model.graph.input):
        if index in kept:
            model.graph.input.append(entry)
        else:
            array = np.asarray(case.data_sets[0][0][index])
            model.graph.initializer.append(numpy_helper.from_array(array, entry.name))
    return model.SerializeToString()


def choices(count: int) -> Iterator[tuple[int, ...]]:
    """Which inputs are computed at run time: all, one of them, the first two."""
    yield from dict.fromkeys([tuple(range(count)), *((index,) for index in range(count)), (0, 1)])


def gap(model: OnnxModel, case: Any) -> float:
    """The largest difference, as a part of the larger of 1 and the number; infinite where one is NaN."""
    graph, (given, wanted) = model.graph, case.data_sets[0]
    arrays = dict(zip((entry.name for entry in case.model.graph.input), map(np.asarray, given), strict=True))
    feeds = [fed(model, name, arrays[name]) for name in graph.inputs]
    worst = 0.0
    found = evaluate(graph, feeds)
    for name, layout, ours, theirs in zip(graph.outputs, model.outputs, found, map(np.asarray, wanted), strict=True):
        if isinstance(graph.tensors[name].encoding, IntegerEncoding):
            ours = (
                ours.astype(int) + 128 * (theirs.dtype == np.uint8)
                if theirs.dtype.kind != "f"
                else real_values(graph.tensors[name], ours)
            )
        flat = layout.to_memory(theirs.reshape(layout.shape)).reshape(-1).astype(np.float64)
        assert flat.size == ours.size
        same = (flat == ours.reshape(-1)) | (np.isnan(flat) & np.isnan(ours.reshape(-1)))
        apart = np.abs(flat - ours.reshape(-1)) / np.maximum(1, np.abs(flat))
        worst = max(worst, float(np.nan_to_num(np.where(same, 0, apart), nan=np.inf).max(initial=0)))
    return worst


def fed(model: OnnxModel, name: str, array: np.ndarray) -> np.ndarray:
    tensor = model.graph.tensors[name]
    if isinstance(tensor.encoding, IntegerEncoding) and array.dtype == np.uint8:
        array = (array.astype(int) - 128).astype(np.int8)
    if isinstance(tensor.encoding, IntegerEncoding) and array.dtype.kind == "f":
        array = np.clip(np.rint(array / tensor.scale) + tensor.zero_point, *tensor.code_range)
    return model.inputs[name].to_memory(array).reshape(tensor.shape).astype(tensor.dtype)


def read(case: Any) -> OnnxModel | None:
    for kept in choices(len(case.data_sets[0][0])):
        try:
            return read_model(with_constants(case, kept))
        except TinygenError as error:
            assert error.what and error.where
    return None


def test_cases() -> None:
    results: Counter[str] = Counter()
    wrong = {}
    for name, case in cases().items():
        model = read(case)
        results["read" if model else "refused"] += 1
        error = gap(model, case) if model and name not in EXCEPT else 0.0
        if error > (OF_FP16 if "fp16" in name or "float16" in name else MOST_ERROR):
            wrong[name] = error
    print(dict(results))
    assert not wrong
    assert results["read"] >= READ
