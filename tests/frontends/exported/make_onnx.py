"""Makes cond.onnx: a quantized network with an exit, torch.cond, as torch.onnx.export writes it.

`python make_onnx.py`, with torch, onnx and onnxscript installed. The file here was made with torch 2.13.0 and
onnxscript 0.7.2. Its quantizers are those that PT2E's conversion leaves in a model. The exporter's notes are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed  # registers the operators below
from torch import Tensor, nn

_Q = torch.ops.quantized_decomposed
_INT8 = (-128, 127, torch.int8)


def quantized(x: Tensor, scale: float, zero: int) -> Tensor:
    """QuantizeLinear and DequantizeLinear."""
    return _Q.dequantize_per_tensor(_Q.quantize_per_tensor(x, scale, zero, *_INT8), scale, zero, *_INT8)


class Conv(nn.Module):
    """A convolution with int8 weights."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        seed = torch.Generator().manual_seed(10 * inputs + outputs)
        shape = (outputs, inputs, kernel, kernel)
        self.register_buffer("weights", torch.randint(-127, 128, shape, generator=seed, dtype=torch.int8))
        self.register_buffer("scales", torch.rand(outputs, generator=seed) * 0.01 + 0.002)
        self.register_buffer("zeros", torch.zeros(outputs, dtype=torch.int64))
        self.register_buffer("bias", torch.randn(outputs, generator=seed) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        weights = _Q.dequantize_per_channel(self.weights, self.scales, self.zeros, 0, -127, 127, torch.int8)
        return nn.functional.conv2d(x, weights, self.bias, padding=self.weights.shape[-1] // 2)


class Exits(nn.Module):
    """Logits [1, 3, 1, 1] of an image: of a small head where the largest is above -0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = Conv(1, 4, 3), Conv(4, 3, 1)
        self.second, self.last = Conv(4, 6, 3), Conv(6, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = quantized(torch.relu(self.first(quantized(image, 0.02, 3))), 0.015, -128)
        logits = quantized(self.head(_mean(x, 0.015)), 0.02, 5)
        return torch.cond(logits.max() > -0.5, self._leave, self._go_on, (x, logits))

    def _leave(self, _x: Tensor, logits: Tensor) -> Tensor:
        return quantized(logits.clone(), 0.03, 0)

    def _go_on(self, x: Tensor, _logits: Tensor) -> Tensor:
        y = quantized(torch.relu(self.second(x)), 0.02, -128)
        return quantized(self.last(_mean(y, 0.02)), 0.03, 0)


def _mean(x: Tensor, scale: float) -> Tensor:
    return quantized(nn.functional.adaptive_avg_pool2d(x, 1), scale, -128)


def _without_notes(graph: Any) -> None:
    """Each node has a stack trace, with the exporting machine's folders."""
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _without_notes(attribute.g)


if __name__ == "__main__":
    program = torch.onnx.export(Exits().eval(), (torch.randn(1, 1, 8, 8),), dynamo=True, opset_version=18)
    model = program.model_proto
    _without_notes(model.graph)
    Path(__file__).with_name("cond.onnx").write_bytes(model.SerializeToString())
