"""Float model to integer graph: by its own encodings, or by calibration."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.errors import TinygenError
from tinygen.frontends.ptq.branches import choose, observe
from tinygen.frontends.ptq.calibrate import Sample
from tinygen.frontends.ptq.composed import compose
from tinygen.frontends.ptq.convert import convert
from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.options import QuantizeOptions
from tinygen.frontends.ptq.simplify import simplify_float
from tinygen.ir.graph import Graph


class CalibrationMissingError(TinygenError):
    """The model is one of floats."""


def quantize(model: FloatModel, samples: Sequence[Sample] | None, options: QuantizeOptions | None = None) -> Graph:
    """The int8 graph.

    Args:
        model: float, or quantized already, in whole or in part: then its own encodings are kept.
        samples: calibration inputs, as the graph takes them; None for a model that is quantized already.
        options: of calibration.

    Raises:
        TinygenError: samples are missing, or given although the model does not need them.
        UnsupportedError: an operator has no integer form.
    """
    options = options or QuantizeOptions()
    if model.is_quantized and samples is not None:
        raise TinygenError("takes no calibration: it is quantized already", where=model.graph.name)
    if not model.is_quantized and samples is None:
        raise CalibrationMissingError(
            "is a float model, and calibration inputs are missing",
            where=model.graph.name,
            fix="Give some inputs like those it will see (--calibration X.npz, or calibration=...), or float32=True.",
        )
    simple = simplify_float(model)
    if samples is None:
        return convert(simple, simple.activations)
    simple = compose(simple)
    simple.graph.validate()
    encodings = choose(simple.graph, observe(simple.graph, samples, options))
    return convert(simple, encodings, _spread_out(samples, options) if options.bias_correction else None)


def _spread_out(samples: Sequence[Sample], options: QuantizeOptions) -> list[Sample]:
    """The samples for bias correction, evenly spaced over the set."""
    count = min(options.correction_samples, len(samples))
    return [samples[index * len(samples) // count] for index in range(count)]
