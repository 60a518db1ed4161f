"""Dense layers whose weights are indices of values beyond a byte, for Armv7E-M: four outputs unpacked at a time."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir.ops.base import Node
from tinygen.ir.ops.fully_connected import FullyConnected
from tinygen.lowering.kernels.dense.fully_connected_pairs_dsp import pairs_plan
from tinygen.lowering.kernels.support.loops.sixteen_bits import also_16x8
from tinygen.lowering.kernels.support.weights import coded_weights
from tinygen.lowering.kernels.support.weights.coded_weights import find_any_code, pack_blocks
from tinygen.lowering.plan import Constant, KernelPlan, kernel


@also_16x8(FullyConnected)
@kernel(FullyConnected, of="codes", name="fully_connected_packed_pairs_dsp", family="tinygen", isa="dsp")
def fully_connected_packed_pairs_dsp(node: Node) -> KernelPlan | None:
    """As `fully_connected_pairs_dsp`, with weights of 16 bits from codes: slower, but a third of the flash."""
    plan = pairs_plan(node, by_four=True)
    if plan is None or not plan.context["wide_weights"]:
        return None
    outputs = node.input(1).shape[0]
    words = plan.constants[0].data[: -(-outputs // 4) * plan.context["block_words"]]
    pairs = words.astype("<u4").view("<i2").reshape(-(-outputs // 4), -1, 2, 2)
    code = find_any_code(pairs)
    if code is None:
        return None
    # Bytes 0 and 2 of a quad are the first of two pairs.
    quads = code.codes(pairs.transpose(0, 1, 3, 2).reshape(len(pairs), -1))
    blocks = pack_blocks(code, quads)
    layout = f"{list(node.input(1).shape)} codes of {code.bits} bits, pairs of taps of four outputs in turn"
    return replace(
        plan,
        stem=f"{plan.stem}_{code.name}",
        context={
            **plan.context,
            "code": {**blocks.context(code), "scale_type": ""},
            "block_words": blocks.words.shape[1],
            "extend_words": blocks.extend_words,
        },
        constants=(Constant("weights", blocks.words.reshape(-1), layout), *code.constants(), *plan.constants[1:]),
        scratch_bytes=code.table_bytes + 4 * blocks.extend_words + plan.scratch_bytes,
        headers=(coded_weights.HEADER, *plan.headers),
        cycles=plan.cycles + node.input(0).size // node.input(1).shape[1] * code.extend_cycles * pairs.size,
    )
