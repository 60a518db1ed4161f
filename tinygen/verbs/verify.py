"""`tinygen verify`: compares the model's own runtime, our semantics, the C on the host and the firmware on a board."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tinygen.builds.arrays import AS_IT_IS, Inputs, Reading, Samples, load_samples
from tinygen.builds.compare import Comparison, Mismatch, class_count, correct, decision_threshold, differing
from tinygen.builds.gates import GateEntry
from tinygen.builds.library import LayerDifference, LibrarySemantics, library_semantics
from tinygen.builds.onnx_runtime import OnnxAgreement
from tinygen.builds.oracle import LiteRt
from tinygen.builds.oracle_names import Oracle
from tinygen.builds.plain import to_plain
from tinygen.builds.sound_oracles import sound_oracles
from tinygen.errors import FitError
from tinygen.files import temporary_folder
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.ptq.losses import QuantizationLoss
from tinygen.hil.device import Device, open_device, require_runtime
from tinygen.ir.gated import lists_of
from tinygen.ir.graph import Graph
from tinygen.ir.paths import PathStream, trace, writers
from tinygen.ir.thresholds import network_with_thresholds
from tinygen.passes.litert_arithmetic import Arithmetic
from tinygen.passes.pipeline import simplify
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, BuildReport, build, read_source
from tinygen.verbs.quantization import beside_onnx, quantization_loss

Progress = Callable[[str, int, int], None]


class Runtime(Protocol):
    """Something that computes the model's outputs, with the states that the last step left."""

    name: str

    def step(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]: ...

    def reset(self) -> None: ...


class Semantics(PathStream):
    """The integer semantics as a runtime."""

    name = "semantics"

    def step_all(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        self._values = super().step_all(inputs)
        return self._values

    def lists(self, names: Sequence[str]) -> dict[str, int]:
        """CRC-32 of lists of channels of the last step, as they lie in memory; those that were written."""
        return {name: zlib.crc32(self._values[name].tobytes()) for name in names if name in self._values}


@dataclass(frozen=True)
class VerifyReport:
    """The results of `verify`.

    Attributes:
        samples: how many inputs were run.
        comparisons: one per pair of runtimes, for each switch of the model.
        accuracy: correct answers per runtime (of a switchable model: "w2a4 host"), when the inputs have labels.
        library: layers that a vendor's library computes otherwise than LiteRT; the boards are compared with the
            library's own arithmetic there.
        library_outputs: what that makes of the model's outputs; None without such layers.
        warnings: of the build.
        gated_layers: of the board, how each is computed.
        quantization: what the model's own float network gives on these inputs, beside the integer network made of it;
            None for models that were quantized before tinygen read them.
        onnx: how a quantized .onnx file agrees with ONNX Runtime; differences are no mismatches.
    """

    model: str
    board: str
    samples: int
    comparisons: tuple[Comparison, ...]
    accuracy: Mapping[str, int] | None
    library: tuple[LayerDifference, ...] = ()
    library_outputs: Comparison | None = None
    warnings: tuple[str, ...] = ()
    gated_layers: tuple[GateEntry, ...] = ()
    quantization: QuantizationLoss | None = None
    onnx: OnnxAgreement | None = None

    @property
    def identical(self) -> bool:
        return all(comparison.mismatches == 0 for comparison in self.comparisons)

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "board": self.board,
            "samples": self.samples,
            "mismatches": sum(c.mismatches for c in self.comparisons),
            "max_abs_diff": max(c.as_json()["max_abs_diff"] for c in self.comparisons),
            "pairs": [c.as_json() for c in self.comparisons],
            "accuracy": None
            if self.accuracy is None
            else {
                name: {"correct": count, "of": self.samples, "accuracy": count / self.samples}
                for name, count in self.accuracy.items()
            },
            "identical": self.identical,
            "warnings": list(self.warnings),
            **({"gated_layers": to_plain(self.gated_layers)} if self.gated_layers else {}),
            **({"quantization": self.quantization.as_json()} if self.quantization else {}),
            **({"onnxruntime": self.onnx.as_json()} if self.onnx else {}),
            "library": None
            if self.library_outputs is None
            else {
                "layers": [asdict(difference) for difference in self.library],
                "outputs": self.library_outputs.as_json(),
            },
        }


@dataclass(frozen=True)
class VerifyOptions:
    """What is compared, and on which samples.

    Attributes:
        reading: how images lie in the inputs, and what becomes of values beyond an input's range.
        oracles: LiteRT kernel sets to compare with; the first is the oracle, all are compared with that of the
            options' arithmetic too, which is the one where none is given. Files that LiteRT does not read are held
            against the integer semantics alone.
        limit: use only the first samples.
        switch: of a switchable network; None takes all of them, one after the other.
        thresholds: codes of thresholds, by name; the others have their defaults.
    """

    reading: Reading = AS_IT_IS
    oracles: Sequence[Oracle] = ()
    limit: int | None = None
    switch: str | None = None
    thresholds: Mapping[str, int] = field(default_factory=dict)


_USUAL = VerifyOptions()


def verify(
    model: Path | MemoryModel,
    inputs: Inputs,
    options: BuildOptions,
    how: VerifyOptions = _USUAL,
    *,
    progress: Progress | None = None,
) -> VerifyReport:
    """Runs every runtime over the inputs and compares them pair by pair.

    The inputs of a model with states are one stream or several (`Samples.resets`).

    Args:
        model: the model file, or a model made in memory.
        inputs: see `load_samples`.
        options: board, toolchain and kernels to build with.
        how: what is compared, and on which samples.
        progress: called with (what, done, of).

    Raises:
        TinygenError: the model, the inputs, the build or a device is at fault.
    """
    require_runtime(load_board(options.board))
    network = network_with_thresholds(read_source(model, options), how.thresholds)
    chosen = network.switches if how.switch is None else (network.switch(how.switch),)
    first = network.first
    tensors = [first.tensors[name] for name in first.inputs]
    samples = load_samples(inputs, tensors, how.reading, classes=class_count(first))
    if how.limit is not None:
        samples = samples.head(how.limit)
    home = Oracle.OPTIMIZED if options.arithmetic == Arithmetic.OPTIMIZED else Oracle.REF
    litert = partial(_litert, model, in_float=options.in_float)
    oracles = _oracles(litert, first, how.oracles, home) if _is_tflite(model) else _Oracles((), home)
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        devices = []
        for index, board in enumerate(dict.fromkeys(("host", options.board))):
            # Not the board's name: that may be the path of a board file.
            built = _built(model, folder / str(index), options, board)
            device = stack.enter_context(open_device(built.folder))
            device.set_thresholds(how.thresholds)
            devices.append(device)
        # Of the board, not of the host.
        manifest = built.manifest
        parts = []
        for one in chosen:
            label = one.name if network.is_switchable else ""
            for device in devices:
                device.select(network.names.index(one.name))
            library = library_semantics(one.graph, manifest.section(label or None))
            trial = _Trial(litert, one.graph, samples, devices, oracles.chosen, oracles.home, library, label)
            parts.append(trial.run(progress))
    beside = beside_onnx(model, first, samples)
    quantization = quantization_loss(model, first, inputs, options, how.reading, samples)
    right = {name: n for part in parts for name, n in part.right.items()}
    if quantization is not None and quantization.float_correct is not None:
        right = {quantization.runtime.lower().replace(" ", ""): quantization.float_correct} | right
    return VerifyReport(
        model=model.name if isinstance(model, MemoryModel) else str(model),
        board=options.board,
        samples=len(samples),
        comparisons=tuple(comparison for part in parts for comparison in part.comparisons),
        accuracy=None if samples.labels is None else right,
        library=tuple(difference for part in parts for difference in part.library),
        library_outputs=_added([part.library_outputs for part in parts if part.library_outputs is not None]),
        warnings=(*manifest.warnings, *oracles.notes, *beside.notes),
        gated_layers=manifest.gated_layers,
        quantization=quantization,
        onnx=beside.agreement,
    )


@dataclass(frozen=True)
class _Oracles:
    """LiteRT's kernel sets for a model; none for other files than .tflite.

    Attributes:
        chosen: to compare with; the first is the oracle.
        home: the set whose arithmetic the graph has, or what takes its place.
        notes: what the user should know of them.
    """

    chosen: tuple[Oracle, ...]
    home: Oracle
    notes: tuple[str, ...] = ()


def _oracles(litert: Callable[..., LiteRt], graph: Graph, asked: Sequence[Oracle], home: Oracle) -> _Oracles:
    found, notes = sound_oracles(litert, graph, tuple(dict.fromkeys((*asked, home))))
    chosen = tuple(one for one in found if one in asked) or found
    return _Oracles(chosen, home if home in found or not found else found[0], notes)


def _built(model: Path | MemoryModel, folder: Path, options: BuildOptions, board: str) -> BuildReport:
    """The build for the board of the options, or for the host beside it.

    The host's kernels may need a larger arena than the board's: if they do not fit the board's limit, the host has the
    smallest arena.
    """
    own = options.for_board(board)
    try:
        return build(model, folder, own, profile=False)
    except FitError:
        if board == options.board or options.arena_bytes is None:
            raise
    return build(model, folder, replace(own, arena_bytes=None, stream=True), profile=False)


@dataclass(frozen=True)
class _Ran:
    """One inference.

    Attributes:
        outputs: codes of each.
        path: the branches that ran, by operator; None where the runtime does not say.
        lists: of live channels, by tensor, as checksums; empty where the runtime does not say.
    """

    outputs: list[np.ndarray]
    path: Mapping[str, int] | None
    lists: Mapping[str, int] = field(default_factory=dict)


_Rows = Mapping[str, list[_Ran]]
"""Inferences by runtime."""


@dataclass(frozen=True)
class _Found:
    """The results of one graph; see `VerifyReport`. `right` is empty without labels."""

    comparisons: Sequence[Comparison]
    right: Mapping[str, int]
    library: Sequence[LayerDifference]
    library_outputs: Comparison | None


@dataclass
class _Trial:
    """One graph on all runtimes.

    Attributes:
        litert: makes an interpreter of the model.
        devices: they run this graph.
        home: LiteRT's kernels whose arithmetic the graph has.
        switch: name of the graph's switch; "" where the model has only one graph.
    """

    litert: Callable[..., LiteRt]
    graph: Graph
    samples: Samples
    devices: Sequence[Device]
    oracles: Sequence[Oracle]
    home: Oracle
    library: LibrarySemantics | None
    switch: str

    def run(self, progress: Progress | None) -> _Found:
        oracles, semantics, library = self.oracles, Semantics(self.graph), self.library
        wanted = list(dict.fromkeys(oracles if self.home in oracles or not oracles else (*oracles, self.home)))
        references = [self.litert(oracle) for oracle in wanted]
        runtimes: list[Runtime] = [*references, semantics, *([library] if library else []), *self.devices]
        # What comes of a stream is not asked twice: lists are compared where an inference can be repeated.
        lists = [] if self.graph.is_stream else [name for name, _ in lists_of(self.graph)]
        outputs = {
            runtime.name: _run_all(runtime, self.samples, lists, self._progress(runtime, progress))
            for runtime in runtimes
        }
        chosen = [f"litert-{oracle}" for oracle in oracles]
        expected = library or semantics
        pairs = [(name, semantics.name) for name in chosen] + [(expected.name, device.name) for device in self.devices]
        home = f"litert-{self.home}"
        pairs += [(home, name) for name in chosen if name != home]
        comparisons = [self._compare(pair, outputs) for pair in pairs]
        named = dict(zip(wanted, references, strict=True))
        locator = _Locator(self.litert, self.graph, self.samples, self.devices, named, library)
        for comparison in comparisons:
            locator.locate(comparison, outputs)
        return _Found(
            comparisons,
            _right(self.graph, self.samples, outputs, self.switch),
            tuple(library.differences.values()) if library else (),
            self._compare((semantics.name, library.name), outputs) if library else None,
        )

    def _compare(self, pair: tuple[str, str], outputs: _Rows) -> Comparison:
        comparison = Comparison(*pair, switch=self.switch)
        for index, (a, b) in enumerate(zip(outputs[pair[0]], outputs[pair[1]], strict=True)):
            other = _other_branch(a, b) is not None or _other_list(a, b)
            comparison.add(index, a.outputs, b.outputs, other_path=other)
        return comparison

    def _progress(self, runtime: Runtime, progress: Progress | None) -> Callable[[int], None]:
        """Reports the number of samples that a runtime has finished."""
        label, count = _labelled(runtime.name, self.switch), len(self.samples)
        return lambda done: progress(label, done, count) if progress else None


def _other_branch(a: _Ran, b: _Ran) -> str | None:
    """The first operator that took different branches; None if there is none, or one runtime does not report branches.

    Operators that only one runtime ran are skipped: an earlier operator caused that, or no output depends on them.
    """
    both = {} if a.path is None or b.path is None else {name for name in a.path if name in b.path}
    return next((name for name in sorted(both) if a.path[name] != b.path[name]), None)  # type: ignore[index]


def _other_list(a: _Ran, b: _Ran) -> bool:
    """Whether a gate chose other channels: a tie resolved wrongly may still give the right answer."""
    return any(a.lists[name] != b.lists[name] for name in a.lists.keys() & b.lists.keys())


def _litert(model: Path | MemoryModel, oracle: Oracle, *, in_float: bool, keep: bool = False) -> LiteRt:
    assert isinstance(model, Path)  # a model made in memory has no oracle
    return LiteRt(model, oracle, in_float=in_float, keep=keep)


def _is_tflite(model: Path | MemoryModel) -> bool:
    return isinstance(model, Path) and model.suffix.lower() == ".tflite"


def _added(comparisons: Sequence[Comparison]) -> Comparison | None:
    """The same pair of runtimes by several switches, as one; None for none."""
    if len(comparisons) < 2:
        return comparisons[0] if comparisons else None
    total = Comparison(comparisons[0].first, comparisons[0].second)
    for one in comparisons:
        total.samples += one.samples
        total.mismatches += one.mismatches
        total.max_abs_diff = max(total.max_abs_diff, one.max_abs_diff)
    return total


def _run_all(runtime: Runtime, samples: Samples, lists: Sequence[str], done: Callable[[int], None]) -> list[_Ran]:
    results = []
    for index in range(len(samples)):
        if samples.begins(index):
            runtime.reset()
        sample = samples.sample(index)
        outputs = runtime.step(sample)
        path = getattr(runtime, "path", None)
        results.append(_Ran(outputs, None if path is None else dict(path), _lists(runtime, sample, lists)))
        done(index + 1)
    return results


def _lists(runtime: Runtime, sample: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, int]:
    """Checksums of lists of channels, of a graph that has some and a runtime that says them."""
    if isinstance(runtime, Device) and names:
        known = runtime.checksums(sample)
        return {name: known[name] for name in names if name in known}
    return runtime.lists(names) if isinstance(runtime, Semantics) else {}


def _right(graph: Graph, samples: Samples, outputs: _Rows, switch: str) -> dict[str, int]:
    """Correct answers per runtime, named with its switch where there are several."""
    if samples.labels is None:
        return {}
    threshold = decision_threshold(graph)
    return {
        _labelled(name, switch): sum(
            correct(row.outputs[0], int(label), threshold) for row, label in zip(rows, samples.labels, strict=True)
        )
        for name, rows in outputs.items()
    }


def _labelled(runtime: str, switch: str) -> str:
    return f"{switch} {runtime}" if switch else runtime


class _Locator:
    """Finds the first layer at which two runtimes differ, on the first sample that differs.

    Of a model that keeps something between inferences, the first output that differs: to look at the layers of a later
    inference, all before it would have to be done again for each tensor.

    Devices run the simplified graph: their layers are compared with its semantics, whose tensors may have fewer
    channels than the model's. Errors of the passes themselves show only at the outputs.
    """

    def __init__(
        self,
        litert: Callable[..., LiteRt],
        graph: Graph,
        samples: Samples,
        devices: Sequence[Device],
        references: Mapping[Oracle, LiteRt],
        library: LibrarySemantics | None,
    ) -> None:
        self.litert, self.graph, self.samples = litert, graph, samples
        self.devices = {device.name: device for device in devices}
        self.oracles = {reference.name: oracle for oracle, reference in references.items()}
        self.library = library
        self.simple = simplify(graph)

    def locate(self, comparison: Comparison, outputs: _Rows) -> None:
        """Fills in `comparison.where` when the pair differs."""
        index = comparison.first_bad_sample
        if index is None:
            return
        sample = self.samples.sample(index)
        if self.graph.is_stream:
            self._locate_output(comparison, index, outputs)
            return
        graph = self.simple if self.devices.keys() & {comparison.first, comparison.second} else self.graph
        a = self._tensors(comparison.first, sample, graph)
        b = self._tensors(comparison.second, sample, graph)
        for name, writer in writers(graph):
            # Passes give some tensors another shape, as where padding is folded.
            if name in a and name in b and a[name].size == b[name].size:
                element = differing(a[name], b[name])
                if element is not None:
                    comparison.where = _mismatch(index, writer, name, element, a[name], b[name])
                    return
        self._locate_output(comparison, index, outputs)

    def _locate_output(self, comparison: Comparison, index: int, outputs: _Rows) -> None:
        a, b = outputs[comparison.first][index], outputs[comparison.second][index]
        operator = _other_branch(a, b)
        if operator is not None and a.path is not None and b.path is not None:
            comparison.where = Mismatch(index, operator, "", (), (a.path[operator], b.path[operator]))
            return
        for name, (x, y) in zip(self.graph.outputs, zip(a.outputs, b.outputs, strict=True), strict=True):
            element = differing(x, y)
            if element is not None:
                comparison.where = _mismatch(index, "", name, element, x, y)
                return

    def _tensors(self, runtime: str, sample: list[np.ndarray], graph: Graph) -> dict[str, np.ndarray]:
        if runtime in self.devices:
            return self.devices[runtime].intermediate(sample)
        if runtime in self.oracles:
            interpreter = self.litert(self.oracles[runtime], keep=True)
            interpreter.infer(sample)
            return interpreter.intermediate(self.graph, [name for op in self.graph.ops for name in op.outputs])
        if self.library is not None and runtime == self.library.name:
            return self.library.tensors(sample)
        return trace(graph, sample).values


def _mismatch(sample: int, layer: str, tensor: str, element: tuple[int, ...], a: np.ndarray, b: np.ndarray) -> Mismatch:
    values = (a[element].item(), b.reshape(a.shape)[element].item())
    return Mismatch(sample, layer, tensor, element, values)
