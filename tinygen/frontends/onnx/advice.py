"""What to do about operators that are not read."""

from __future__ import annotations

from collections.abc import Sequence

_STATIC = (
    "Quantize statically: onnxruntime.quantization.quantize_static(...), with QuantFormat.QDQ and calibration data; "
    "or give the float model and --calibration."
)
_CUT = "Cut the model in front of it, and compute the rest in the application"
_RECURRENT = "Train the recurrent layer as an LSTM or a GRU, or use convolutions over time."
_ADVICE = {
    "ConvInteger": _STATIC,
    "MatMulInteger": _STATIC,
    "DynamicQuantizeLinear": _STATIC,
    "DynamicQuantizeMatMul": _STATIC,
    "DynamicQuantizeLSTM": _RECURRENT,
    "MatMulIntegerToFloat": _STATIC,
    "MatMulNBits": _STATIC,
    "RNN": _RECURRENT,
    **dict.fromkeys(("NonMaxSuppression", "NonZero", "Unique", "Compress", "Loop", "Scan", "RoiAlign"), _CUT),
    "FusedConv": "Export without ONNX Runtime's optimization: SessionOptions.graph_optimization_level.",
}


def advice(kind: str, read: Sequence[str]) -> str:
    """For an operator that has no converter.

    Args:
        read: values that it reads, and that are computed.
    """
    found = _ADVICE.get(kind, f"docs/reference/operators.md lists the operators that are read. {_CUT}")
    if not found.endswith(_CUT):
        return found
    outputs = ", ".join(f"'{name}'" for name in read)
    return f"{found}: onnx.utils.extract_model(source, target, inputs, [{outputs}])."
