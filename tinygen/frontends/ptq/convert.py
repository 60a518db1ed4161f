"""Float graph and encodings to a graph of int8 operators.

Operators whose inputs and outputs all have encodings become integer. In partly quantized models the others stay float,
with conversions between the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinygen.errors import UnsupportedError
from tinygen.frontends.ptq import branches
from tinygen.frontends.ptq.calibrate import Range, Sample
from tinygen.frontends.ptq.composed import Composed
from tinygen.frontends.ptq.correction import Correction
from tinygen.frontends.ptq.encodings import represented
from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.recurrent import has_known_states, integer_gru, integer_lstm
from tinygen.frontends.ptq.roles import MAC, SAME_SCALE, channel_axis, fixed_output, must_be_fixed
from tinygen.frontends.ptq.weights import known_codes, quantize_bias, quantize_operand, quantize_weights
from tinygen.ir.branch import Branch
from tinygen.ir.encodings import Affine, Float32
from tinygen.ir.epilogue import Tflite
from tinygen.ir.fixed_point import round_half_away
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.binary import Add
from tinygen.ir.ops.cast import Cast
from tinygen.ir.ops.compare import Compare, Relation
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.gru import Gru
from tinygen.ir.ops.lookup import Lookup
from tinygen.ir.ops.lstm import Lstm
from tinygen.ir.ops.normalization import Normalization
from tinygen.ir.ops.pad import MirrorPad, Pad
from tinygen.ir.ops.pool_2d import AveragePool2D
from tinygen.ir.ops.quantize import Dequantize, Quantize
from tinygen.ir.ops.window import Padding
from tinygen.ir.tensor import Tensor


def convert(model: FloatModel, encodings: Mapping[str, Affine], correct_on: Sequence[Sample] | None = None) -> Graph:
    """The integer graph.

    Args:
        model: simplified.
        encodings: of tensors computed at run time; those without stay float.
        correct_on: samples for bias correction; None for no correction.

    Raises:
        UnsupportedError: an operator does not have an integer form for these encodings.
    """
    return _Converter(model, encodings, correct_on).graph()


class _Converter:
    def __init__(self, model: FloatModel, encodings: Mapping[str, Affine], correct_on: Sequence[Sample] | None) -> None:
        self.model, self.source, self.encodings = model, model.graph, encodings
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.names = {op.name for op in self.source.ops} | set(self.source.tensors)
        self.floats: dict[str, str] = {}
        for name in self.source.inputs:
            self._declare(name)
        inputs = [self.tensors[name] for name in self.source.inputs]
        self.correction = None if correct_on is None else Correction(self.source, inputs, correct_on)

    def graph(self) -> Graph:
        for op in self.source.ops:
            self._convert(op)
            if self.correction:
                self.correction.step(op)
        graph = Graph(self.source.name, self.tensors, tuple(self.ops), self.source.inputs, self.source.outputs)
        used = {name for op in graph.ops for name in (*op.inputs, *op.outputs)} | {*graph.inputs}
        graph = replace(graph, tensors={name: tensor for name, tensor in self.tensors.items() if name in used})
        graph.validate()
        return graph

    def _declare(self, name: str) -> None:
        """Adds a run-time tensor of the source, with its encoding."""
        tensor = self.source.tensors[name]
        self.tensors[name] = replace(tensor, encoding=self.encodings.get(name, tensor.encoding))

    def _emit(self, op: Op) -> None:
        self.ops.append(op)
        if self.correction:
            self.correction.run(Graph(self.source.name, self.tensors, (), (), ()).node(op))

    def _unique(self, stem: str) -> str:
        name, number = stem, 2
        while name in self.names:
            name, number = f"{stem}_{number}", number + 1
        self.names.add(name)
        return name

    def _beside(self, like: str, suffix: str, encoding: Affine | Float32) -> str:
        """A tensor of the same shape under a new name."""
        name = self._unique(f"{like}_{suffix}")
        self.tensors[name] = Tensor(name, self.source.tensors[like].shape, encoding)
        return name

    def _convert(self, op: Op) -> None:
        for name in op.outputs:
            self._declare(name)
        given = [name for name in op.inputs if name and not self.source.tensors[name].is_constant]
        known = self._all_encoded(given)
        if isinstance(op, Quantize):
            self._emit(op)
        elif isinstance(op, Branch):
            self._branch(op)
        elif isinstance(op, Compare) and op.inputs[0] in self.encodings and known:
            self._compare(op)
        elif not any(self.source.tensors[name].is_float for name in (*given, *op.outputs)):
            self._emit(replace(op, inputs=tuple(self._read(op, name) for name in op.inputs)))
        elif not known or not self._all_encoded(op.outputs) or isinstance(op, Cast):
            self._as_float(op)
        elif isinstance(op, Lstm | Gru):
            self._recurrent(op)
        elif isinstance(op, MAC):
            self._mac(op)
        elif isinstance(op, Composed):
            self._look_up(op)
        elif isinstance(op, SAME_SCALE):
            self._same_scale(op)
        else:
            self._other(op)

    def _all_encoded(self, names: Sequence[str]) -> bool:
        """Whether these have encodings, but for those that are no floats: positions, conditions."""
        return all(name in self.encodings for name in names if self.source.tensors[name].is_float)

    def _branch(self, op: Branch) -> None:
        if not self._all_encoded((*op.inputs, *op.outputs)):
            fix = "Quantize the float model: give calibration inputs."
            raise UnsupportedError("branches in a model that is quantized in part", where=op.name, fix=fix)
        wanted = [self.tensors[name] for name in op.outputs]
        read = (
            convert(FloatModel(graph), branches.within(self.encodings, op, number))
            for number, graph in enumerate(op.branches)
        )
        self._emit(replace(op, branches=tuple(branches.with_outputs(graph, wanted) for graph in read)))

    def _compare(self, op: Compare) -> None:
        """Compares codes in the first operand's encoding; a constant becomes the code at which the relation changes."""
        name, encoding = op.inputs[1], self.encodings[op.inputs[0]]
        constant = self.source.tensors[name].data
        if constant is not None:
            upwards = op.relation in (Relation.GREATER_EQUAL, Relation.LESS)
            near = op.relation in (Relation.EQUAL, Relation.NOT_EQUAL)
            values = constant.astype(np.float64) + (0.5 - 1e-9) * near * encoding.scale[0]
            codes = branches.threshold_codes(values, encoding, upwards=upwards)
            name = self._unique(f"{name}_code")
            self.tensors[name] = Tensor(name, constant.shape, encoding, codes)
        elif self.encodings[name] != encoding:
            fitted = self._beside(name, "rescaled", encoding)
            self._emit(Quantize(name=fitted, inputs=(name,), outputs=(fitted,)))
            name = fitted
        self._emit(replace(op, inputs=(op.inputs[0], name)))

    def _mac(self, op: Op) -> None:
        x, weights = self.tensors[op.inputs[0]], self.source.tensors[op.inputs[1]]
        axis = channel_axis(op)
        channels = weights.shape[axis]
        bias = np.zeros(channels)
        if len(op.inputs) > 2:
            bias = np.asarray(self.source.tensors[op.inputs[2]].data, np.float64)
        known = self.model.weights.get(weights.name)
        codes = known_codes(weights, known) if known else quantize_weights(weights, axis, x.scale, bias)
        self.tensors[weights.name] = codes
        if self.correction:
            bias = bias + self.correction.error(op, x, codes)
        name = op.inputs[2] if len(op.inputs) > 2 else self._unique(f"{op.name}_bias")
        if len(op.inputs) > 2 or np.any(bias != 0):
            # A constant with several readers may need several scales: each reader gets a copy.
            name = name if name not in self.tensors else self._unique(name)
            self.tensors[name] = quantize_bias(name, bias, x.scale, codes.affine)
            op = replace(op, inputs=(*op.inputs[:2], name))
        self._emit(op)

    def _recurrent(self, op: Lstm | Gru) -> None:
        """Integer where the states before the first step are constants; those after the last are rescaled if read."""
        node, (y, *after) = self.source.node(op), op.outputs
        if not has_known_states(node):
            self._as_float(op)
            return
        x, given = self.tensors[op.inputs[0]].affine, self.encodings[y]
        if isinstance(op, Lstm):
            made = integer_lstm(node, x, given, represented(self.encodings[after[1]]), self._unique)
        else:
            made = integer_gru(node, x, given, self._unique)
        self.tensors |= {tensor.name: tensor for tensor in made.tensors}
        self._emit(made.op)
        read = {name for other in self.source.ops for name in other.inputs} | {*self.source.outputs}
        for name, codes in zip(after, made.op.outputs[1:], strict=True):
            if name in read:
                self._emit(Quantize(name=self._unique(f"{name}_rescaled"), inputs=(codes,), outputs=(name,)))

    def _same_scale(self, op: Op) -> None:
        encoding = self.encodings[op.outputs[0]]
        others = [name for name in op.inputs if name in self.encodings and self.encodings[name] != encoding]
        if isinstance(op, AveragePool2D) and others:
            self._rescaling_pool(op)
            return
        inputs = []
        for name in op.inputs:
            if name in others:
                fitted = self._beside(name, "rescaled", encoding)
                self._emit(Quantize(name=fitted, inputs=(name,), outputs=(fitted,)))
                name = fitted
            inputs.append(self._read(op, name, encoding=encoding))
        if isinstance(op, Pad) and not isinstance(op, MirrorPad):
            code = round(op.value / encoding.scale[0]) + encoding.zero_point[0]
            op = replace(op, value=int(np.clip(code, -128, 127)))
        self._emit(replace(op, inputs=tuple(inputs)))

    def _rescaling_pool(self, op: AveragePool2D) -> None:
        """A mean with another output scale, as a depthwise convolution with equal weights, which rounds once."""
        name, output = op.inputs[0], op.outputs[0]
        if op.padding is not Padding.VALID or op.row_padding or op.column_padding:
            # Windows at the border have fewer elements, so weights would differ: requantize after the mean.
            between = self._beside(output, "mean", self.encodings[name])
            self._emit(replace(op, outputs=(between,)))
            self._emit(Quantize(name=self._unique(f"{op.name}_rescaled"), inputs=(between,), outputs=(output,)))
            return
        shape = (1, *op.kernel, self.tensors[name].shape[3])
        scale = float(np.float32(1 / (op.kernel[0] * op.kernel[1])))
        weights = self._unique(f"{op.name}_weights")
        self.tensors[weights] = Tensor(weights, shape, Affine("int8", (scale,), (0,)), np.ones(shape, np.int8))
        self._emit(
            DepthwiseConv2D(
                name=op.name,
                inputs=(name, weights),
                outputs=op.outputs,
                padding=op.padding,
                stride=op.stride,
                epilogue=Tflite(op.activation),
            )
        )

    def _other(self, op: Op) -> None:
        within = self._within(op)
        inputs = tuple(self._read(op, name, within) for name in op.inputs)
        fixed, output = fixed_output(op), op.outputs[0]
        if fixed is None or self.encodings[output] == fixed or not must_be_fixed(op):
            self._emit(replace(op, inputs=inputs))
            return
        between = self._beside(output, "fixed", fixed)
        self._emit(replace(op, inputs=inputs, outputs=(between,)))
        self._emit(Quantize(name=self._unique(f"{op.name}_rescaled"), inputs=(between,), outputs=(output,)))

    def _read(self, op: Op, name: str, within: Range | None = None, encoding: Affine | None = None) -> str:
        """An input as the integer operator reads it: constants as int8, but for those that it takes as they are."""
        if name in self.tensors or not name:
            return name
        tensor = self.source.tensors[name]
        if isinstance(op, Normalization) or not tensor.is_float:
            self.tensors[name] = tensor
            return name
        return self._operand(name, encoding, within)

    def _within(self, op: Op) -> Range | None:
        """Which values of a constant that is added make a difference: beyond them, every sum saturates."""
        moving = next((name for name in op.inputs if name in self.encodings), None)
        if not isinstance(op, Add) or moving is None or op.outputs[0] not in self.encodings:
            return None
        low, high = represented(self.encodings[moving])
        least, most = represented(self.encodings[op.outputs[0]])
        return least - high, most - low

    def _look_up(self, op: Composed) -> None:
        """A table of the function, each value rounded once."""
        x, output = self.tensors[op.inputs[0]].affine, self.encodings[op.outputs[0]]
        reals = (x.integers(np.arange(-128, 128)) * x.scale[0]).astype(np.float32)
        with np.errstate(all="ignore"):
            steps = np.nan_to_num(op.applied(reals).astype(np.float64) / output.scale[0], nan=0.0)
        codes = np.clip(round_half_away(steps) + output.zero_point[0], -128, 127)
        table = tuple(int(code) for code in codes)
        self._emit(Lookup(name=op.name, inputs=op.inputs, outputs=op.outputs, table=table))

    def _operand(self, name: str, encoding: Affine | None = None, within: Range | None = None) -> str:
        """A constant operand as int8, in its known encoding, else the one given, else that of its own range."""
        tensor = self.source.tensors[name]
        known = self.model.weights.get(name)
        if within is not None and known is None:
            data = np.clip(np.asarray(tensor.data), np.float32(within[0]), np.float32(within[1]))
            if not np.array_equal(data, np.asarray(tensor.data)):
                name, tensor = self._unique(name), replace(tensor, data=data)
        if encoding is not None:
            # Its readers may need different encodings.
            name = self._unique(name)
        codes = known_codes(tensor, known) if known and encoding is None else quantize_operand(tensor, encoding)
        self.tensors[name] = replace(codes, name=name)
        return name

    def _as_float(self, op: Op) -> None:
        """The operator in float, between conversions."""
        inputs = []
        for name in op.inputs:
            if name in self.encodings:
                inputs.append(self._as_float_tensor(name))
                continue
            if name and name not in self.tensors:
                self.tensors[name] = self.source.tensors[name]
            inputs.append(name)
        quantized = [name for name in op.outputs if name in self.encodings]
        between = {name: self._beside(name, "float", Float32()) for name in quantized}
        self._emit(replace(op, inputs=tuple(inputs), outputs=tuple(between.get(name, name) for name in op.outputs)))
        for name, source in between.items():
            self._emit(Quantize(name=self._unique(f"{name}_quantize"), inputs=(source,), outputs=(name,)))

    def _as_float_tensor(self, name: str) -> str:
        if name not in self.floats:
            self.floats[name] = self._beside(name, "float", Float32())
            dequantize = Dequantize(name=self.floats[name], inputs=(name,), outputs=(self.floats[name],))
            self._emit(dequantize)
        return self.floats[name]
