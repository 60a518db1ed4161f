"""Rules of the Cortex-M7 model, each with a loop or a straight piece whose cycles follow from its sources.

Sources as in tinygen/targets/cycles/cortex_m7.py; "parameter" marks what they disagree on.
"""

from __future__ import annotations

import pytest

from tests.timing.assemble import assemble
from tinygen.targets.cycles import pipeline_of
from tinygen.targets.cycles.cortex_m7 import CortexM7, Parameters
from tinygen.targets.cycles.pipeline import Entry, steady_state
from tinygen.targets.cycles.thumb import decode_thumb

# Name: code, issue cycle of each instruction.
STRAIGHT = {
    "two independent additions issue together": ("adds r0, r0, #1; adds r1, r1, #1; adds r2, r2, #1", [0, 0, 1]),
    "a move feeds an addition in the same cycle (jnk0le; parameter)": ("add.w r0, r1, #1; add.w r2, r0, #1", [0, 0]),
    "movw and movt of one register pair (jnk0le)": ("movw r0, #1; movt r0, #2", [0, 0]),
    "two results for one register pair": ("bic.w r0, r1, r2; eor.w r0, r0, r3; str r0, [r4]", [0, 0, 1]),
    "a load and a result for one register do not": ("ldr r0, [r1]; mov r0, r2", [0, 1]),
    "one inline shift a cycle": ("add.w r0, r1, r2, lsl #2; add.w r3, r4, r5, lsl #2", [0, 1]),
    "a shifted operand is needed a cycle earlier": ("add.w r0, r1, #1; add.w r2, r3, r0, lsl #2", [0, 2]),
    "plain shifts pair (jnk0le, SLOTHY)": ("lsl.w r0, r1, #2; lsr.w r2, r3, #2", [0, 0]),
    "extensions take the older slot": ("add.w r0, r1, #1; sxtb16 r2, r3", [0, 1]),
    "an extension beside an addition": ("sxtb16 r2, r3; add.w r0, r1, #1", [0, 0]),
    "never two extensions": ("sxtb16 r0, r1; sxtb16 r2, r3; sxtb16 r4, r5", [0, 1, 2]),
    "an extension as an address a cycle late": ("uxtb r0, r1; ldr r2, [r0]", [0, 2]),
    "one multiplication a cycle": ("smlad r0, r1, r2, r0; smlad r3, r1, r2, r3", [0, 1]),
    "accumulators chain (LLVM ReadMAC)": (
        "smlad r0, r1, r2, r0; smlad r0, r3, r4, r0; smlad r0, r5, r6, r0",
        [0, 1, 2],
    ),
    "a product is used after two cycles": ("mul r0, r1, r2; add.w r3, r0, #1", [0, 2]),
    "a product as multiplicand": ("mul r0, r1, r2; mul r3, r0, r2", [0, 2]),
    "no multiplication beside a store": ("mul r0, r1, r2; str r3, [r4]", [0, 1]),
    "a multiplication beside a load": ("mul r0, r1, r2; ldr r3, [r4]", [0, 0]),
    "a word is loaded for the next cycle": ("ldr r0, [r1]; add.w r2, r0, #1", [0, 1]),
    "a word for a multiplicand takes two": ("ldr r0, [r1]; mul r2, r0, r3", [0, 2]),
    "a word for an accumulator takes one": ("ldr r0, [r1]; mla r2, r3, r4, r0", [0, 1]),
    "a word for the shifter takes two": ("ldr r0, [r1]; add.w r2, r3, r0, lsl #1", [0, 2]),
    "a pointer chase takes three (Q)": ("ldr r0, [r1]; ldr r0, [r0]; ldr r0, [r0]", [0, 3, 6]),
    "a byte takes two": ("ldrsb.w r0, [r1]; add.w r2, r0, #1", [0, 2]),
    "a halfword for the shifter takes three": ("ldrh.w r0, [r1]; add.w r2, r3, r0, lsl #1", [0, 3]),
    "even and odd word load together": ("ldr r0, [r1]; ldr r2, [r1, #4]", [0, 0]),
    "two even words do not": ("ldr r0, [r1]; ldr r2, [r1, #8]", [0, 1]),
    "loads through two bases (parameter)": ("ldr r0, [r1]; ldr r2, [r3]", [0, 1]),
    "one store a cycle": ("str r0, [r1]; str r2, [r3]", [0, 1]),
    "a store takes what its pair makes": ("add.w r0, r1, #1; str r0, [r2]", [0, 0]),
    "byte stores every other cycle (jnk0le: 2 to 2.4; parameter)": ("strb r0, [r1]; strb r2, [r1, #1]", [0, 2]),
    "four words in two cycles and one (jnk0le; parameter)": ("ldm r0, {r1, r2, r3, r4}; adds r5, r5, #1", [0, 3]),
    "four words stored in two": ("stm r0!, {r1, r2, r3, r4}; adds r5, r5, #1", [0, 2]),
    "a division holds everything (LLVM: 7)": ("udiv r0, r1, r2; adds r3, r3, #1", [0, 7]),
    "a branch waits a cycle for flags": ("1: subs r0, r0, #1; bne 1b", [0, 1]),
    "an untaken branch pairs": ("1: cbz r0, 2f; adds r1, r1, #1; 2: nop", [0, 0, 1]),
    "float sums take three": ("vadd.f32 s0, s1, s2; vadd.f32 s3, s0, s1", [0, 3]),
    "one float operation a cycle": ("vadd.f32 s0, s1, s2; vadd.f32 s3, s4, s5", [0, 1]),
    "float accumulators chain after three": ("vfma.f32 s0, s1, s2; vfma.f32 s0, s3, s4", [0, 3]),
    "an addition three cycles behind a VFMA (jnk0le)": ("vfma.f32 s0, s1, s2; vadd.f32 s3, s4, s5", [0, 3]),
    "VFMAs with accumulators of their own every cycle": ("vfma.f32 s0, s1, s2; vfma.f32 s3, s1, s2", [0, 1]),
    "no VFMA beside an FPU load": ("vfma.f32 s0, s1, s2; vldr s3, [r0]", [0, 1]),
    "a loaded float reaches an accumulator after three": ("vldr s0, [r0]; vfma.f32 s0, s1, s2", [0, 3]),
    "a float division locks the pipeline": ("vdiv.f32 s0, s1, s2; adds r0, r0, #1", [0, 16]),
}
# Name: body, cycles a pass.
LOOPS = {
    "counting down": ("1: subs r0, r0, #1; bne 1b", 2),
    # Loads through two bases do not pair (parameter): 0 and 1; the first SMLAD two cycles behind its multiplicand,
    # beside the third load: 3; the fourth load beside SUBS: 4; the second SMLAD beside BNE: 6.
    "dot product of 8 halfwords": (
        "1: ldr r4, [r0], #4; ldr r5, [r1], #4; smlad r12, r4, r5, r12; ldr r6, [r0], #4; ldr r7, [r1], #4;"
        "subs r2, r2, #1; smlad r12, r6, r7, r12; bne 1b",
        7,
    ),
    # The value loaded at the end of one pass is used at the start of the next.
    "carried over the branch": ("1: mul r2, r3, r4; subs r0, r0, #1; ldr r3, [r1], #4; bne 1b", 3),
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    snippets = {name: text for name, (text, _) in [*STRAIGHT.items(), *LOOPS.items()]}
    return assemble(snippets, tmp_path_factory.mktemp("m7"))


@pytest.mark.parametrize("name", STRAIGHT)
def test_issue_cycles(code: dict[str, bytes], name: str) -> None:
    issued = pipeline_of("cortex-m7").schedule(decode_thumb(code[name], 0x1000)).issued
    assert [i.cycle for i in issued] == STRAIGHT[name][1], [(i.cycle, i.instruction.text, i.why) for i in issued]


@pytest.mark.parametrize("name", LOOPS)
def test_loops_in_their_steady_state(code: dict[str, bytes], name: str) -> None:
    assert steady_state(pipeline_of("cortex-m7"), decode_thumb(code[name], 0x1000)) == LOOPS[name][1]


def test_parameters_change_what_they_name(code: dict[str, bytes]) -> None:
    def cycles(name: str, **changed: int) -> list[int]:
        schedule = CortexM7(Parameters(**changed)).schedule(decode_thumb(code[name], 0))
        return [i.cycle for i in schedule.issued]

    assert cycles("a move feeds an addition in the same cycle (jnk0le; parameter)", early_forward=False) == [0, 1]
    assert cycles("byte stores every other cycle (jnk0le: 2 to 2.4; parameter)", narrow_store=1) == [0, 1]
    pair = "loads through two bases (parameter)"
    assert (cycles(pair), cycles(pair, load_pairs=True)) == ([0, 1], [0, 0])
    assert cycles("four words in two cycles and one (jnk0le; parameter)", multiple_stall=0) == [0, 2]


def test_a_loop_ends_with_a_misprediction(code: dict[str, bytes]) -> None:
    first = decode_thumb(code["counting down"], 0)[0]
    model = CortexM7(Parameters(mispredict=7, branch_bubble=1))
    assert [model.entry(first, how) for how in Entry] == [1, 0, 7]
