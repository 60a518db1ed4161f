"""From a phrase to a tested firmware: `tinygen demo wakeword --train`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.apps.wakeword.dataset import Scenes, Wanted, load_scenes
from tinygen.apps.wakeword.demo import NOBODY, DemoOptions, WakewordDemo, Watcher, demo_wakeword
from tinygen.apps.wakeword.demonstration import held_out_scenes
from tinygen.apps.wakeword.evaluate import SLIDING_WINDOW, Evaluation, Sound, evaluate
from tinygen.apps.wakeword.features import CONFIG, feature_codes
from tinygen.apps.wakeword.listening import BOARDS as LISTENING_BOARDS
from tinygen.apps.wakeword.listening import USUAL, ExitPoint, Hour, exit_points, hours_in
from tinygen.apps.wakeword.network import HOP, NARROW, float_network, window_frames
from tinygen.apps.wakeword.parts import Part
from tinygen.apps.wakeword.phrase import Phrase, read_phrase
from tinygen.apps.wakeword.plot import check_matplotlib, det_picture
from tinygen.apps.wakeword.segments import Segments
from tinygen.apps.wakeword.sizes import Size, sizes_in
from tinygen.apps.wakeword.training import Effort
from tinygen.audio.speech import SAMPLE_RATE_HZ
from tinygen.audio.wav import write_wav
from tinygen.builds.folder import Folder, Record, first_file
from tinygen.claims import PREFIX
from tinygen.errors import TinygenError
from tinygen.files import temporary_folder, writing
from tinygen.frontends.names import c_name
from tinygen.frontends.tg import save_tg
from tinygen.hil.device import require_runtime
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import Stream
from tinygen.ir.network import Network
from tinygen.targets.boards import load_board
from tinygen.verbs.build import RECORD as BUILD

Progress = Callable[[str, int, int], None]
BOARDS = ("f746zg", "esp32c3")
"""Where the sizes of all precisions are taken."""
REPORT, DATASET, FIRMWARE = "report.json", "dataset", "firmware"
DET, WAV = "det.png", "held_out.wav"
_MODEL, _SWITCHABLE, _NARROW, _EXIT = "model", "switchable", "narrow", "exit"
_RECORD = Record(REPORT, "training", beside=frozenset((DATASET, FIRMWARE)))
_CACHED = re.compile(rf"[0-9a-f]{{24}}\.npz|{re.escape(PREFIX)}.*")
"""In the data set's folder: files named after all that they depend on, and those of a process that was killed."""
_CALIBRATION = 128


@dataclass(frozen=True)
class Amount:
    """Amounts of data and training.

    Attributes:
        scenes: of half a minute, by part and mix.
        effort: of training.
        boards: for which sizes are determined.
        listening: boards for which the energy of an hour is determined.
    """

    scenes: Mapping[Part, Mapping[str, int]]
    effort: Effort
    boards: tuple[str, ...] = BOARDS
    listening: tuple[str, ...] = LISTENING_BOARDS


FULL = Amount(
    {
        Part.TRAIN: {"phrases": 500, "near misses": 160, "air": 200},
        Part.VALIDATION: {"phrases": 60, "air": 190},
        Part.HELD_OUT: {"phrases": 60, "near misses": 20, "air": 260},
    },
    Effort(4000, 4, 800),
)
QUICK = Amount(
    {
        Part.TRAIN: {"phrases": 20, "near misses": 10, "air": 10},
        Part.VALIDATION: {"phrases": 10, "air": 10},
        Part.HELD_OUT: {"phrases": 10, "near misses": 10, "air": 10},
    },
    Effort(150, 2, 30, 30),
    (),
    (),
)
"""To see that everything works; what it gives is of no use."""


@dataclass(frozen=True)
class Networks:
    """The trained networks, before the demonstration.

    Attributes:
        phrase: what was trained.
        frames: of the network's window.
        evaluations: of each precision.
        recipes: evaluations of the network trained by each recipe.
        sizes: of each precision on each board.
        exits: results of the network with an exit, at each of its thresholds.
        hours: energy of that network, of the int8 one and of the narrow one.
    """

    phrase: Phrase
    frames: int
    evaluations: tuple[Evaluation, ...]
    recipes: tuple[Evaluation, ...]
    sizes: tuple[Size, ...]
    exits: tuple[ExitPoint, ...]
    hours: tuple[Hour, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "phrase": self.phrase.text,
            "sounds": self.phrase.sounds,
            "window_frames": self.frames,
            "evaluations": [one.as_json() for one in self.evaluations],
            "recipes": [one.as_json() for one in self.recipes],
            "sizes": [one.as_json() for one in self.sizes],
            "exits": [one.as_json() for one in self.exits],
            "hours": [one.as_json() for one in self.hours],
        }


@dataclass(frozen=True)
class Trained(Networks):
    """The result of a training.

    Attributes:
        folder: of all files.
        demo: held-out voices on the board, see `held_out_scenes`.
        steps, differing: number of inferences there, and of those whose code differs from the integer semantics.
        seconds: wall time of each stage.
    """

    folder: Path
    demo: WakewordDemo
    steps: int
    differing: int
    seconds: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        demo = self.demo.as_json()
        demo.pop("probabilities")
        return {
            **super().as_json(),
            "demonstration": {
                "steps": self.steps,
                "steps_that_differ_from_semantics": self.differing,
                **demo,
            },
            "wall_seconds": dict(self.seconds),
        }


@dataclass(frozen=True)
class TrainOptions:
    """How a wake word is trained.

    Attributes:
        board: for the firmware.
        amount: FULL or QUICK.
        seed: equal seeds give equal data sets and networks.
        toolchain: see `BuildOptions`.
        force: whether to replace files of an earlier training that have been changed, see `tinygen.builds.folder`.
        recipes: of REGIMES (`tinygen.apps.digits.lowbit`); the network is trained further by each.
        exits: whether to train a network with an exit, and a narrow one without.
    """

    board: str = "f746zg"
    amount: Amount = FULL
    seed: int = 0
    toolchain: str | None = None
    force: bool = False
    recipes: tuple[str, ...] = ()
    exits: bool = False


DEFAULTS = TrainOptions()


def train_wakeword(text: str, out: Path, options: TrainOptions = DEFAULTS, watcher: Watcher = NOBODY) -> Trained:
    """Synthesises data for a custom wake word, then trains, evaluates, builds and demonstrates it.

    Writes into `out`: `dataset/` (kept: another run takes it up), `model.tg`, `switchable.tg` and one for each recipe
    (`w2a2.tg`) with microWakeWord's JSON beside them, `det.png`, `report.json`, `firmware/`, `held_out.wav` (what was
    played to it).

    Args:
        text: the phrase.
        out: a folder that is empty, does not exist, or is of an earlier training.
        options: how much, and for which board.
        watcher: gets progress, see `demo_wakeword`; `until` is not used.

    Raises:
        TinygenError: the phrase cannot be trained; the folder holds foreign files, or cannot be written; an extra is
            missing.
    """
    phrase = read_phrase(text)
    check_matplotlib()
    require_runtime(load_board(options.board))
    amount, seed, progress = options.amount, options.seed, watcher.progress
    target = Folder(out, _RECORD, force=options.force)
    _check_folder(target)
    clock = _Clock()
    with clock.stage("data set"), _emptied(out):
        scenes = _scenes(phrase, amount, out / DATASET, seed, progress)
    frames = window_frames(phrase)
    with writing(out), temporary_folder(out) as work:
        training = Segments(Scenes.joined(list(scenes[Part.TRAIN].values())), frames)
        networks = _networks(phrase, training, options, clock, progress)
        with clock.stage("evaluation"):
            evaluations = _evaluations(networks, scenes, work, progress)
        _write_models(phrase, networks, evaluations, work)
        shown, recipes = _apart(evaluations)
        (work / DET).write_bytes(det_picture(shown, f"{phrase.text!r}, held-out voices"))
        with clock.stage("sizes"):
            sizes = sizes_in(work, (_MODEL, _SWITCHABLE), amount.boards, progress)
        points, hours = _exits(phrase, training, options, Work(scenes, work, clock, progress))
        played = held_out_scenes(phrase, seed=seed)
        samples = np.concatenate([scene.samples for scene in played])
        write_wav(work / WAV, samples, SAMPLE_RATE_HZ)
        files = {path.name: path.read_bytes() for path in work.iterdir() if path.is_file()}
    # Written before the demonstration, which may fail, since training takes long.
    target.write(Networks(phrase, frames, shown, recipes, sizes, points, hours).as_json(), files)
    with clock.stage("firmware and demonstration"):
        demo = demo_wakeword(
            options.board,
            out / FIRMWARE,
            DemoOptions(
                model=str(out / f"{_MODEL}.tg"), played=played, toolchain=options.toolchain, force=options.force
            ),
            replace(watcher, until=NOBODY.until),
        )
    codes = semantic_codes(networks[_MODEL].first, samples)
    heard = [event.codes[0] for event in demo.report.events if event.ran]
    differing = abs(len(codes) - len(heard)) + sum(a != b for a, b in zip(codes, heard, strict=False))
    result = Trained(
        phrase, frames, shown, recipes, sizes, points, hours, out, demo, len(codes), differing, clock.seconds
    )
    target.write(result.as_json(), files)
    return result


def _check_folder(target: Folder) -> None:
    """
    Raises:
        TinygenError: the path is a file, the folder cannot be written, or it holds foreign files.
    """
    target.check()
    dataset = target.out / DATASET
    foreign = [path for path in dataset.iterdir() if not _CACHED.fullmatch(path.name)] if dataset.is_dir() else []
    if foreign:
        what = f"holds files that are not an earlier training, {first_file(target.out, foreign)} for one"
        raise TinygenError(what, where=str(target.out), fix="Choose an empty or new directory.")
    Folder(target.out / FIRMWARE, BUILD, force=target.force).check()


@contextmanager
def _emptied(out: Path) -> Iterator[None]:
    """A context that removes empty folders if the block fails."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the folder is not empty, or does not exist
            (out / DATASET).rmdir()
            out.rmdir()
        raise


class _Clock:
    """Wall time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begin


SceneSets = Mapping[Part, Mapping[str, Scenes]]


def _scenes(phrase: Phrase, amount: Amount, cache: Path, seed: int, progress: Progress | None) -> SceneSets:
    return {
        part: {
            mix: load_scenes(phrase, Wanted(part, mix, count), cache, seed=seed, progress=progress)
            for mix, count in counts.items()
        }
        for part, counts in amount.scenes.items()
    }


def _networks(
    phrase: Phrase, segments: Segments, options: TrainOptions, clock: _Clock, progress: Progress | None
) -> dict[str, Network]:
    """The int8 network, the switchable one, and one for each recipe, step by step; by the names of their files."""
    # Imported here: torch is an extra, and takes seconds to import.
    from tinygen.apps.wakeword.export import int8_stream, recipe_stream, switchable_stream
    from tinygen.apps.wakeword.training import calm, train_float, train_recipe, train_switches

    effort, seed = options.amount.effort, options.seed
    network = float_network(segments.frames, seed=seed)
    with clock.stage("training in float"):
        train_float(network, segments, effort, seed=seed, progress=progress)
    with clock.stage("training the switches"):
        switches = train_switches(network, segments, effort, seed=seed, progress=progress)
    few = {}
    with clock.stage("training recipes"):
        for recipe in options.recipes:
            few[recipe] = train_recipe(network, recipe, segments, effort, seed=seed, progress=progress)
    narrow = float_network(segments.frames, NARROW, seed=seed)
    if options.exits:
        with clock.stage("training a narrow network"):
            train_float(narrow, segments, effort, seed=seed, progress=progress)
    for trained in (network, switches, narrow, *few.values()):
        calm(trained, segments)
    windows = _calibration(segments, seed)
    name = c_name(phrase.text.replace("'", ""))
    with clock.stage("export"):
        found = {
            _MODEL: int8_stream(network, windows, name=name),
            _SWITCHABLE: switchable_stream(switches, windows, name=f"{name}_switches"),
        }
        if options.exits:
            found[_NARROW] = int8_stream(narrow, windows, name=f"{name}_narrow")
        for recipe, trained in few.items():
            found[recipe] = recipe_stream(trained, windows, name=c_name(f"{name}_{recipe}"))
    return found


def _calibration(segments: Segments, seed: int) -> np.ndarray:
    """Windows for calibration: half of them end just after the phrase, so that the range includes its logits."""
    rng = np.random.default_rng([seed, 2])
    half = _CALIBRATION // 2
    places = [*segments.behind_phrase(half, rng), *segments.anywhere(half, rng)]
    return np.stack([segments.scenes.codes[scene, start : start + segments.frames] for scene, start in places])


@dataclass(frozen=True)
class Work:
    """Inputs of a training.

    Attributes:
        scenes: by part and mix.
        folder: for networks and builds.
        clock: measures stages.
        progress: called with (what, done, of).
    """

    scenes: SceneSets
    folder: Path
    clock: _Clock
    progress: Progress | None


def _exits(
    phrase: Phrase, segments: Segments, options: TrainOptions, work: Work
) -> tuple[tuple[ExitPoint, ...], tuple[Hour, ...]]:
    """Trains a network with an exit, writes it to the folder and determines its energy; empty if not requested."""
    if not options.exits:
        return (), ()
    from tinygen.apps.wakeword.exits import ExitNetwork, int8_exit
    from tinygen.apps.wakeword.export import spanning
    from tinygen.apps.wakeword.training import as_tensor, calm, train_exits

    network = ExitNetwork(segments.frames, seed=options.seed)
    with work.clock.stage("training an exit"):
        train_exits(network, segments, options.amount.effort, seed=options.seed, progress=work.progress)
    calm(network, segments)
    windows = as_tensor(spanning(_calibration(segments, options.seed)))
    found = int8_exit(network, windows, name=c_name(phrase.text.replace("'", "") + "_exit"))
    sound = Sound(work.scenes[Part.VALIDATION], work.scenes[Part.HELD_OUT])
    with work.clock.stage("exits"):
        points = exit_points(found, sound, work.folder / "host", work.progress)
        networks, evaluations = {_EXIT: found.stream(points[USUAL].code)}, {_EXIT: (points[USUAL].evaluation,)}
        _write_models(phrase, networks, evaluations, work.folder)
        return points, hours_in(work.folder, (_MODEL, _NARROW, _EXIT), points, options.amount.listening)


def _evaluations(
    networks: Mapping[str, Network], scenes: SceneSets, work: Path, progress: Progress | None
) -> dict[str, tuple[Evaluation, ...]]:
    """Evaluations of every graph of each network."""
    sound = Sound(scenes[Part.VALIDATION], scenes[Part.HELD_OUT])
    total = sum(len(network.switches) for network in networks.values())
    found: dict[str, tuple[Evaluation, ...]] = {}
    done = 0
    for file, network in networks.items():
        own = {_MODEL: "int8"}.get(file, file)
        of_network = []
        for switch in network:
            name = switch.name if network.is_switchable else own
            of_network.append(evaluate(name, switch.graph, sound, work / "host" / f"{file}-{name}"))
            done += 1
            if progress:
                progress("evaluating", done, total)
        found[file] = tuple(of_network)
    return found


def _apart(
    evaluations: Mapping[str, tuple[Evaluation, ...]],
) -> tuple[tuple[Evaluation, ...], tuple[Evaluation, ...]]:
    """(evaluations of the int8 network and the switches, evaluations of the recipes)."""
    usual = (*evaluations[_MODEL], *evaluations[_SWITCHABLE])
    return usual, tuple(one for file, (one, *_) in evaluations.items() if file not in (_MODEL, _SWITCHABLE))


def _write_models(
    phrase: Phrase, networks: Mapping[str, Network], evaluations: Mapping[str, Sequence[Evaluation]], work: Path
) -> None:
    for file, network in networks.items():
        save_tg(network, work / f"{file}.tg")
        content = _model_json(phrase, f"{file}.tg", evaluations[file])
        (work / f"{file}.json").write_text(json.dumps(content, indent=2) + "\n")


def _model_json(phrase: Phrase, model: str, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """microWakeWord's JSON, version 2, without fields for ESPHome only, and with a cutoff for each switch."""
    cutoffs = {one.name: one.chosen.cutoff for one in evaluations}
    switches = {"switch_cutoffs": cutoffs} if len(cutoffs) > 1 else {}
    return {
        "type": "micro",
        "wake_word": phrase.text,
        "model": model,
        "trained_languages": list(phrase.languages),
        "version": 2,
        "micro": {
            "probability_cutoff": evaluations[0].chosen.cutoff,
            "feature_step_size": 10,
            "sliding_window_size": SLIDING_WINDOW,
        },
        "features": CONFIG.as_json(),
        **switches,
    }


def semantic_codes(graph: Graph, samples: np.ndarray) -> list[int]:
    """Outputs of a streaming graph for a sound by the integer semantics; the first step has the first frames."""
    stream = Stream(graph)
    frames = feature_codes(samples)
    steps = frames[: len(frames) // HOP * HOP].reshape(-1, 1, HOP, 1, frames.shape[1])
    return [int(stream.step([step])[0].item()) for step in steps]
