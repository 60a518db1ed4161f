"""uint8 codes, which a graph has as int8: 128 less, with zero points 128 less, so that real values stay.

LiteRT's uint8 kernels compute with codes less their zero point, as those of int8 do. Model inputs and outputs, and what
subgraphs and variables exchange, remain uint8: codes are turned where they enter and leave. Tensors that are only moved
and requantized remain as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tflite

from tinygen.frontends.tflite.registry import Operator
from tinygen.frontends.tflite.values import Values
from tinygen.frontends.tflite.variables import VARIABLE_OPERATORS
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import quantize_multiplier
from tinygen.ir.ops.base import Op
from tinygen.ir.ops.quantize import Quantize
from tinygen.ir.steps import Steps
from tinygen.ir.tensor import Tensor

SHIFT = 128
"""Between codes of uint8 and of int8."""
SIGNED = "#signed"
"""Ends the names of int8 tensors beside which the uint8 ones are needed."""

_OP = tflite.BuiltinOperator
_MOVING = frozenset(
    getattr(_OP, name)
    for name in (
        "BATCH_TO_SPACE_ND",
        "BROADCAST_TO",
        "CONCATENATION",
        "DEPTH_TO_SPACE",
        "DYNAMIC_UPDATE_SLICE",
        "EXPAND_DIMS",
        "FILL",
        "GATHER",
        "GATHER_ND",
        "MIRROR_PAD",
        "PACK",
        "PAD",
        "PADV2",
        "RESHAPE",
        "REVERSE_V2",
        "SELECT",
        "SELECT_V2",
        "SLICE",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SPLIT_V",
        "SQUEEZE",
        "STRIDED_SLICE",
        "TILE",
        "TRANSPOSE",
        "UNPACK",
    )
)
"""Operators whose outputs have codes of their inputs."""
_EITHER = frozenset({_OP.QUANTIZE, _OP.DEQUANTIZE})
_PLACES = frozenset({_OP.GATHER, _OP.GATHER_ND})
"""Operators whose inputs behind the first are numbers."""
_UNSIGNED = frozenset({_OP.CAST, _OP.IF, _OP.ONE_HOT, _OP.SCATTER_ND, _OP.SHAPE, *VARIABLE_OPERATORS})
"""Operators that take and give uint8 itself: as numbers, with zeros among them, or between subgraphs."""
_MULTIPLYING = frozenset({_OP.CONV_2D, _OP.DEPTHWISE_CONV_2D, _OP.TRANSPOSE_CONV, _OP.FULLY_CONNECTED})


@dataclass(frozen=True)
class Use:
    """An operator of the file, by the names of the tensors that it reads and writes."""

    code: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def codes(self) -> list[str]:
        """Tensors whose codes it reads or writes as such."""
        return [name for index, name in enumerate(self.inputs) if not _is_number(self.code, index)] + [*self.outputs]

    @property
    def unsigned(self) -> list[str]:
        """Tensors that it takes and gives as uint8."""
        if self.code in _UNSIGNED:
            return [*self.inputs, *self.outputs]
        return [name for index, name in enumerate(self.inputs) if _is_number(self.code, index)]


class Signs:
    """The uint8 tensors of a subgraph in the forms that its operators take.

    Args:
        tensors: as the file has them.
        uses: the subgraph's operators.
        ports: names of its inputs and outputs.

    Attributes:
        tensors: the same, int8 where uint8 is not needed.
        twins: by name of a tensor that is needed as uint8, too: the int8 tensor that stands for it.
    """

    def __init__(self, tensors: Sequence[Tensor], uses: Sequence[Use], ports: Collection[str]) -> None:
        quantized = {tensor.name: tensor for tensor in tensors if _is_unsigned(tensor)}
        computed = _computed_with(quantized, uses)
        given = set(ports).union(*(use.unsigned for use in uses))
        self.tensors = [
            as_signed(tensor, tensor.name) if tensor.name in computed - given else tensor for tensor in tensors
        ]
        self.twins = {
            tensor.name: as_signed(tensor, f"{tensor.name}{SIGNED}")
            for tensor in tensors
            if tensor.name in computed & given
        }
        self._computed = {name for name in self.twins if not quantized[name].is_constant}
        self._turns = 0

    def of(self, operator: Operator, values: Values) -> Operator:
        """The operator with the tensors that it takes and gives."""
        if operator.code in _UNSIGNED or operator.code in _EITHER:
            return operator

        def taken(tensor: Tensor) -> Tensor:
            return values.named(self.twins[tensor.name].name) if tensor.name in self.twins else tensor

        inputs = tuple(
            tensor and (tensor if _is_number(operator.code, index) else taken(tensor))
            for index, tensor in enumerate(operator.inputs)
        )
        return _with_weights(replace(operator, inputs=inputs, outputs=tuple(map(taken, operator.outputs))), values)

    def turned(self, written: Iterable[str], code: int | None = None) -> Steps:
        """Operators that make the other form of what is needed in both.

        Args:
            written: names of tensors in the file.
            code: of the operator that wrote them; None for inputs.
        """
        found: list[Op] = []
        for name in (name for name in written if name in self._computed):
            unsigned = code is None or code in _UNSIGNED or code in _EITHER
            source, result = (name, self.twins[name].name) if unsigned else (self.twins[name].name, name)
            kind = "unsigned_to_signed" if unsigned else "signed_to_unsigned"
            found.append(Quantize(name=f"{kind}_{self._turns}", inputs=(source,), outputs=(result,)))
            self._turns += 1
        return Steps(tuple(found))


def _with_weights(operator: Operator, values: Values) -> Operator:
    """Weights of a multiplying operator without a zero point where bytes hold them; their scale is LiteRT's."""
    place, x = 1, 2 if operator.code == _OP.TRANSPOSE_CONV else 0
    if operator.code not in _MULTIPLYING or len(operator.inputs) <= max(place, x):
        return operator
    activations, weights = operator.inputs[x], operator.inputs[place]
    if activations is None or weights is None or not weights.is_constant or operator.kind(weights) != "uint8":
        return operator
    found = _centred(weights)
    if operator.code != _OP.FULLY_CONNECTED:
        found = _with_single_product(found, activations, operator.outputs[0])
    if found is weights:
        return operator
    found = replace(found, name=f"{weights.name}#{operator.name}")
    values.add([found])
    return replace(
        operator,
        inputs=(*operator.inputs[:place], found, *operator.inputs[place + 1 :]),
        declared={**operator.declared, found.name: operator.declared[weights.name]},
    )


def as_signed(tensor: Tensor, name: str) -> Tensor:
    """The int8 tensor with the real values of a quantized uint8 one."""
    affine = tensor.affine
    encoding = replace(affine, storage="int8", zero_point=tuple(zero - SHIFT for zero in affine.zero_point))
    data = None if tensor.data is None else (tensor.data ^ SHIFT).view(np.int8)
    return replace(tensor, name=name, encoding=encoding, data=data)


def _is_unsigned(tensor: Tensor) -> bool:
    return isinstance(tensor.encoding, Affine) and tensor.dtype == np.uint8


def _is_number(code: int, index: int) -> bool:
    """Whether input `index` of an operator has numbers, such as places, not codes."""
    return code in _PLACES and index > 0


def _computed_with(quantized: Collection[str], uses: Sequence[Use]) -> set[str]:
    """Names of the uint8 tensors whose codes an operator computes with, or that are moved to or from such."""
    groups = {name: {name} for name in quantized}
    for use in uses:
        if use.code in _MOVING:
            touched = [name for name in use.codes if name in groups]
            together = set().union(*(groups[name] for name in touched))
            groups.update(dict.fromkeys(together, together))
    plain = _MOVING | _EITHER | _UNSIGNED
    computed = {name for use in uses if use.code not in plain for name in use.codes}
    return {name for name in quantized if groups[name] & computed}


def _centred(weights: Tensor) -> Tensor:
    """The weights without their zero point, where bytes hold them."""
    assert weights.data is not None
    affine = weights.affine
    if affine.per_channel or not any(affine.zero_point):
        return weights
    integers = affine.integers(weights.data)
    if integers.min(initial=0) < -SHIFT or integers.max(initial=0) >= SHIFT:
        return weights
    return replace(weights, encoding=replace(affine, zero_point=(0,)), data=integers.astype(np.int8))


def _with_single_product(weights: Tensor, x: Tensor, output: Tensor) -> Tensor:
    """The weights with a scale whose product with the input's, in double precision, is that of LiteRT.

    LiteRT rounds the product of the scales to single precision (kernel_util.cc, `GetQuantizedConvolutionMultipler`).
    """
    scales = [tensor.encoding.scale for tensor in (weights, x, output) if isinstance(tensor.encoding, Affine)]
    if len(scales) < 3 or any(len(scale) > 1 for scale in scales):
        return weights
    (scale,), (of_x,), (of_output,) = scales
    with np.errstate(over="ignore", under="ignore"):
        product = float(np.float32(of_x) * np.float32(scale))
    near = product / of_x
    for found in (scale, near, float(np.nextafter(near, 0)), float(np.nextafter(near, np.inf))):
        if found > 0 and quantize_multiplier(of_x * found / of_output) == quantize_multiplier(product / of_output):
            return weights if found == scale else replace(weights, encoding=replace(weights.affine, scale=(found,)))
    return weights
