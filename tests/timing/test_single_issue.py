"""Rules of the models that issue one instruction at a time; sources in tinygen/targets/cycles/single_issue.py."""

from __future__ import annotations

import pytest

from tests.timing.assemble import assemble
from tinygen.targets.cycles import decoder_of, pipeline_of
from tinygen.targets.cycles.pipeline import Entry

M4, M3, M33, M0, C3 = "cortex-m4", "cortex-m3", "cortex-m33", "cortex-m0plus", "esp32c3"
M0_SLOW = "cortex-m0plus-slow-multiplier"
# Core, code, cycles in all.
CASES = {
    "M4 data processing 1 each, inline shifts too": (M4, "add.w r0, r1, r2, lsl #3; movw r3, #7; sxtb r4, r5", 3),
    "M4 multiplications 1": (M4, "mul r0, r1, r2; smlad r3, r1, r2, r3; smlal r4, r5, r1, r2", 3),
    "M3 multiplications 1, 2, 4, 5 (DDI 0337)": (M3, "mul r0, r1, r2; mla r3, r1, r2, r3; umull r4, r5, r1, r2", 7),
    "M4 load 2": (M4, "ldr r0, [r1]", 2),
    "M4 loads in a row pipeline: one and one more": (M4, "ldr r0, [r1]; ldr r2, [r1, #4]; ldr r3, [r1, #8]", 4),
    "M4 an address that is still being loaded": (M4, "ldr r0, [r1]; ldr r2, [r0]", 4),
    "M4 post-indexed loads through one base do not (jnk0le)": (M4, "ldr r0, [r1], #4; ldr r2, [r1], #4", 4),
    "M4 post-indexed through two bases do": (M4, "ldr r0, [r1], #4; ldr r2, [r3], #4", 3),
    "M4 store 1, with register offset 2": (M4, "str r0, [r1, #4]; str r0, [r1, r2]", 3),
    "M4 no forwarding to addresses": (M4, "add.w r0, r1, #4; ldr r2, [r0]", 4),
    "M4 loaded values are used at once": (M4, "ldr r0, [r1]; add.w r2, r0, #1", 3),
    "M4 multiple: one and one per word": (M4, "ldm r0, {r1, r2, r3}; push {r4, r5}", 7),
    "M4 doubleword 3": (M4, "ldrd r0, r1, [r2]; strd r0, r1, [r3]", 6),
    "M4 branch 1, beside what taking it costs": (M4, "1: subs r0, r0, #1; bne 1b", 2),
    "M4 IT folds behind a 16-bit instruction": (M4, "cmp r0, #0; it eq; addeq r1, r1, #1", 2),
    "M4 IT behind a 32-bit instruction": (M4, "cmp.w r0, #1024; it eq; addeq r1, r1, #1", 3),
    "M4 float sum 1, used after one more": (M4, "vadd.f32 s0, s1, s2; vadd.f32 s3, s4, s5; vadd.f32 s6, s3, s1", 4),
    "M4 VMLA 3": (M4, "vmla.f32 s0, s1, s2; vmla.f32 s0, s3, s4", 6),
    "M4 VDIV 14": (M4, "vdiv.f32 s0, s1, s2", 14),
    "M4 VLDR 2, doubles 3": (M4, "vldr s0, [r0]; nop; vldr d1, [r1]", 6),
    "M4 table branch 2 and the branch": (M4, "tbb [pc, r0]", 2),
    "M33 load 1, used a cycle later": (M33, "ldr r0, [r1]; add.w r2, r0, #1", 3),
    "M33 loaded accumulator is used at once": (M33, "ldr r0, [r1]; mla r2, r3, r4, r0", 2),
    "M33 loaded value is stored at once": (M33, "ldr r0, [r1]; str r0, [r2]", 2),
    "M33 a product a cycle later": (M33, "mul r0, r1, r2; add.w r3, r0, #1", 3),
    "M33 accumulators chain": (M33, "smlad r0, r1, r2, r0; smlad r0, r3, r4, r0", 2),
    "M33 an inline shift a cycle later": (M33, "add.w r0, r1, r2, lsl #1; add.w r3, r0, #1", 3),
    "M33 multiple loads one per word": (M33, "ldm r0, {r1, r2, r3}", 3),
    "M0+ loads and stores 2": (M0, "ldr r0, [r1]; str r0, [r2]", 4),
    "M0+ multiple 1 + N": (M0, "push {r4, r5}", 3),
    "M0+ fast multiplier 1 (DDI 0484C, table 3.1)": (M0, "muls r0, r1, r0; muls r2, r3, r2", 2),
    "M0+ slow multiplier 32": (M0_SLOW, "muls r0, r1, r0; adds r2, r2, #1; muls r2, r3, r2", 65),
    "M0+ shift and addition 1 each": (M0, "lsls r0, r1, #3; adds r2, r2, r0; add r8, r0; rsbs r1, r1, #0", 4),
    "M0+ bytes as words": (M0, "ldrb r0, [r1]; ldrsb r2, [r1, r3]; strb r0, [r1]", 6),
    "M0+ POP of N and pc 3 + N, with it": (M0, "pop {r4, r5, pc}", 5),
    "M0+ BL 3, with the one that a branch loses": (M0, "1: bl 1b", 2),
    "M0+ BLX 2, with it": (M0, "blx r3", 1),
    "M0+ barrier 3": (M0, "dmb", 3),
    "C3 load 2, store 1": (C3, "lw a0, 0(a1); sw a0, 4(a1)", 3),
    "C3 compressed and full the same": (C3, "lw t0, 0(t1); lbu t2, 4(t1); addi t0, t0, 1", 5),
    "C3 multiplication 1, high half 2, division 10": (C3, "mul a0, a1, a2; mulh a3, a1, a2; div a4, a1, a2", 13),
    "C3 a jump 2 with the branch's 2 in its target": (C3, "1: nop; j 1b", 1),
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("single")
    both = {}
    for isa in ("thumb", "riscv"):
        snippets = {name: text for name, (core, text, _) in CASES.items() if (core == C3) == (isa == "riscv")}
        both |= assemble(snippets, folder, isa)
    return both


@pytest.mark.parametrize("name", CASES)
def test_cycles(code: dict[str, bytes], name: str) -> None:
    core, text, cycles = CASES[name]
    instructions = decoder_of(core)(code[name], 0x1000)
    assert len(instructions) == len(text.split(";"))
    schedule = pipeline_of(core).schedule(instructions)
    assert schedule.cycles == cycles, [(i.cycle, i.instruction.text, i.why) for i in schedule.issued]


@pytest.mark.parametrize(("core", "taken"), [(M4, 2), (M3, 2), (M33, 1), (M0, 1), (C3, 2)])
def test_a_taken_branch_is_counted_where_it_leads(code: dict[str, bytes], core: str, taken: int) -> None:
    name = "C3 load 2, store 1" if core == C3 else "M4 load 2"
    first = decoder_of(core)(code[name], 0x1000)[0]
    assert pipeline_of(core).entry(first, Entry.JUMP) == taken
    assert pipeline_of(core).entry(first, Entry.FALL_THROUGH) == 0


def test_a_target_across_two_words_costs_one_more(code: dict[str, bytes]) -> None:
    wide = code["M4 VDIV 14"]
    aligned, across = (decoder_of(M4)(wide, address)[0] for address in (0x1000, 0x1002))
    assert pipeline_of(M4).entry(across, Entry.JUMP) - pipeline_of(M4).entry(aligned, Entry.JUMP) == 1
