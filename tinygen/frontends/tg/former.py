"""Files of earlier versions, where operators of TFLite and of integer codes were different ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygen.frontends.tg.format import TYPE

_TFLITE = ("Conv2D", "DepthwiseConv2D", "FullyConnected", "TransposeConv", "Conv2DAdd", "AveragePool2D")
_INTEGER = {
    "IntegerConv2D": "Conv2D",
    "IntegerFullyConnected": "FullyConnected",
    "IntegerMaxPool2D": "MaxPool2D",
    "IntegerSumPool2D": "AveragePool2D",
}
_FIELDS = ("activation", "rounding", "upward_channels")


def renewed(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object of a file as it is written today; unchanged if it already is."""
    name = content.get(TYPE)
    if isinstance(name, str) and name in _INTEGER:
        return {**content, TYPE: _INTEGER[name], "inputs": _with_scales(content.get("inputs"))}
    if name in _TFLITE and "epilogue" not in content:
        epilogue = {key: content[key] for key in _FIELDS if key in content}
        rest = {key: value for key, value in content.items() if key not in _FIELDS}
        return {**rest, "epilogue": {TYPE: "Tflite", **epilogue}}
    return content


def _with_scales(inputs: Any) -> Any:
    """Inputs with an absent bias before the kernel scales."""
    return [*inputs[:2], "", *inputs[2:]] if isinstance(inputs, list) and len(inputs) > 2 else inputs
