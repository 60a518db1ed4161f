"""Largest and smallest codes of 4 and 2 bits, packed in words of channels."""

from __future__ import annotations

import numpy as np

from tinygen.ir.encodings import WORD_BITS, pack_codes
from tinygen.ir.ops.base import Node
from tinygen.ir.ops.pool_2d import MaxPool2D
from tinygen.lowering.kernels.support.activations.codes import kind_of, pixel_elements
from tinygen.lowering.kernels.support.activations.window import window_context, window_stem
from tinygen.lowering.plan import Constant, KernelPlan, kernel

_FOUR, _BYTES, _WORD = 3.0, 6.0, 8.0
"""Predicted Cortex-M7 cycles: of four codes of a tap, packed or bytes; of a word of outputs around them."""


@kernel(MaxPool2D, name="packed_max_pool_2d", family="tinygen", unpacks=True, packs=True)
def packed_max_pool_2d(node: Node) -> KernelPlan | None:
    """Maxima of four bytes at once, of bytes or of words, which are shifted; smallest codes are largest ones turned.

    For codes that are packed to save RAM: slower than `max_pool_2d_dsp` on bytes, which take two or four times as much.
    """
    op, x, y = node.op, node.input(0), node.output
    assert isinstance(op, MaxPool2D)
    bits, channels = x.code_bits or y.code_bits, x.shape[3]
    each = WORD_BITS // bits if bits else 0
    if not each or y.code_bits not in (0, bits):
        return None
    falling = np.broadcast_to(np.array(op.sign) < 0, channels) * np.uint8(2**bits - 1)
    turned = Constant("falling", pack_codes(falling, bits), "all bits of channels whose codes fall")
    four = _FOUR if x.code_bits else _BYTES
    geometry, words = op.geometry(node), pixel_elements(x if x.code_bits else y)
    return KernelPlan(
        template="pool/packed_pool_2d.c.j2",
        stem=window_stem(f"max_pool_2d_{kind_of(x.integer)}_packed", geometry),
        context={
            **window_context(node, geometry),
            "falls": bool(falling.any()),
            "bits": bits,
            "fours": each // 4,
            "words": words,
            "pixel": pixel_elements(x),
            "bytes": x.code_bits == 0,
            "load": "tg_load_any32" if channels % 4 else "tg_load_aligned32",
            "packed_output": y.code_bits > 0,
        },
        constants=(turned,) if falling.any() else (),
        headers=("tinygen_codes.h", "tinygen_extrema.h", "tinygen_math.h", "tinygen_simd.h", "tinygen_sums.h"),
        cycles=y.size / channels * words * (_WORD + each // 4 * four * op.kernel[0] * op.kernel[1]),
    )
