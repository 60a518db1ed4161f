"""ONNX models for tests, built node by node, and ONNX Runtime as their oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tinygen.ir.graph import Graph
from tinygen.ir.ops.summing import Summing

QONNX = "qonnx.custom_op.general"
OPSET = 21
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")


class OnnxNet:
    """Collects nodes; `node` gives the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []

    def _fresh(self, prefix: str) -> str:
        return f"{prefix}_{len(self.nodes) + len(self.constants)}"

    def input(self, *shape: int | str, dtype: int = TensorProto.FLOAT, name: str = "x") -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, array: Any, dtype: str = "float32", name: str = "") -> str:
        name = name or self._fresh("c")
        self.constants.append(numpy_helper.from_array(np.asarray(array, np.dtype(dtype)), name))
        return name

    def narrow(self, array: np.ndarray, kind: int) -> str:
        """A constant of INT4 or UINT4."""
        name = self._fresh("narrow")
        self.constants.append(helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist()))
        return name

    def node(self, kind: str, *inputs: str, domain: str = "", name: str = "", **attributes: Any) -> str:
        output = self._fresh(kind.lower())
        label = name or f"node_{output}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], label, domain=domain, **attributes))
        return output

    def several(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """The outputs of a node with `count` of them."""
        first = self.node(kind, *inputs, **attributes)
        outputs = [first, *(f"{first}_{index}" for index in range(1, count))]
        self.nodes[-1].output[:] = outputs
        return outputs

    def quantize(self, x: str, scale: float, zero: int = 0, dtype: str = "int8") -> str:
        """QuantizeLinear and DequantizeLinear."""
        parameters = self.constant(scale), self.constant(zero, dtype)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *parameters), *parameters)

    def clipped(self, x: str, scale: float, low: int, high: int, dtype: str = "int8") -> str:
        """QuantizeLinear, Clip of the codes, DequantizeLinear: fewer bits in standard operators."""
        parameters = self.constant(scale), self.constant(0, dtype)
        codes = self.node("QuantizeLinear", x, *parameters)
        codes = self.node("Clip", codes, self.constant(low, dtype), self.constant(high, dtype))
        return self.node("DequantizeLinear", codes, *parameters)

    def weights(self, codes: np.ndarray, scale: Any, axis: int = 0, dtype: str = "int8", zero: Any = 0) -> str:
        """Codes behind a DequantizeLinear."""
        scales = np.asarray(scale, np.float32)
        zeros = np.broadcast_to(zero, scales.shape)
        parts = self.constant(codes, dtype), self.constant(scales), self.constant(zeros, dtype)
        return self.node("DequantizeLinear", *parts, axis=axis)

    def quant(self, x: str, scale: Any, bits: int, *, zero: float = 0.0, **attributes: Any) -> str:
        """QONNX's Quant."""
        parts = self.constant(scale), self.constant(zero), self.constant(float(bits))
        return self.node("Quant", x, *parts, domain=QONNX, **attributes)

    def bipolar(self, x: str, scale: Any = 1.0) -> str:
        return self.node("BipolarQuant", x, self.constant(scale), domain=QONNX)

    def batch_norm(self, x: str, channels: int, rng: np.random.Generator) -> str:
        """With gains of both signs, one of them zero where there are several channels."""
        gamma = rng.uniform(0.5, 1.5, channels) * rng.choice([-1, 1], channels)
        gamma[1:2] = 0
        values = gamma, rng.normal(0, 0.5, channels), rng.normal(0, 1, channels), rng.uniform(0.5, 2, channels)
        return self.node("BatchNormalization", x, *(self.constant(v) for v in values))

    def model(self, *outputs: str, shapes: Mapping[str, Sequence[int]] | None = None, opset: int = OPSET) -> Any:
        bools = {node.output[0] for node in self.nodes if node.op_type in COMPARISONS}
        kinds = [TensorProto.BOOL if name in bools else TensorProto.FLOAT for name in outputs]
        infos = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(outputs, kinds, strict=True)]
        graph = helper.make_graph(self.nodes, "net", self.inputs, infos, self.constants)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid(QONNX, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def content(self, *outputs: str) -> bytes:
        return self.model(*outputs).SerializeToString()


def _session(content: bytes) -> Any:
    """Graph rewriting is off, so that every node computes what it says."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_onnxruntime(content: bytes, feeds: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first output for each feed of the first input."""
    session = _session(content)
    name = session.get_inputs()[0].name
    return [session.run(None, {name: feed})[0] for feed in feeds]


def every_value(content: bytes, feeds: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """What every node gives, by name, for each feed."""
    model = onnx.load_from_string(content)
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = _session(model.SerializeToString())
    name = session.get_inputs()[0].name
    return [dict(zip(names, session.run(names, {name: feed}), strict=True)) | {name: feed} for feed in feeds]


def kinds(graph: Graph) -> list[str]:
    """Of operators; those of sums that are not TFLite's with "integer_" in front."""
    return ["integer_" * (isinstance(op, Summing) and not op.is_tflite) + op.KIND for op in graph.ops]
