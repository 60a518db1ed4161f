"""Breaks tinygen in one place after the other and tells which default test notices: `python -m tests.mutants`.

Each entry of the lists beside this file is tried on a copy of the checkout: first the tests that should notice it,
then, where they do not, the whole default run. The status is 1 when one survives, cannot be applied or takes too
long, and 2 when the tests fail without any mutant.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.counts import count_table, source_files
from tests.mutants.mutant import Mutant, StaleError, chosen, read_mutants
from tests.mutants.trial import KILLED, Outcome, Workplace, try_mutant

_SECONDS, _WHOLE_SECONDS = 900.0, 7200.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        mutants = chosen(read_mutants(), options.only)
    except StaleError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        for mutant in mutants:
            print(f"{mutant.room:12} {mutant.name:36} {mutant.breaks}")
        return 0
    if options.count:
        print("\n".join(count_table(mutants, source_files())))
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinygen-mutants-")))
        places = [Workplace(folder / str(number)) for number in range(max(options.jobs, 1))]
        for place in places:
            stack.callback(place.close)
        if not options.no_baseline and not _is_green(places, mutants):
            return 2
        outcomes = _try_all(places, mutants, options)
    _print_table(outcomes)
    if options.json:
        options.json.write_text(json.dumps([_row(outcome) for outcome in outcomes], indent=1) + "\n")
    return 0 if all(outcome.verdict == KILLED for outcome in outcomes) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a mutant or a list; repeatable")
    parser.add_argument("--list", action="store_true", help="print the mutants and end")
    parser.add_argument("--count", action="store_true", help="print how many each folder of the sources has, and end")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="mutants at the same time")
    parser.add_argument("--own", action="store_true", help="try each mutant's own tests alone")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests without mutants first")
    parser.add_argument("--verbose", action="store_true", help="print what the tests say")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table here, too")
    return parser.parse_args(arguments)


def _is_green(places: Sequence[Workplace], mutants: Sequence[Mutant]) -> bool:
    """Whether the mutants' own tests pass on whole copies; compiled modules are there afterwards."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    print(f"{len(tests)} files and tests without a mutant ...", flush=True)
    for place in places[1:]:
        place.run(["--collect-only", *tests], seconds=_SECONDS, caches=True)
    run = places[0].run(tests, seconds=_WHOLE_SECONDS, jobs=len(places), first=False, caches=True)
    print(run.output.strip().splitlines()[-1] if run.status == 0 else run.output, flush=True)
    return run.status == 0


def _try_all(places: Sequence[Workplace], mutants: Sequence[Mutant], options: argparse.Namespace) -> list[Outcome]:
    free: SimpleQueue[Workplace] = SimpleQueue()
    for place in places:
        free.put(place)

    def work(mutant: Mutant) -> Outcome:
        place = free.get()
        try:
            whole = 0.0 if options.own else _WHOLE_SECONDS
            outcome = try_mutant(place, mutant, seconds=_SECONDS, whole=whole, jobs=0)
        finally:
            free.put(place)
        print(f"{outcome.verdict:9} {mutant.name:36} {outcome.seconds:5.0f} s  {outcome.by}", flush=True)
        if options.verbose:
            print(outcome.output, flush=True)
        return outcome

    with ThreadPoolExecutor(len(places)) as pool:
        return list(pool.map(work, mutants))


def _print_table(outcomes: Sequence[Outcome]) -> None:
    room = ""
    for outcome in outcomes:
        if outcome.mutant.room != room:
            room = outcome.mutant.room
            print(f"\n{room}")
        by = outcome.by if outcome.verdict == KILLED else f"{outcome.verdict}: {outcome.by}"
        other = "" if outcome.expected or outcome.verdict != KILLED else "  (not one of its own tests)"
        print(f"  {outcome.mutant.name:36} {outcome.seconds:5.0f} s  {by}{other}")
    counts = Counter(outcome.verdict for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    print(f"\n{len(outcomes)} mutants: {said}; {seconds / 60:.0f} minutes")


def _row(outcome: Outcome) -> dict[str, object]:
    return {
        "list": outcome.mutant.room,
        "mutant": outcome.mutant.name,
        "breaks": outcome.mutant.breaks,
        "verdict": outcome.verdict,
        "by": outcome.by,
        "expected": outcome.expected,
        "seconds": round(outcome.seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
