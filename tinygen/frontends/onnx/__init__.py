"""Quantized ONNX models (QDQ, QLinear, QONNX) into a Graph."""

from tinygen.frontends.onnx.reader import load_onnx, read_onnx

__all__ = ["load_onnx", "read_onnx"]
