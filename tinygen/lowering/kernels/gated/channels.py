"""Plain kernels of gated channels: channel indices are looked up in lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir.encodings import ChannelList
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.channel_lists import zero_code
from tinygen.ir.ops.channel_statistic import ChannelStatistic
from tinygen.ir.ops.gather_channels import GatherChannels
from tinygen.ir.ops.gather_conv_2d import GatherConv2D
from tinygen.ir.ops.mask_channels import MaskChannels
from tinygen.ir.ops.mix_weights import MixWeights
from tinygen.ir.ops.scatter_channels import ScatterChannels
from tinygen.ir.ops.top_k import TopK
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.kernels.support.activations import codes
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.kernels.support.weights.gathered import computed_operands
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@kernel(TopK, name="top_k_by_position")
def top_k_by_position(node: Node) -> KernelPlan | None:
    """Inserts into the list of the k largest, then passes over all codes."""
    op, x = node.op, node.input(0)
    assert isinstance(op, TopK)
    if not op.by_position:
        return None
    return KernelPlan(
        template="gated/top_k_by_position.c.j2",
        stem=f"top_k_by_position_{x.dtype.name}",
        context={"depth": x.size, "k": op.k, "code_type": ctype(x.dtype)},
        results=(("values", 0), ("positions", 1)),
        cycles=(14.0 + 3.0 * op.k) * x.size,
    )


@kernel(GatherConv2D, name="gather_conv_2d")
def gather_conv_2d(node: Node) -> KernelPlan | None:
    """Plain loops, any encoding."""
    op, x, weights = node.op, node.input(0), node.input(1)
    assert isinstance(op, GatherConv2D)
    activations = codes.activation_context(x)
    if activations is None:
        return None
    constants, of_weights = _weights(node)
    if of_weights["weight_codes"] is None:
        return None
    geometry = op.geometry(node)
    after = codes.ending(op.epilogue)
    biases = (Constant("biases", np.array(op.bias, np.int32), f"[{len(op.bias)}]"),) if op.bias else ()
    operands = computed_operands(node, input=0, weights=1, live_in=2, live_out=3, gamma=4)
    return KernelPlan(
        template="gated/gather_conv_2d.c.j2",
        stem=window_stem(f"gather_conv_2d_{codes.kind_of(x.integer)}_{codes.kind_of(weights.integer)}", geometry),
        context={
            **window_context(node, geometry),
            **of_weights,
            "depth": weights.shape[3],
            "weights_of_all": weights.is_constant,
            "activations": activations,
            "input_type": ctype(x.memory_dtype),
            "biased": bool(op.bias),
            **{name: any(name == own for own, _ in operands) for name in ("live_in", "live_out", "gamma")},
            "after": after.context,
            **codes.output_context(node.output),
        },
        operands=operands,
        constants=(*constants, *biases, *after.constants),
        headers=codes.HEADERS,
        cycles=(11.0 if node.optional(2) is not None else 9.0) * op.macs(node)
        + (24.0 + after.cycles) * node.output.size,
    )


def _weights(node: Node) -> tuple[tuple[Constant, ...], dict[str, Any]]:
    """Constant weights as integers; computed ones as their codes."""
    weights = node.input(1)
    if weights.data is None:
        return (), {"weight_type": ctype(weights.dtype), "weight_codes": codes.activation_context(weights)}
    integers = codes.smallest_integers(weights.integer.integers(weights.data))
    constant = Constant("weights", integers.reshape(-1), f"integers {list(integers.shape)}")
    return (constant,), {
        "weight_type": ctype(integers.dtype),
        "weight_codes": {"kind": "plain", "offset": 0, "bits": 0},
    }


@kernel(MixWeights, name="mix_weights")
def mix_weights(node: Node) -> KernelPlan | None:
    """Plain loops over the live weights, all experts of each in turn."""
    op, experts = node.op, node.input(1)
    assert isinstance(op, MixWeights)
    alpha = codes.activation_context(node.input(0))
    if alpha is None or alpha["kind"] == "table":
        return None
    count, all_out, kernel_h, kernel_w, all_in = experts.shape
    after = codes.ending(op.epilogue)
    operands = computed_operands(node, alpha=0, live_in=2, live_out=3)
    return KernelPlan(
        template="gated/mix_weights.c.j2",
        stem="mix_weights",
        context={
            "count": count,
            "taps": kernel_h * kernel_w,
            "all_out": all_out,
            "all_in": all_in,
            "out_c": node.output.shape[0],
            "in_c": node.output.shape[3],
            "alpha_codes": alpha,
            **{name: any(name == own for own, _ in operands) for name in ("live_in", "live_out")},
            "after": after.context,
        },
        operands=operands,
        constants=(
            Constant("experts", node.constant(1).reshape(-1), f"codes {list(experts.shape)}"),
            *after.constants,
        ),
        headers=codes.HEADERS,
        cycles=node.output.size * (8.0 + 4.0 * count + after.cycles),
    )


@kernel(ChannelStatistic, name="channel_statistic")
def channel_statistic(node: Node) -> KernelPlan | None:
    """Plain loops, channel by channel."""
    op, x = node.op, node.input(0)
    assert isinstance(op, ChannelStatistic)
    activations = codes.activation_context(x)
    if activations is None:
        return None
    after = codes.ending(op.epilogue)
    return KernelPlan(
        template="gated/channel_statistic.c.j2",
        stem=f"channel_{op.statistic.value}_{codes.kind_of(x.integer)}",
        context={
            "statistic": op.statistic.value,
            "pixels": x.shape[1] * x.shape[2],
            "in_c": x.shape[3],
            "channels": node.output.size,
            "live": node.optional(1) is not None,
            "dead": int(op.epilogue.apply(np.zeros(1, np.int64))[0]),
            "activations": activations,
            "input_type": ctype(x.memory_dtype),
            "after": after.context,
            **codes.output_context(node.output),
        },
        operands=computed_operands(node, input=0, live=1),
        constants=after.constants,
        headers=codes.HEADERS,
        cycles=7.0 * x.size + (10.0 + after.cycles) * x.shape[3] + 3.0 * node.output.size,
    )


@kernel(ScatterChannels, name="scatter_channels")
def scatter_channels(node: Node) -> KernelPlan:
    """Zeros first, pixel by pixel."""
    x, zero = node.input(0), zero_code(node.output)
    pixels = x.size // x.shape[-1]
    return KernelPlan(
        template="gated/scatter_channels.c.j2",
        stem=f"scatter_channels_{x.dtype.name}",
        context={**_between(node), "zero": zero},
        operands=(("input", 0), ("live", 1)),
        cycles=pixels * (10.0 + 2.0 * node.output.shape[-1] + 6.0 * x.shape[-1]),
    )


@kernel(GatherChannels, name="gather_channels")
def gather_channels(node: Node) -> KernelPlan:
    """A look-up for each listed channel of each pixel."""
    return KernelPlan(
        template="gated/gather_channels.c.j2",
        stem=f"gather_channels_{node.output.dtype.name}",
        context=_between(node),
        operands=(("input", 0), ("live", 1)),
        cycles=6.0 * node.output.size,
    )


@kernel(MaskChannels, name="mask_channels")
def mask_channels(node: Node) -> KernelPlan:
    """A list of the channels that are not listed, then zeros at each pixel. The copy is left out where input and output
    are the same memory.
    """
    x, encoding = node.input(0), node.input(1).encoding
    assert isinstance(encoding, ChannelList)
    channels, live = x.shape[-1], node.input(1).size
    pixels = x.size // channels

    def cycles(kept: float, _: float) -> float:
        return 12.0 * channels + pixels * (6.0 + 3.0 * (channels - kept))

    return KernelPlan(
        template="gated/mask_channels.c.j2",
        stem=f"mask_channels_{x.dtype.name}",
        context={
            "pixels": pixels,
            "channels": channels,
            "counted": encoding.counted,
            "live_count": live,
            "zero": zero_code(node.output),
        },
        operands=(("input", 0), ("live", 1)),
        scratch_bytes=2 * channels,
        inplace=((0, 0),),
        cycles=cycles(0 if encoding.counted else live, 0),
        live_cycles=cycles,
    )


def _between(node: Node) -> dict[str, int]:
    """Shapes of live channels and of all."""
    x, y = node.input(0), node.output
    wide = max(x.shape[-1], y.shape[-1])
    return {"pixels": x.size // x.shape[-1], "channels": wide, "live_count": node.input(1).size}
