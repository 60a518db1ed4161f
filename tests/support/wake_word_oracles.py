"""pymicro-wakeword as the oracle of listening firmware: as it is, and on LiteRT's reference kernels.

pymicro-wakeword runs LiteRT's optimised built-in kernels (not XNNPACK). Two of them do not round as the reference
kernels, which tinygen's meaning is, where these models show it (CONV_2D's would, too, without the RELU behind it):

- DEPTHWISE_CONV_2D rounds exact halves of its last shift upwards where the reference rounds them away from zero, in
  all channels that fill groups of eight (Arm's `vrshl`; what is left beside them is computed by scalar code, as the
  reference computes it). Negative halves come out one code higher: some two of a thousand codes. (The output stage of
  tensorflow/lite/kernels/internal/optimized/integer_ops/depthwise_conv.h; TFLite calls it kUpward.)
- FULLY_CONNECTED scales by a high multiply and a shift that rounds halves upwards, the reference by the real multiplier
  in double precision.

`optimised_meaning` is these two in NumPy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tinygen.frontends.load import load_model
from tinygen.ir.fixed_point import quantized_activation_range, saturating_rounding_doubling_high_mul, wrap_int32
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Evaluate, Stream
from tinygen.ir.ops import mac
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected

_SIMD_CHANNELS = 8


@dataclass(frozen=True)
class Heard:
    """What pymicro-wakeword made of some sound; one entry an inference.

    Attributes:
        inputs: int8 codes [1, stride, channels].
        codes: of the output.
        probabilities: averages, as `process_streaming_prob` gives them.
        detected: whether `process_streaming` says so.
    """

    inputs: list[np.ndarray]
    codes: list[int]
    probabilities: list[float]
    detected: list[bool]


class _ReferenceLibrary:
    """TensorFlow Lite's C functions as pymicro-wakeword calls them, on LiteRT's reference kernels."""

    def __init__(self, model: Path) -> None:
        self._interpreter = Interpreter(
            str(model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
        )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]

    def TfLiteTensorCopyFromBuffer(self, _tensor: Any, data: Any, size: int) -> None:
        codes = np.frombuffer(ctypes.string_at(data, size), self._input["dtype"])
        self._interpreter.set_tensor(self._input["index"], codes.reshape(self._input["shape"]))

    def TfLiteInterpreterInvoke(self, _interpreter: Any) -> None:
        self._interpreter.invoke()

    def TfLiteTensorByteSize(self, _tensor: Any) -> int:
        return int(self._interpreter.get_tensor(self._output["index"]).nbytes)

    def TfLiteTensorCopyToBuffer(self, _tensor: Any, data: Any, size: int) -> None:
        ctypes.memmove(data, self._interpreter.get_tensor(self._output["index"]).tobytes(), size)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None  # what is deleted at the end is the real library's


def pymicro(config: Path, samples: np.ndarray, *, reference: bool = False) -> Heard:
    """What pymicro-wakeword hears in int16 samples at 16 kHz, frame by frame.

    Args:
        config: its JSON, with the model beside it.
        samples: int16 at 16 kHz.
        reference: its own code, but LiteRT's reference kernels.
    """
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures

    word = MicroWakeWord.from_config(config)
    if reference:
        word.close()
        word.lib = _ReferenceLibrary(Path(word.tflite_model))
        word.interpreter = word.model = 1
    heard = Heard([], [], [], [])
    frames: list[np.ndarray] = []
    for features in MicroWakeWordFeatures().process_streaming(samples.tobytes()):
        frames.append(features)
        probability = word.process_streaming_prob(features)
        if len(frames) < word.stride:
            continue
        real = np.concatenate(frames, axis=1) / word.input_scale + word.input_zero_point
        frames.clear()
        assert probability is not None
        heard.inputs.append(np.round(real).astype(np.int8))
        heard.codes.append(round(word._probabilities[-1] / word.output_scale) + word.output_zero_point)
        heard.probabilities.append(probability)
        heard.detected.append(probability > word.probability_cutoff)
    return heard


def semantics(model: Path, inputs: Sequence[np.ndarray], *, optimised: bool) -> list[int]:
    """Output codes of tinygen's meaning of the model; or with `optimised_meaning` of two operators."""
    graph = load_model(model)
    stream = Stream(graph, optimised_meaning(graph) if optimised else None)
    return [int(stream.step([codes])[0].item()) for codes in inputs]


def optimised_meaning(graph: Graph) -> dict[str, Evaluate]:
    """By operators' names: how LiteRT's optimised kernels compute those that differ from the reference kernels."""
    kinds = (DepthwiseConv2D, FullyConnected)
    return {node.op.name: _upwards for node in graph.nodes() if isinstance(node.op, kinds)}


def _upwards(node: Node, values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The operator with halves rounded upwards; the reference's codes in what is left beside groups of channels."""
    codes = node.op.evaluate(node, values)[0]
    multiplier, shift = mac.multipliers(node)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    high = saturating_rounding_doubling_high_mul(wrap_int32(_accumulators(node, values) << left), multiplier)
    low_code, high_code = quantized_activation_range(node.op.activation, node.output)  # type: ignore[attr-defined]
    rounded = (high + ((np.int64(1) << right) >> 1)) >> right
    upwards = np.clip(rounded + node.output.zero_point, low_code, high_code).astype(codes.dtype).reshape(codes.shape)
    if isinstance(node.op, FullyConnected):
        return [upwards]
    channels = codes.shape[-1]
    in_groups = np.arange(channels) < channels - channels % _SIMD_CHANNELS
    return [np.where(in_groups, upwards, codes)]


def _accumulators(node: Node, values: Sequence[np.ndarray]) -> np.ndarray:
    """Sums of products of one row of windows that covers the whole input, or of a dense layer; channels last."""
    x, weights = mac.centred(values[0], node.input(0)), mac.centred(values[1], node.input(1))
    bias = mac.bias_value(node, values)
    if isinstance(node.op, FullyConnected):
        return np.asarray(x.reshape(1, -1) @ weights.T + bias)
    assert x.shape[1:] == weights.shape[1:] and node.output.size == weights.shape[3], "not one window"
    return np.asarray((x * weights).sum(axis=(1, 2)) + bias)
