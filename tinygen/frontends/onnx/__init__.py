"""Quantized ONNX models into a Graph: QDQ, QLinear operators, 4-bit weights, QONNX.

What the Graph means, and where that is not what ONNX's floats give:

- Inputs and outputs are codes: the first QuantizeLinear and the last DequantizeLinear of a file disappear. uint8 codes
  become int8, 128 less. Images are channels last, also at the inputs and outputs. An output that no quantizer follows
  is int32, with a scale.
- Between quantizers ONNX computes in floats and rounds half to even. A layer of 8-bit activations and symmetric 8- or
  4-bit weights with at most a bias and a ReLU becomes TFLite's operator, whose integer arithmetic is part of tinygen's
  semantics: its multiplier has 31 bits, and it rounds to a fraction of a code before it rounds to a code. Where the
  exact value lies that close to a tie, the code may be one off ONNX's, in about 0.1 to 0.5 % of a convolution's
  outputs, and up to 6 % of a product of two tensors. Biases are rounded to steps of the accumulator. Softmax and
  HardSwish are TFLite's fixed-point functions. AveragePool that keeps its encoding averages codes, ties away from
  zero.
- Everything else behind a multiply-accumulate (batch norm, any clamp, fewer bits, asymmetric weights, all QONNX
  quantizers) is folded exactly, in rational arithmetic: thresholds give the codes that exact arithmetic gives, and so
  does a multiplication wherever that is proved. Where more than 15 boundaries and ties to even meet, ties may be one
  code off (folding.py counts them). ONNX's own floats may differ from exact arithmetic at ties, too.
"""

from tinygen.frontends.onnx.file import load_onnx, read_onnx

__all__ = ["load_onnx", "read_onnx"]
