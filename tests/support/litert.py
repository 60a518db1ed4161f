"""LiteRT's kernels as the oracle, the reference ones unless others are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def reference_outputs(model: bytes, samples: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """Outputs of LiteRT's BUILTIN_REF kernels for each sample (a list of the model's inputs).

    CEIL, ROUND and ELU are not among them: models that have these are computed by the other built-in kernels.
    """
    try:
        return outputs_of(model, samples, OpResolverType.BUILTIN_REF)
    except ValueError as error:
        if "Didn't find op" not in str(error):
            raise
        return outputs_of(model, samples, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def outputs_of(
    model: bytes, samples: Sequence[Sequence[np.ndarray]], kernels: OpResolverType
) -> list[list[np.ndarray]]:
    """The same of any of LiteRT's kernel sets."""
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    results = []
    for sample in samples:
        for detail, value in zip(interpreter.get_input_details(), sample, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        results.append([interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()])
    return results
