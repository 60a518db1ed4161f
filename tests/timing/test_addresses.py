"""Where a block's loads go, from the registers at its start."""

from __future__ import annotations

import pytest

from tests.timing.assemble import assemble
from tinygen.targets.cycles.addresses import loads, merged
from tinygen.targets.cycles.thumb import decode_thumb
from tinygen.targets.emulator.stalls import NO_REGISTER, Access, Cache, CacheState

NONE = NO_REGISTER
# Code, accesses of its loads; None where the address is not known.
CASES: dict[str, tuple[str, list[Access | None]]] = {
    "offset": ("ldr r0, [r1, #8]", [Access(1, NONE, 0, 8, 4)]),
    "byte by register": ("ldrsb.w r0, [r1, r2]", [Access(1, 2, 0, 0, 1)]),
    "shifted register": ("ldrh.w r0, [r1, r2, lsl #1]", [Access(1, 2, 1, 0, 2)]),
    "post-indexed": ("ldr r0, [r1], #4; ldr r0, [r1], #4", [Access(1, NONE, 0, 0, 4), Access(1, NONE, 0, 4, 4)]),
    "pre-indexed": ("ldr r0, [r1, #4]!; ldr r0, [r1, #4]!", [Access(1, NONE, 0, 4, 4), Access(1, NONE, 0, 8, 4)]),
    "multiple": ("ldm r1!, {r2, r3, r4}; ldr r0, [r1]", [Access(1, NONE, 0, 0, 12), Access(1, NONE, 0, 12, 4)]),
    "doubleword": ("ldrd r0, r2, [r1, #16]", [Access(1, NONE, 0, 16, 8)]),
    "copied and moved": ("mov r4, r1; adds r4, #8; subs r4, r4, #4; ldr r0, [r4]", [Access(1, NONE, 0, 4, 4)]),
    "sum of registers": ("add.w r4, r1, r2; ldr r0, [r4, #4]", [Access(1, 2, 0, 4, 4)]),
    "sum with a shift": ("add.w r4, r1, r2, lsl #3; ldr r0, [r4]", [Access(1, 2, 3, 0, 4)]),
    "shift by itself": ("lsls r4, r2, #2; ldr r0, [r1, r4]", [Access(1, 2, 2, 0, 4)]),
    "constant": ("movw r4, #0x5678; movt r4, #0x0801; ldr r0, [r4, #4]", [Access(NONE, NONE, 0, 0x0801567C, 4)]),
    "literal": ("ldr r0, [pc, #12]", [Access(NONE, NONE, 0, 0x1010, 4)]),
    "stack": ("push {r4, r5}; ldr r0, [sp, #8]", [Access(13, NONE, 0, 0, 4)]),
    "pointer that is loaded": ("ldr r4, [r1]; ldr r0, [r4]", [Access(1, NONE, 0, 0, 4), None]),
    "other shift": ("add.w r4, r1, r2, asr #1; ldr r0, [r4]", [None]),
    "three registers": ("add.w r4, r1, r2; add.w r4, r4, r3; ldr r0, [r4]", [None]),
    "multiplied": ("mul r4, r1, r2; ldr r0, [r4]", [None]),
    "under a condition": ("it eq; addeq r1, r1, #4; ldr r0, [r1]", [None]),
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return assemble({name: text for name, (text, _) in CASES.items()}, tmp_path_factory.mktemp("addresses"))


@pytest.mark.parametrize("name", CASES)
def test_addresses(code: dict[str, bytes], name: str) -> None:
    instructions = decode_thumb(code[name], 0x1000)
    found = [a for i, a in zip(instructions, loads(instructions), strict=True) if i.text.startswith("ld")]
    assert found == CASES[name][1]


def test_neighbours_become_one_access() -> None:
    a = Access(1, NONE, 0, 0, 4)
    near, far, other = a._replace(offset=8), a._replace(offset=400), a._replace(base=2)
    assert merged([near, None, a, far, other, a]) == [a._replace(size=12), far, other]


def test_a_stream_misses_once_a_line_and_a_second_pass_only_when_it_does_not_fit() -> None:
    cache = Cache(line=32, ways=4, sets=32, regions=((0x08000000, 0x08100000, 8),))
    for size, second in ((4096, 0), (8192, 256 * 8)):
        state = CacheState(cache)
        passes = [sum(state.read(0x08000000 + at, 4) for at in range(0, size, 4)) for _ in range(2)]
        assert passes == [size // 32 * 8, second]
    assert CacheState(cache).read(0x20000000, 4) == 0
    assert CacheState(cache).read(0x0800001E, 4) == 16  # across two lines
