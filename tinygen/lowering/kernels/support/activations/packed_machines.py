"""What words of fields (packed_layouts.py) cost on each kind of core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A kind of core, with approximate cycle counts.

    Attributes:
        product: bits of a product.
        crosses: whether sums may cross bit 32.
        operands: of weights that a step has, one after the other what can be: each is multiplied by two of pixels.
        step: four multiplications and their loads.
        wide_step: eight, and those of four operands of weights.
        together: sums of all rows are computed before any fields are extracted, for caches that do not hold both loops.
        quads: it loads four codes at once at any alignment.
        interleaves: it has registers for the outputs of a run, none of which then waits for the other.
        segment, part, call, row, output: a segment's beginning and end; a pass of the loop over parts; a window; a row
            of outputs; an output.
        shared: an output whose filter is finished together with another one.
        field, whole: a field of a segment, and where the sum of whole words stands for one of them.
        pixel: a pixel put into its word.
        unpack: an operand taken apart.
        again: a block of filters, whose functions the flash's cache has lost since the last rows: what a Cortex-M7 does
            without takes 1,000 cycles on an STM32L4.
        unrolled: parts that stand there one by one.
        unit: factor from these cycles to the plans' predictions, to compare them with other kernels.
    """

    product: int
    crosses: bool
    step: float
    segment: float
    part: float
    call: float
    row: float
    output: float
    shared: float
    field: float
    whole: float
    pixel: float
    unpack: float
    unrolled: int
    again: float = 0.0
    unit: float = 1.0
    operands: tuple[int, ...] = (2,)
    wide_step: float = 0.0
    together: bool = False
    quads: bool = False
    interleaves: bool = False


ARMV7EM = Machine(
    product=64,
    crosses=True,
    step=4.1,
    segment=14,
    part=5,
    call=12,
    row=50,
    output=7,
    shared=2.5,
    field=2.2,
    whole=0.9,
    pixel=2,
    unpack=1.8,
    unrolled=4,
    again=300,
    unit=0.87,
    together=True,
    quads=True,
    interleaves=True,
)  # loads beside multiplications
RV32 = Machine(
    product=64,
    crosses=False,
    step=28,
    segment=34,
    part=6,
    call=15,
    row=80,
    output=14,
    shared=10,
    field=3,
    whole=2.2,
    pixel=4,
    unpack=9,
    unrolled=1,
    operands=(2, 4),
    wide_step=52,
)
ARMV6M = Machine(
    product=32,
    crosses=False,
    step=15,
    segment=40,
    part=6,
    call=20,
    row=90,
    output=30,
    shared=25,
    field=5,
    whole=4,
    pixel=6,
    unpack=9,
    unrolled=1,
)
