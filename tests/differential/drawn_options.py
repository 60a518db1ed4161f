"""Random combinations of options over models of every operator: each is built as it says, or refused with a reason.

    python -m tests.differential.drawn_options --count 200 --seed 0

draws combinations of a model, a command and its options, and prints what became of them. `--only N --keep DIR` draws
one of them again, leaves its model and inputs in DIR, and prints the command. It ends with 1 where a build differs from
the integer semantics, the semantics from LiteRT, a limit is not kept, a refusal is none, or tinygen has a defect.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.differential.mutated_models import operator_cases
from tests.support.branches import gated
from tests.support.cases import Draw
from tests.support.differential import assert_same
from tests.support.gated import Gated, gated_conv
from tests.support.integer_layers import BINARY, INT8, INT32, conv, dense, levels
from tests.support.networks import Network as Layers
from tests.support.streaming_models import SMALL
from tests.support.switchable import chain, small_network
from tests.support.tflite_builder import build as tflite_of
from tinygen.bench.operators import cases as operator_suite
from tinygen.bench.suites import SuiteOptions
from tinygen.builds.arrays import random_samples
from tinygen.builds.compare import differing
from tinygen.builds.oracle import LiteRt
from tinygen.builds.oracle_names import Oracle
from tinygen.builds.sound_oracles import sound_oracles
from tinygen.errors import DeviceError, FitError, TinygenError, ToolchainError
from tinygen.frontends.load import load_network
from tinygen.frontends.tg.writer import save_tg
from tinygen.hil.device import open_device
from tinygen.ir.interpreter import Stream
from tinygen.ir.network import Network
from tinygen.lowering.network import NetworkProgram, lower_network
from tinygen.lowering.program import Io
from tinygen.lowering.streaming import Streaming
from tinygen.passes.pipeline import simplify_network
from tinygen.project.exports.forms import FORMS
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, build, isa_of, read_source
from tinygen.verbs.export import export
from tinygen.verbs.verify import verify

_STEPS = 3
"""Inferences with each build; models with states take them one after the other."""
_BOARDS = ("host", "f746zg", "f411re", "esp32c3", "u575zi-q", "h743zi", "l476rg", "esp32c6", "g474re", "esp32s3")
_NAMES = ("kws", "Model2", "a_name_as_long_as_nobody_would_give_it_but_legal", "int", "9lives", "naïve", "printf")


class Wrong(Exception):
    """What a combination must not do."""


@dataclass(frozen=True)
class Combination:
    """A model, a command and its options.

    Attributes:
        model: name of the case; content: the file's, as bytes (.tflite) or a graph (.tg).
        verb: "build", "verify" or "export".
        options: of `BuildOptions`; form: of an export.
    """

    model: str
    content: bytes | Network
    verb: str
    options: Mapping[str, Any]
    form: str = ""

    def write(self, folder: Path) -> Path:
        """Writes the model and, as x.npz, its inputs."""
        path = folder / ("model.tflite" if isinstance(self.content, bytes) else "model.tg")
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            save_tg(self.content, path)
        first = load_network(path).first
        samples = random_samples([first.tensors[name] for name in first.inputs], _STEPS, 7)
        np.savez(folder / "x.npz", **{f"x{i}": rows for i, rows in enumerate(samples.inputs)})
        return path

    def command(self, path: Path) -> str:
        """As one would type it."""
        words = ["tinygen", self.verb, str(path)]
        words += ["--inputs", str(path.parent / "x.npz")] if self.verb == "verify" else []
        words += ["--as", self.form] if self.form else []
        words += [] if self.verb == "verify" else ["--out", str(path.parent / "out")]
        for name, value in self.options.items():
            option = "--" + name.removesuffix("_bytes")
            words += [option] if value is True else [option, str(value)]
        return shlex.join(words)


def draw_combination(seed: int, number: int) -> Combination:
    """Number `number` of the combinations of a seed."""
    draw = Draw(seed, number)
    name, content = _model(draw)
    board = draw.choice(_BOARDS)
    verb = draw.choice(("build",) * 6 + ("verify", "verify", "export", "export"))
    options: dict[str, Any] = {"board": board}
    _may(draw, options, "toolchain", 0.4, ("zig", "gcc"))
    _may(draw, options, "kernels", 0.4, ("compact", "reference") * 5 + ("cmsis-nn",))
    _may(draw, options, "stream", 0.3, (True,))
    _may(draw, options, "weights", 0.4, ("flash", "ram", "auto"))
    _may(draw, options, "io", 0.35, ("caller",))
    _may(draw, options, "arithmetic", 0.2 if isinstance(content, bytes) else 0.02, ("optimized",))
    _may(draw, options, "gates", 0.1, ("always", "never"))
    _may(draw, options, "name", 0.15, _NAMES)
    if verb == "build":
        _may(draw, options, "layout", 0.02, ("nhwc", "nchw"))
        _may(draw, options, "stack_bytes", 0.1, (2048, 4096, 1 << 30))
    if verb == "build" and draw.yes(0.08):
        options["flash_bytes"] = draw.choice((0, 12_000, 16_000, 20_000, 40_000, 1 << 22))
    if draw.yes(0.5):
        options["arena_bytes"] = _arena(draw, content, options)
    return Combination(name, content, verb, options, draw.choice(_forms(board)) if verb == "export" else "")


def _forms(board: str) -> list[str]:
    """Those for the board, and one that may not be."""
    return ["arduino", *(name for name, form in FORMS.items() if not form.misfit(load_board(board)))]


def _may(draw: Draw, options: dict[str, Any], name: str, chance: float, values: Sequence[object]) -> None:
    if draw.yes(chance):
        options[name] = draw.choice(values)


def _arena(draw: Draw, content: bytes | Network, options: Mapping[str, Any]) -> int:
    """A limit below, at, or above what the model needs, with stripes and without."""
    part = draw.choice((0.0, 0.5, 0.8, 0.95, "smallest", "smallest", "whole", 1.02, 2.0))
    try:
        whole, least = needs(content, options)
    except TinygenError:
        return 4096
    if isinstance(part, float):
        return int(part * whole)
    return least if part == "smallest" else whole


def needs(content: bytes | Network, options: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes of the arena as it is, and of the smallest one.

    Raises:
        TinygenError: the model cannot be lowered so.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Combination("", content, "", {}).write(Path(folder))
        source = read_source(path, BuildOptions(arithmetic=options.get("arithmetic", "reference")))
    network, board = simplify_network(source), load_board(options["board"])

    def lowered(streaming: Streaming | None) -> NetworkProgram:
        family = options.get("kernels", "tinygen")
        io = Io(options.get("io", "arena"))
        return lower_network(network, family=family, isa=isa_of(board), streaming=streaming, io=io)

    return lowered(None).arena_bytes, lowered(Streaming()).arena_bytes


def _model(draw: Draw) -> tuple[str, bytes | Network]:
    kind = draw.choice(("operator",) * 6 + ("suite",) + ("network",) * 4)
    if kind == "operator":
        cases = operator_cases()
        name = draw.choice(sorted(cases))
        return name, tflite_of(cases[name](draw))
    found = _suite() if kind == "suite" else _NETWORKS
    name = draw.choice(sorted(found))
    return name, found[name]()


@cache
def _suite() -> Mapping[str, Callable[[], Network]]:
    """Those of `bench --suite operators`."""
    made = {case.name: case.model for case in operator_suite(SuiteOptions()).cases}
    return {name: partial(load_network, model) for name, model in made.items()}


def _layers(dtype: str, depth: int) -> bytes:
    network = Layers(depth, dtype)
    x = network.input(12, 12, 3)
    for index in range(depth):
        x = network.conv(x, 4 + 4 * index, 3, 2 if index == depth - 1 else 1)
        x = network.depthwise(x, 3) if index else x
    return network.model()


def _bits() -> Network:
    size = (4, 4, 40)
    first = conv("a", size, 8, (3, 3), x=BINARY, w=BINARY, y=BINARY)
    return Network.of(chain("bits", [first, dense("b", (4, 4, 8), 5, x=BINARY, w=INT8, y=INT32)]))


def _few_bits() -> Network:
    few, more = levels(2), levels(4)
    first = conv("a", (8, 8, 8), 8, (3, 3), x=more, w=levels(4, True), y=few)
    return Network.of(chain("few", [first, dense("b", (8, 8, 8), 5, x=few, w=levels(2, True), y=INT32)]))


_NETWORKS: Mapping[str, Callable[[], bytes | Network]] = {
    "int8 layers": lambda: _layers("int8", 3),
    "int8 layer": lambda: _layers("int8", 1),
    "int16 layers": lambda: _layers("int16", 2),
    "float layers": lambda: _layers("float32", 3),
    "branches": lambda: Network.of(gated()),
    "switches": small_network,
    "bits": _bits,
    "few bits": _few_bits,
    "gated": lambda: Network.of(gated_conv(Gated(name="gated", image=(6, 6, 8), filters=8, live=(0, 4)))),
    "experts": lambda: Network.of(gated_conv(Gated(name="experts", image=(6, 6, 8), filters=8, experts=3))),
    **{f"keeps: {name}": made for name, made in SMALL.items()},
}


@dataclass(frozen=True)
class Verdict:
    """What became of a combination.

    Attributes:
        outcome: "built", "refused" or "WRONG".
        reason: of a refusal, without its figures; or what is wrong.
    """

    number: int
    combination: Combination
    outcome: str
    reason: str = ""


def judge(combination: Combination, number: int, folder: Path) -> Verdict:
    """Does what the combination says in a folder, and checks what comes of it."""
    path = combination.write(folder)
    try:
        _VERBS[combination.verb](combination, path)
    except TinygenError as error:
        wrong = _no_refusal(combination, error)
        reason = re.sub(r"'[^']*'|[\d,]*\d", "N", error.what)
        return Verdict(number, combination, "WRONG" if wrong else "refused", wrong or reason)
    except Exception:
        return Verdict(number, combination, "WRONG", traceback.format_exc())
    return Verdict(number, combination, "built")


def _no_refusal(combination: Combination, error: TinygenError) -> str:
    """Why an error is no clean refusal; "" if it is one."""
    if isinstance(error, ToolchainError) and "not installed" not in str(error):
        return f"an error of the toolchain: {error}"
    if isinstance(error, DeviceError):
        return f"the device fails: {error}"
    if not error.fix:
        return f"the error does not say what to do: {error}"
    arena = combination.options.get("arena_bytes")
    if isinstance(error, FitError) and arena is not None and error.what.startswith("the arena"):
        try:
            whole, least = needs(combination.content, combination.options)
        except TinygenError:
            return ""
        if min(whole, least) <= arena:
            return f"refused, but {whole} bytes suffice, and {least} at best: {error}"
    return ""


def _options(combination: Combination) -> BuildOptions:
    return BuildOptions(**combination.options)


def _build(combination: Combination, path: Path) -> None:
    """Builds it; limits are kept, and each switch computes what the integer semantics does.

    Raises:
        TinygenError: of the build.
        Wrong: anything else.
    """
    options = _options(combination)
    built = build(path, path.parent / "out", options, profile=False)
    manifest = built.manifest
    for name, limit, size in (
        ("arena", options.arena_bytes, manifest.arena_bytes),
        ("flash", options.flash_bytes, manifest.flash_bytes),
    ):
        if limit is not None and (size is None or size > limit):
            raise Wrong(f"{name} has {size} bytes, and the limit is {limit}")
    if options.stream and options.flash_bytes is None:
        least = min(needs(combination.content, combination.options))
        if manifest.arena_bytes > least:
            raise Wrong(f"the smallest arena has {manifest.arena_bytes} bytes, and {least} would do")
    source = read_source(path, options)
    _check_semantics(path, source, options)
    if load_board(options.board).is_project_only:
        return
    with open_device(built.folder) as device:
        for switch in source:
            device.select(source.names.index(switch.name))
            device.reset()
            semantics = Stream(switch.graph)
            for sample in _samples(path):
                _check_equal(semantics.step(sample), device.step(sample))


def _samples(path: Path) -> list[list[np.ndarray]]:
    with np.load(path.parent / "x.npz") as arrays:
        return [[arrays[f"x{i}"][step] for i in range(len(arrays.files))] for step in range(_STEPS)]


def _check_semantics(path: Path, source: Network, options: BuildOptions) -> None:
    """Compares the semantics with LiteRT, which reads .tflite files."""
    if path.suffix != ".tflite":
        return
    wanted = Oracle.OPTIMIZED if options.arithmetic == "optimized" else Oracle.REF
    for oracle in sound_oracles(partial(LiteRt, path), source.first, [wanted])[0]:
        litert, semantics = LiteRt(path, oracle), Stream(source.first)
        for sample in _samples(path):
            assert_same(litert.step(sample), semantics.step(sample), path, "semantics")


def _check_equal(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> None:
    for index, (a, b) in enumerate(zip(wanted, found, strict=True)):
        where = differing(a, b)
        if where is not None:
            raise Wrong(f"output {index} differs at {where}: {a[where]}, {b.reshape(a.shape)[where]}")


def _verify(combination: Combination, path: Path) -> None:
    report = verify(path, path.parent / "x.npz", _options(combination))
    if not report.identical:
        raise Wrong(str([comparison.as_json() for comparison in report.comparisons]))


def _export(combination: Combination, path: Path) -> None:
    """The export runs its example itself."""
    content = export(path, path.parent / "out", combination.form, _options(combination)).as_json()
    limit = combination.options.get("arena_bytes")
    if limit is not None and content["arena_bytes"] > limit:
        raise Wrong(f"the arena has {content['arena_bytes']} bytes, and the limit is {limit}")


_VERBS: Mapping[str, Callable[[Combination, Path], None]] = {"build": _build, "verify": _verify, "export": _export}


def judge_all(seed: int, numbers: Iterable[int]) -> list[Verdict]:
    verdicts = []
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix="tinygen-drawn-") as folder:
            verdicts.append(judge(draw_combination(seed, number), number, Path(folder)))
    return verdicts


def table(verdicts: Sequence[Verdict], seed: int) -> str:
    """Counts; and of what is wrong, commands that show it."""
    lines = []
    for outcome in ("built", "refused", "WRONG"):
        of_outcome = [one for one in verdicts if one.outcome == outcome]
        lines.append(f"{len(of_outcome):5d}  {outcome}")
        if outcome == "refused":
            reasons = Counter(one.reason for one in of_outcome)
            lines += [f"       {count:5d}  {reason}" for reason, count in reasons.most_common()]
    for one in verdicts:
        if one.outcome == "WRONG":
            again = f"python -m tests.differential.drawn_options --seed {seed} --only {one.number} --keep drawn"
            lines += [one.combination.model, again, one.combination.command(Path("drawn/model")), one.reason, ""]
    return "\n".join(lines)


def main() -> int:
    """
    Returns:
        1 where something is wrong.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--only", type=int, metavar="N", help="This combination alone.")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="Leave model and inputs of --only there.")
    chosen = parser.parse_args()
    numbers = range(chosen.count) if chosen.only is None else [chosen.only]
    if chosen.keep is not None and chosen.only is not None:
        chosen.keep.mkdir(parents=True, exist_ok=True)
        combination = draw_combination(chosen.seed, chosen.only)
        print(combination.command(combination.write(chosen.keep)))
    verdicts = judge_all(chosen.seed, numbers)
    print(table(verdicts, chosen.seed))
    return int(any(one.outcome == "WRONG" for one in verdicts))


if __name__ == "__main__":
    sys.exit(main())
