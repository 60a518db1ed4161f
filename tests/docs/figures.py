"""Holds the figures of the pages to what their commands print.

A comment behind a figure names the command, and where in its JSON the figure is:

    The demo gets 196 of 200 digits right.

    <!-- figures
    $ tinygen demo --json
    `gets {correct} of {digits} digits`
    -->

Each pattern must be on the page once; `{...}` stands for a number there. A name in it is a path in the JSON:
`profile.cycles_predicted`, `layers.0.macs`, `[case=kws,toolchain=zig].instructions` (the element of an array with these
values); `*100` and `/1e6` scale it. `{}` is a number or word that nothing is said of. A figure has to be the command's,
rounded to as many digits as the page has; the first line may allow more, `figures: within 2 %`, or say that the command
takes minutes, `figures: slow`. Such commands run with --all only.

    python -m tests.docs.figures [--write] [--all] [PAGE...]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs.pages import ROOT, pages

_COMMENT = re.compile(r"<!-- figures(?P<options>[^\n]*)\n\$ (?P<command>[^\n]+)\n(?P<patterns>.*?)-->", re.DOTALL)
_PLACE = re.compile(r"\{([^{}]*)\}")
_NUMBER = r"[-−+]?\d[\d,]*(?:\.\d+)?"
_SELECTED = re.compile(r"^\[([^\]]+)\]\.?")
Runner = Callable[[str], Any]


@dataclass(frozen=True)
class Claim:
    """A comment of a page.

    Attributes:
        patterns: the page's words, with paths in braces.
        within: how far a figure may be off, as a share of it; 0: only by its rounding.
        slow: it takes minutes.
    """

    page: Path
    command: str
    patterns: tuple[str, ...]
    within: float
    slow: bool


@dataclass(frozen=True)
class Figure:
    """One number: what the page has, what the command gave; `found` is None where the page has no such words."""

    claim: Claim
    path: str
    found: str | None
    value: float | None
    span: tuple[int, int]

    @property
    def right(self) -> bool:
        if self.found is None or self.value is None:
            return False
        number = _number(self.found)
        rounding = 0.5 * 10.0 ** -_digits(self.found)
        return abs(number - self.value) <= max(rounding * 1.0001, self.claim.within * abs(self.value))

    @property
    def correct(self) -> str:
        """The value as the page writes numbers."""
        assert self.found is not None and self.value is not None
        text = f"{self.value:{',' if self.found.count(',') or self.value >= 1e4 else ''}.{_digits(self.found)}f}"
        return text.replace("-", "−") if "−" in self.found else text


def claims(page: Path) -> list[Claim]:
    """The comments of a page.

    Raises:
        ValueError: one has no pattern or an unknown option.
    """
    found = []
    for match in _COMMENT.finditer(page.read_text()):
        options = match["options"].strip(" :")
        within = re.search(r"within ([\d.]+) %", options)
        rest = re.sub(r"within [\d.]+ %|slow|,|\s", "", options)
        patterns = tuple(re.findall(r"^`(.+)`$", match["patterns"], re.MULTILINE))
        if rest or not patterns:
            raise ValueError(f"{page}: '{options}' says nothing, or no pattern follows: {match['command']}")
        found.append(
            Claim(page, match["command"], patterns, float(within[1]) / 100 if within else 0.0, "slow" in options)
        )
    return found


def figures(claim: Claim, result: Any) -> Iterator[Figure]:
    """The numbers of a claim, beside what its command gave."""
    content = claim.page.read_text()
    text = _COMMENT.sub(lambda match: " " * len(match[0]), content)
    for pattern in claim.patterns:
        paths = [path for path in _PLACE.findall(pattern) if path]
        parts = (_expression(part) for part in re.split(r"(\{[^{}]*\})", pattern))
        hits = list(re.finditer("".join(parts), text))
        if len(hits) != 1:
            yield Figure(claim, f"{pattern} (on the page {len(hits)} times)", None, None, (0, 0))
            continue
        for index, path in enumerate(paths, 1):
            yield Figure(claim, path, hits[0][index], _value(result, path), hits[0].span(index))


def _expression(part: str) -> str:
    if part == "{}":
        return r"[^\n|]+?"
    return f"({_NUMBER})" if part.startswith("{") else re.escape(part)


def _value(result: Any, path: str) -> float | None:
    """The number at a path; None where there is none."""
    name, scale = re.fullmatch(r"(.+?)((?:[*/][\d.e+-]+)?)", path).groups()  # type: ignore[union-attr]
    try:
        while name:
            selected = _SELECTED.match(name)
            if selected:
                wanted = dict(pair.split("=", 1) for pair in selected[1].split(","))
                result = next(one for one in result if all(str(one.get(k)) == v for k, v in wanted.items()))
                name = name[selected.end() :]
                continue
            key, _, name = name.partition(".")
            result = result[int(key)] if isinstance(result, list) else result[key]
        factor = float(scale[1:]) if scale else 1.0
        return float(result) / factor if scale.startswith("/") else float(result) * factor
    except (KeyError, IndexError, StopIteration, TypeError, ValueError):
        return None


def _number(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def _digits(text: str) -> int:
    return len(text.partition(".")[2])


def run(command: str) -> Any:
    """The JSON that a `tinygen` command prints, run in the directory of the moment.

    Raises:
        RuntimeError: it failed, or names a model that is not here.
    """
    words = [_with_models(word) for word in shlex.split(command)]
    program = [sys.executable, "-c", "from tinygen.cli import main; main()"]
    start = program if words[0] == "tinygen" else [sys.executable if words[0] == "python" else words[0]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*start, *words[1:]], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip()[-300:])
    return json.loads(done.stdout)


def _with_models(word: str) -> str:
    """`$MODELS/x` and `$WAKEWORDS/x` as paths; files of examples/ as those of this checkout."""
    if word.startswith("examples/"):
        return str(ROOT / word)
    for name, folder in {"$MODELS": _models(), "$WAKEWORDS": _wake_words()}.items():
        if word.startswith(name):
            path = (folder or Path("/nowhere")) / word.removeprefix(f"{name}/")
            if not path.exists():
                raise FileNotFoundError(f"{word} is not here")
            return str(path)
    return word


def _models() -> Path:
    default = ROOT.parent / "shared" / "data" / "mlperf_tiny"
    return Path(os.environ.get("TINYGEN_MODELS", default)).resolve()


def _wake_words() -> Path | None:
    found = importlib.util.find_spec("pymicro_wakeword")
    return Path(str(found.origin)).parent / "models" if found else None


def written(page: Path, found: Sequence[Figure]) -> str:
    """The page with the commands' figures."""
    text = page.read_text()
    for figure in sorted(found, key=lambda one: one.span, reverse=True):
        if figure.found is not None and figure.value is not None and not figure.right:
            first, last = figure.span
            text = text[:first] + figure.correct + text[last:]
    return text


def check(chosen: Sequence[Path], *, everything: bool, write: bool, runner: Runner = run) -> int:
    """Prints a line per figure; gives how many are wrong."""
    wrong, results = 0, dict[str, Any]()
    for page in chosen:
        found: list[Figure] = []
        for claim in claims(page):
            if claim.slow and not everything:
                print(f"not run    {claim.command} (takes minutes: --all)")
                continue
            try:
                if claim.command not in results:
                    results[claim.command] = runner(claim.command)
                found += figures(claim, results[claim.command])
            except FileNotFoundError as error:
                print(f"not run    {claim.command} ({error})")
                wrong += bool(os.environ.get("TINYGEN_CI"))
            except RuntimeError as error:
                print(f"FAILED     {claim.command}: {error}")
                wrong += 1
        for figure in found:
            state = "right" if figure.right else "WRONG"
            value = "nothing" if figure.value is None else f"{figure.value:,.10g}"
            print(f"{state:9}  {page.name}: {figure.path}: the page has {figure.found}, the command {value}")
            wrong += not figure.right
        if write:
            page.write_text(written(page, found))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Figures of the pages against what their commands print.")
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="default: README.md and docs/")
    parser.add_argument("--write", action="store_true", help="write the commands' figures into the pages")
    parser.add_argument("--all", action="store_true", help="run commands that take minutes, too")
    arguments = parser.parse_args()
    chosen = [page.resolve() for page in arguments.pages] or pages()
    with tempfile.TemporaryDirectory(prefix="tinygen-figures-") as folder:
        os.chdir(folder)
        return 1 if check(chosen, everything=arguments.all, write=arguments.write) else 0


if __name__ == "__main__":
    sys.exit(main())
