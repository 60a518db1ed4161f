"""Small networks with everything that real ones have, and the oracle for quantized graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.support.torch_models import need, randomize
from tinygen.ir.encodings import Affine
from tinygen.ir.fixed_point import float_activation_range
from tinygen.ir.graph import Graph
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.binary import Add, Mul, Sub
from tinygen.ir.ops.conv_2d import Conv2D
from tinygen.ir.ops.depthwise_conv_2d import DepthwiseConv2D
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.ir.ops.reduce import Mean
from tinygen.ir.ops.transpose_conv import TransposeConv

torch = need("torch")
nn, F = torch.nn, torch.nn.functional
torch.set_num_threads(1)


class Small(nn.Module):
    """Depthwise-separable, with a residual sum, squeeze and excitation, a concatenation, a padded pool."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.Hardswish())
        self.grouped = nn.Conv2d(8, 8, (1, 3), padding="same", groups=2)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Linear(16 * 4 * 4, classes)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        x = F.relu(x + self.grouped(self.depthwise(x)))
        weight = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        y = x * weight[:, :, None, None]
        x = self.pool(torch.cat([x, y], 1))
        return self.last(x.flatten(1)).softmax(1)


class Mirror(nn.Module):
    """To a quarter of the pixels and back: a transposed convolution, images made larger in two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.GELU())
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 6, 4, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.longer = nn.Sequential(nn.ConvTranspose2d(8, 6, 3, 2, 1, 1), nn.ELU())
        self.last = nn.Conv2d(18, 2, 1)

    def forward(self, x: Any) -> Any:
        x = self.down(x)
        wide = F.interpolate(x[:, :6], scale_factor=2, mode="bilinear")
        return self.last(torch.cat([self.up(x), self.longer(x) + F.interpolate(x[:, 2:], (16, 16)), wide], 1))


def small(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return randomize(Small(), seed)


SHAPE = (1, 3, 16, 16)
TOLERANCE = 0.02
"""Codes: how far from a tie a value may be that two arithmetics round differently. TFLite rounds an accumulator twice,
and its tables and pre-scaled sums carry fewer bits than a float."""


def real(values: np.ndarray, encoding: Affine) -> Any:
    shape = [-1 if axis == encoding.axis else 1 for axis in range(values.ndim)]
    scales, zeros = np.array(encoding.scale).reshape(shape), np.array(encoding.zero_point).reshape(shape)
    return torch.from_numpy((values.astype(np.float64) - zeros) * scales)


def fake_quantized(node: Node, values: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """What torch computes from the codes, in units of output codes, not yet rounded; None: other operators.

    Images are NHWC.
    """
    op: Any = node.op
    if not all(isinstance(tensor.encoding, Affine) for tensor in node.inputs if tensor is not None):
        return None
    operands = [real(values[t.name] if t.data is None else t.data, t.affine) for t in node.inputs if t is not None]
    if isinstance(op, Conv2D | DepthwiseConv2D):
        rows, columns = op.geometry(node)
        x = F.pad(operands[0].permute(0, 3, 1, 2), (columns.before, columns.after, rows.before, rows.after))
        order = (3, 0, 1, 2) if isinstance(op, DepthwiseConv2D) else (0, 3, 1, 2)
        groups = x.shape[1] if isinstance(op, DepthwiseConv2D) else op.groups(node)
        y = F.conv2d(x, operands[1].permute(order), *operands[2:], op.stride, 0, op.dilation, groups)
        result = y.permute(0, 2, 3, 1)
    elif isinstance(op, TransposeConv):
        rows, columns = op.geometry(node)
        y = F.conv_transpose2d(
            operands[0].permute(0, 3, 1, 2), operands[1].permute(3, 0, 1, 2), *operands[2:], op.stride
        )
        # Rows that no input reaches are zero, which is not what this oracle has: the networks here have none.
        top, left = rows.before, columns.before
        result = y[:, :, top : top + op.size[0], left : left + op.size[1]].permute(0, 2, 3, 1)
    elif isinstance(op, FullyConnected):
        result = F.linear(operands[0], *operands[1:])
    elif isinstance(op, Add | Sub | Mul):
        a, b = operands
        result = a * b if isinstance(op, Mul) else a - b if isinstance(op, Sub) else a + b
    elif isinstance(op, Mean):
        result = operands[0].mean(op.axes, keepdim=op.keep_dims)
    else:
        return None
    low, high = float_activation_range(getattr(op, "activation", None))  # type: ignore[arg-type]
    output = node.output.affine
    codes = result.clamp(low, high) / output.scale[0] + output.zero_point[0]
    return np.asarray(codes.clamp(-128, 127).numpy())


def layer_differences(graph: Graph, values: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """(codes compared, codes that differ) between each layer and torch on the same inputs.

    Raises:
        AssertionError: a code differs though torch's value is not beside a tie.
    """
    compared = differing = 0
    for node in graph.nodes():
        if not isinstance(node.output.encoding, Affine):
            continue
        exact = fake_quantized(node, values)
        if exact is None:
            continue
        away = np.abs(exact - values[node.output.name])
        assert away.max() <= 0.5 + TOLERANCE, (node.describe(), away.max())
        compared += away.size
        differing += int((away > 0.5).sum())
    return compared, differing
