"""The example governor: what it promises, and the same on the host as on emulated cores."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.board_batch import IN, M0PLUS, M7, OUT, Core, execute, link
from tests.support.host_batch import SANITIZERS, compile_host
from tinygen.paths import resource

SETTINGS = [(3, 100), (0, 250), (5, 250), (1, 900)]
"""(switch, cost)"""
BOUNDS = [(10, 40), (10, 30), (5, 5), (0, 60)]
PATIENCE = 3
NOBODY = 2**32 - 1
CODES = 5

_BODY = """
    static const governor_setting_t settings[] = {%s};
    static const governor_bounds_t bounds[] = {%s};
    governor_energy_t energy;
    governor_margin_t margin;
    uint32_t steps;
    governor_energy_init(&energy, settings, 4U, 0U, 0U);
    governor_margin_init(&margin, settings, bounds, 4U, %dU);
    GET(&steps, 4U);
    while (steps-- > 0U) {
        struct { uint64_t budget; uint32_t step; uint32_t number; int32_t codes[5]; uint32_t unused; } asked;
        struct { uint64_t left; uint32_t which; uint32_t state; } answer = {0U, 0U, 0U};
        GET(&asked, sizeof asked);
        if (asked.step == 0U) {
            governor_energy_add(&energy, asked.budget, asked.number);
        } else if (asked.step == 1U) {
            const governor_setting_t *const setting = governor_energy_next(&energy);
            answer.which = setting == 0 ? UINT32_MAX : setting->which;
        } else if (asked.step == 2U) {
            answer.which = governor_margin_next(&margin, asked.number)->which;
            answer.state = margin.setting;
        } else {
            int8_t small[5];
            for (int i = 0; i < 5; i++) {
                small[i] = (int8_t)(asked.codes[i] >> 24);
            }
            answer.which = governor_margin_s32(asked.codes, asked.number);
            answer.state = governor_margin_s8(small, asked.number);
        }
        if (asked.step < 2U) {
            answer.left = energy.left;
            answer.state = energy.inferences;
        }
        PUT(&answer, sizeof answer);
    }
"""


@dataclass(frozen=True)
class Step:
    """What the program is asked; see _BODY."""

    kind: int
    budget: int = 0
    number: int = 0
    codes: Sequence[int] = (0,) * CODES

    def packed(self) -> bytes:
        return struct.pack("<QII5iI", self.budget, self.kind, self.number, *self.codes, 0)


@dataclass
class Model:
    """The governor as governor.h describes it."""

    left: int = 0
    inferences: int = 0
    setting: int = field(default=len(SETTINGS) - 1)
    sure: int = 0

    def answer(self, step: Step) -> tuple[int, int, int]:
        if step.kind == 0:
            self.left = min(self.left + step.budget, 2**64 - 1)
            self.inferences = min(self.inferences + step.number, 2**32 - 1)
            return self.left, 0, self.inferences
        if step.kind == 1:
            which = self._energy()
            return self.left, which, self.inferences
        if step.kind == 2:
            self._margin(step.number)
            return 0, SETTINGS[self.setting][0], self.setting
        codes = list(step.codes[: step.number])
        return 0, margin(codes), margin([code >> 24 for code in codes])

    def _energy(self) -> int:
        affordable = [setting for setting in SETTINGS if setting[1] * self.inferences <= self.left] or SETTINGS[:1]
        if not self.inferences or affordable[-1][1] > self.left:
            return NOBODY
        self.left -= affordable[-1][1]
        self.inferences -= 1
        return affordable[-1][0]

    def _margin(self, value: int) -> None:
        low, high = BOUNDS[self.setting]
        self.sure = self.sure + 1 if value > high else 0
        if value < low:
            self.setting = min(self.setting + 1, len(SETTINGS) - 1)
        elif self.sure >= PATIENCE and self.setting:
            self.setting, self.sure = self.setting - 1, 0


def margin(codes: list[int]) -> int:
    if len(codes) < 2:
        return NOBODY
    second, first = sorted(codes)[-2:]
    return first - second


def _program(head: str) -> str:
    settings, bounds = (", ".join(f"{{{a}U, {b}U}}" for a, b in pairs) for pairs in (SETTINGS, BOUNDS))
    return f'#include "governor.h"\n#include <string.h>\n{head}{_BODY % (settings, bounds, PATIENCE)}'


def _sources(folder: Path) -> list[Path]:
    for suffix in "ch":
        shutil.copy(resource("firmware") / "governor" / f"governor.{suffix}", folder)
    return [folder / "governor.c"]


def run_on_host(steps: Sequence[Step], folder: Path) -> list[tuple[int, int, int]]:
    head = """#include <stdio.h>
#define GET(data, bytes) if (fread(data, 1, bytes, stdin) != (bytes)) { return 3; }
#define PUT(data, bytes) if (fwrite(data, 1, bytes, stdout) != (bytes)) { return 4; }
int main(void)
{
"""
    main = folder / "main.c"
    main.write_text(_program(head) + "    return 0;\n}\n")
    compile_host([main, *_sources(folder)], folder / "governor", ("-O0", *SANITIZERS))
    done = subprocess.run([folder / "governor"], input=_feed(steps), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return list(struct.iter_unpack("<QII", done.stdout))


def run_on_core(steps: Sequence[Step], folder: Path, core: Core) -> list[tuple[int, int, int]]:
    head = f"""#define GET(data, bytes) (memcpy(data, in, bytes), in += (bytes))
#define PUT(data, bytes) (memcpy(out, data, bytes), out += (bytes))
void run_all(void);
void run_all(void)
{{
    const uint8_t *in = (const uint8_t *){IN:#x};
    uint8_t *out = (uint8_t *){OUT:#x};
"""
    elf = link(_program(head) + "}\n", _sources(folder), folder, core, "zig", "-O2")
    return list(struct.iter_unpack("<QII", execute(elf, _feed(steps), 16 * len(steps), core)))


def _feed(steps: Sequence[Step]) -> bytes:
    return struct.pack("<I", len(steps)) + b"".join(step.packed() for step in steps)


def random_steps(count: int, seed: int) -> list[Step]:
    """Budgets from too little to plenty, near the end beyond all bounds; margins in streaks; codes of all sizes."""
    rng = random.Random(seed)
    steps: list[Step] = []
    margin = 0
    for index in range(count):
        kind = rng.choices((0, 1, 2, 3), (2, 8, 8, 2))[0]
        number, budget = 0, 0
        if kind == 0:
            huge = index > 0.9 * count and rng.random() < 0.2
            budget = rng.randrange(2**64) if huge else rng.choice((0, 99, 500, 1500, 6000))
            number = 2**32 - 1 if huge else rng.choice((0, 1, 5))
        elif kind == 2:
            if rng.random() < 0.2:
                margin = rng.choice((0, 3, 5, 6, 10, 20, 30, 31, 41, 61, 1000, 2**32 - 1))
            number = margin
        elif kind == 3:
            number = rng.randrange(CODES + 1)
        bits = rng.choice((4, 16, 31))
        codes = [rng.randrange(-(2**bits), 2**bits) for _ in range(CODES)]
        steps.append(Step(kind, budget, number, codes))
    return steps


@pytest.mark.parametrize("where", ["host", "cortex-m7", "cortex-m0+"])
def test_as_described(where: str, tmp_path: Path) -> None:
    """2,000 random steps; and every switch is chosen both ways."""
    steps = random_steps(2000, 7)
    extremes = [[-(2**31), 2**31 - 1, 0, 0, 0], [-(2**31)] * CODES, [5, 5, 5, 5, 5], [1, 9, 3, 9, 2]]
    steps += [Step(3, 0, count, codes) for codes in extremes for count in (0, 1, 2, CODES)]
    model = Model()
    want = [model.answer(step) for step in steps]
    if where == "host":
        got = run_on_host(steps, tmp_path)
    else:
        got = run_on_core(steps, tmp_path, M7 if where == "cortex-m7" else M0PLUS)
    assert got == want
    chosen = [{answer[1] for step, answer in zip(steps, want, strict=True) if step.kind == kind} for kind in (1, 2)]
    # Of two switches that cost the same, the budget takes the later one.
    assert chosen == [{NOBODY, 3, 5, 1}, {3, 0, 5, 1}]


def test_a_budget_is_never_overspent_and_used_well(tmp_path: Path) -> None:
    """100 inferences, from budgets between too little and plenty."""
    for index, budget in enumerate((99, 5000, 10_150, 24_999, 60_000, 10**9)):
        folder = tmp_path / str(index)
        folder.mkdir()
        steps = [Step(0, budget, 100), *[Step(1)] * 101]
        answers = run_on_host(steps, folder)[1:]
        costs = dict(SETTINGS)
        spent = [costs[which] for _, which, _ in answers if which != NOBODY]
        assert sum(spent) <= budget and len(spent) == min(budget // 100, 100)
        assert answers[-1][1] == NOBODY
        if len(spent) == 100:
            # What is left would not have paid for a dearer last inference.
            dearer = [cost for _, cost in SETTINGS if cost > spent[-1]]
            assert not dearer or budget - sum(spent) + spent[-1] < dearer[0]


def test_hysteresis(tmp_path: Path) -> None:
    """Up at once, down after three sure answers in a row, and not at all between the bounds."""
    margins = [61, 61, 61, 5, 5, 6, 4, 60, 61, 61, 0, 61, 61, 61, 6, 6, 6, 31, 31, 9]
    answers = run_on_host([Step(2, 0, value) for value in margins], tmp_path)
    assert [setting for _, _, setting in answers] == [3, 3, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 1, 1, 1, 2]
