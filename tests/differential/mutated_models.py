"""LiteRT against tinygen on mutated models: both refuse, or both compute the same, bit for bit.

    python -m tests.differential.mutated_models --count 10000 --seed 0

draws mutants of the demo's model, of MLPerf Tiny's (../shared/data) and of pymicro-wakeword's, and prints what became
of them; with `--of operators`, mutants of models of one operator each, as the other differential tests draw them. It
ends with 1 where tinygen builds what LiteRT refuses, computes something else, or fails by a defect.
"""

from __future__ import annotations

import argparse
import importlib
import random
import re
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from tests.support.cases import Case, Draw
from tests.support.differential import FLOAT_RELATIVE
from tests.support.host_batch import run_on_host
from tests.support.litert_worker import Run, Worker
from tests.support.model_mutations import mutated
from tests.support.models import KWS, RESNET
from tests.support.tflite_builder import build
from tinygen.builds.litert_content import for_litert
from tinygen.demo import MODEL
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.frontends.tflite import read_tflite
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.lowering.lower import lower
from tinygen.passes.pipeline import simplify

_STEPS = 2
_BY_VALUE = ("DIV", "FLOOR_DIV", "FLOOR_MOD", "RSQRT", "SQRT")
"""Operators for which LiteRT ends an inference where an input asks for what has no value."""
_LOWERED = 10
"""One mutant in this many is lowered, too, if both run it."""


class Outcome(Enum):
    """What became of a mutant."""

    BOTH_REFUSE = "both refuse"
    AGREE = "both run it, and agree bit for bit"
    LACKING = "LiteRT runs it, tinygen lacks something"
    CONTRADICTORY = "LiteRT runs it, tinygen says that it contradicts itself"
    ONLY_WE_BUILD = "LiteRT refuses it, tinygen builds it"
    DIFFER = "both run it, and differ"
    DEFECT = "an internal error of tinygen"


BAD = (Outcome.ONLY_WE_BUILD, Outcome.DIFFER, Outcome.DEFECT)


@dataclass(frozen=True)
class Verdict:
    """One mutant.

    Attributes:
        model: what it was made of.
        seed: draws it again.
        note: what was changed.
        outcome: what became of it.
        reason: why, where it was refused or differs; LiteRT's words where tinygen has none.
        graph, run: of one in ten of those that both run, which are lowered, too.
    """

    model: str
    seed: int
    note: str
    outcome: Outcome
    reason: str = ""
    graph: Graph | None = field(default=None, repr=False)
    run: Run | None = field(default=None, repr=False)


def originals() -> dict[str, tuple[bytes, float]]:
    """Models with how often they are drawn, small ones more often; those that are not here are left out."""
    shares: dict[Path, float] = {MODEL: 50, KWS: 22, RESNET: 2}
    try:
        import pymicro_wakeword
    except ImportError:
        pass
    else:
        folder = Path(pymicro_wakeword.__file__).parent / "models"
        shares |= dict.fromkeys(sorted(folder.glob("*.tflite")), 6.5)
    return {path.stem: (path.read_bytes(), share) for path, share in shares.items() if path.is_file()}


Drawn = Callable[[int], tuple[str, bytes, str]]
"""Gives mutant number `seed`: what it was made of, the file, what was changed."""


def of_models() -> Drawn:
    """Mutants of the whole models."""
    models = originals()

    def drawn(seed: int) -> tuple[str, bytes, str]:
        rng = random.Random(seed)
        name = rng.choices(list(models), [share for _, share in models.values()])[0]
        return name, *mutated(models[name][0], rng)

    return drawn


def operator_cases() -> dict[str, Case]:
    """What the tests of operators draw their TFLite models from."""
    layers = ("conv_2d", "data", "fully_connected", "int4", "movement", "pool_2d", "reduce")
    cases: dict[str, Case] = {}
    for module in ("binary", "elementary", "function_of_two", "unary", *layers):
        found = importlib.import_module(f"tests.differential.test_{module}").CASES
        cases |= {name: case for name, (case, _) in found.items()}
    return {name: case for name, case in cases.items() if name.split()[0] not in _BY_VALUE}


def of_operators() -> Drawn:
    """Mutants of models of one operator, all kinds equally often."""
    cases = operator_cases()

    def drawn(seed: int) -> tuple[str, bytes, str]:
        rng = random.Random(seed)
        name = rng.choice(sorted(cases))
        return name, *mutated(build(cases[name](Draw(seed))), rng)

    return drawn


def judge(worker: Worker, name: str, content: bytes, note: str, seed: int) -> Verdict:
    """Both on one mutant."""
    run = worker.run(for_litert(content, in_float=False)[0], seed, _STEPS)
    try:
        graph = read_tflite(content, name=f"m{seed}")
    except TinygenError as error:
        lacking = isinstance(error, UnsupportedError)
        outcome = Outcome.BOTH_REFUSE if run.refusal else Outcome.LACKING if lacking else Outcome.CONTRADICTORY
        return Verdict(name, seed, note, outcome, str(error).splitlines()[0])
    except Exception:
        return Verdict(name, seed, note, Outcome.DEFECT, traceback.format_exc())
    if run.refusal:
        return Verdict(name, seed, note, Outcome.ONLY_WE_BUILD, run.refusal)
    try:
        kept = seed % _LOWERED == 0
        stream = Stream(graph)
        found = [stream.step(sample) for sample in run.inputs]
        if kept:
            lower(simplify(graph))
    except Exception:
        return Verdict(name, seed, note, Outcome.DEFECT, traceback.format_exc())
    reason = _difference(run.outputs, found)
    outcome = Outcome.DIFFER if reason else Outcome.AGREE
    return Verdict(name, seed, note, outcome, reason, *((graph, run) if kept else ()))


def _difference(wanted: Sequence[Sequence[np.ndarray]], found: Sequence[Sequence[np.ndarray]]) -> str:
    """The first place where outputs differ; "" where none does."""
    for step, (left, right) in enumerate(zip(wanted, found, strict=True)):
        if [(a.shape, a.dtype) for a in left] != [(b.shape, b.dtype) for b in right]:
            return f"outputs {[(a.shape, a.dtype.name) for a in left]}, {[(b.shape, b.dtype.name) for b in right]}"
        for index, (a, b) in enumerate(zip(left, right, strict=True)):
            if not _same(a, b):
                return f"step {step}, output {index}: {int(np.sum(a != b))} of {a.size} elements"
    return ""


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    scale = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    return np.allclose(a, b, rtol=FLOAT_RELATIVE, atol=FLOAT_RELATIVE * scale, equal_nan=True)


def check_c(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those of the mutants whose C on the host gives something else than LiteRT."""
    cases = [(v, v.graph, v.run) for v in verdicts if v.graph is not None and v.run is not None]
    programs = [lower(simplify(graph), isa=("c99", "dsp", "dual-issue")) for _, graph, _ in cases]
    with tempfile.TemporaryDirectory() as folder:
        results = run_on_host(programs, [run.inputs for _, _, run in cases], Path(folder), keep=True)
    return [v for (v, _, run), result in zip(cases, results, strict=True) if _difference(run.outputs, result)]


def spelt(reason: str) -> str:
    """A reason without names and numbers, so that equal ones can be counted."""
    # The last place that it names is an operator or a tensor; long names may hold anything.
    what = re.sub(r"'[^']*'", "'..'", reason)
    what = re.sub(r"\([^()]*->[^()]*\)", "", what).split(": ", 2)[-1]
    return re.sub(r"-?\d[\d.e+-]*", "#", re.sub(r"\[[^\]]*\]", "[..]", what))


def table(verdicts: Sequence[Verdict]) -> str:
    """Outcomes with their numbers, and the reasons of those that only one side refuses."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    lines = [f"{counts[outcome]:6d}  {outcome.value}" for outcome in Outcome]
    for outcome in (Outcome.LACKING, Outcome.CONTRADICTORY):
        reasons = Counter(spelt(verdict.reason) for verdict in verdicts if verdict.outcome is outcome)
        lines += ["", f"{outcome.value}:"]
        lines += [f"{count:6d}  {reason[:110]}" for reason, count in reasons.most_common()]
    bad: defaultdict[Outcome, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        bad[verdict.outcome].append(verdict)
    for outcome in BAD:
        lines += [f"\n{outcome.value}:"] if bad[outcome] else []
        lines += [f"  seed {v.seed}, {v.model}: {v.note}\n    {v.reason[-600:]}" for v in bad[outcome]]
    return "\n".join(lines)


def judge_all(drawn: Drawn, first: int, count: int) -> list[Verdict]:
    """Verdicts on mutants `first` to `first + count - 1`."""
    with Worker() as worker, np.errstate(all="ignore"):
        return [judge(worker, *drawn(seed), seed) for seed in range(first, first + count)]


def main() -> int:
    """The program; see above."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential.mutated_models", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="number of the first")
    parser.add_argument("--of", choices=("models", "operators"), default="models", help="what they are made of")
    parser.add_argument("--c", type=int, default=0, help="how many of those that both run are compiled and run as C")
    arguments = parser.parse_args()
    drawn = of_operators() if arguments.of == "operators" else of_models()
    verdicts = judge_all(drawn, arguments.seed, arguments.count)
    chosen = [v for v in verdicts if v.outcome is Outcome.AGREE and v.graph is not None][: arguments.c]
    wrong = [v for start in range(0, len(chosen), 10) for v in check_c(chosen[start : start + 10])]
    print(table(verdicts))
    if chosen:
        print(f"\nC on the host: {len(chosen) - len(wrong)} of {len(chosen)} agree with LiteRT")
        print("".join(f"  seed {v.seed}, {v.model}: {v.note}\n" for v in wrong), end="")
    return 1 if wrong or any(verdict.outcome in BAD for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
