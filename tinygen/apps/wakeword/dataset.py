"""The data set: scenes as codes of the network's input, made by two processes and kept in a folder.

A folder holds files of ten scenes each, named by a digest of their inputs. An interrupted run is continued, and
partly written files are never used.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tinygen.apps.wakeword.features import CONFIG, feature_codes
from tinygen.apps.wakeword.near_misses import near_misses
from tinygen.apps.wakeword.parts import Part, voices_of
from tinygen.apps.wakeword.phrase import ENGLISH, Phrase
from tinygen.apps.wakeword.scenes import MIXES, MORE_VARIED, SECONDS, Cast, Kind, Scene, Variety, make_scene
from tinygen.audio.speech import variants
from tinygen.errors import TinygenError
from tinygen.files import write_file as write_whole
from tinygen.files import writing
from tinygen.processes import serve_parent

Progress = Callable[[str, int, int], None]
PROCESSES = 2
SCENES_PER_FILE = 10
_VERSION = 3
"""Of what is in the files: scenes of another version are made anew."""


@dataclass(frozen=True)
class Wanted:
    """A request for scenes of a part.

    Attributes:
        part: of the voices and texts.
        mix: the name of a mix in MIXES.
        scenes: number of scenes, of SECONDS each; rounded up to whole files.
    """

    part: Part
    mix: str
    scenes: int

    @property
    def files(self) -> int:
        return -(-self.scenes // SCENES_PER_FILE)

    @property
    def label(self) -> str:
        return f"{self.part.value}: {self.mix}"


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes as inputs of the network.

    Attributes:
        codes: int8 [scenes, frames, channels].
        said: int64 [n, 4]: the scene, the Kind, and the frames in which each utterance begins and ends.
        snr_db: float64 [scenes]; NaN in scenes without speech.
    """

    codes: np.ndarray
    said: np.ndarray
    snr_db: np.ndarray

    def of_kind(self, kind: Kind) -> np.ndarray:
        """int64 [n, 3]: for each utterance of a kind the scene and the frames in which it begins and ends."""
        return self.said[self.said[:, 1] == kind][:, [0, 2, 3]]

    @property
    def hours(self) -> float:
        return len(self.codes) * SECONDS / 3600

    @staticmethod
    def joined(parts: Sequence[Scenes]) -> Scenes:
        """The scenes of all parts, concatenated."""
        starts = np.cumsum([0, *(len(part.codes) for part in parts)])
        moved = [part.said + np.array([start, 0, 0, 0]) for part, start in zip(parts, starts, strict=False)]
        return Scenes(
            np.concatenate([part.codes for part in parts]),
            np.concatenate(moved),
            np.concatenate([part.snr_db for part in parts]),
        )


def cast_of(phrase: Phrase, part: Part) -> Cast:
    """The speakers and texts of a part.

    Raises:
        TinygenError: espeak-ng's data lacks timbres for it.
    """
    timbres = variants()
    speakers = voices_of(part, phrase.languages, timbres)
    if not speakers:
        raise TinygenError(
            f"espeak-ng has {len(timbres)} variants here, none of which falls to the {part.value} voices",
            fix="Install espeakng-loader anew: pip install --force-reinstall espeakng-loader.",
        )
    variety = MORE_VARIED if part is Part.TRAIN else Variety()
    return Cast(phrase.text, speakers, voices_of(part, ENGLISH, timbres), near_misses(phrase, part), variety)


def load_scenes(phrase: Phrase, wanted: Wanted, cache: Path, *, seed: int, progress: Progress | None = None) -> Scenes:
    """The scenes of a part; those in the cache are not made again.

    Args:
        phrase: what is to be recognised.
        wanted: which scenes.
        cache: a folder, created if it does not exist.
        seed: of the scenes; voices and texts do not depend on it.
        progress: called with (what, done, of).

    Raises:
        TinygenError: the cache cannot be written, or a file in it is damaged; speech cannot be synthesised.
    """
    cast = cast_of(phrase, wanted.part)
    paths = [cache / f"{_key(cast, wanted, seed, index)}.npz" for index in range(wanted.files)]
    missing = [index for index, path in enumerate(paths) if not path.is_file()]
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
    jobs = [(cast, wanted, seed, index, paths[index]) for index in missing]
    for done, _ in enumerate(_in_processes(jobs), wanted.files - len(missing) + 1):
        if progress:
            progress(wanted.label, done, wanted.files)
    return _cut(Scenes.joined([_read(path) for path in paths]), wanted.scenes)


def _cut(scenes: Scenes, count: int) -> Scenes:
    kept = scenes.said[scenes.said[:, 0] < count]
    return Scenes(scenes.codes[:count], kept, scenes.snr_db[:count])


def _key(cast: Cast, wanted: Wanted, seed: int, index: int) -> str:
    """A digest of all inputs of a file, so that a file of another phrase or other parameters is never used."""
    content = [_VERSION, asdict(cast), wanted.part.value, asdict(MIXES[wanted.mix]), seed, index]
    content.append(CONFIG.as_json())
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


Job = tuple[Cast, Wanted, int, int, Path]


def _in_processes(jobs: Sequence[Job]) -> Iterator[None]:
    """Writes the files in several processes. If the caller stops, files in progress are finished and no others begun.

    Raises:
        TinygenError: a process was killed.
    """
    if len(jobs) < 2:
        for job in jobs:
            write_file(job)
            yield
        return
    # Spawned: what the parent has loaded (torch with its threads) does not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=serve_parent)
    try:
        for future in as_completed([pool.submit(write_file, job) for job in jobs]):
            future.result()
            yield
    except BrokenProcessPool as error:
        fix = "Perhaps memory ran out. Run again: what is finished is kept."
        raise TinygenError("a process that makes scenes was killed", fix=fix) from error
    finally:
        pool.shutdown(cancel_futures=True)


def write_file(job: Job) -> None:
    """Makes ten scenes and writes them as one file."""
    cast, wanted, seed, index, path = job
    kind = [list(Part).index(wanted.part), list(MIXES).index(wanted.mix)]
    made = [
        _heard(make_scene(cast, MIXES[wanted.mix], np.random.default_rng([seed, *kind, index, number])), number)
        for number in range(SCENES_PER_FILE)
    ]
    _write(path, Scenes.joined(made))


def _heard(scene: Scene, number: int) -> Scenes:
    """A scene as feature codes."""
    codes = feature_codes(scene.samples)
    said = [(0, one.kind, _frame(one.first), _frame(one.end)) for one in scene.said]
    snr = np.nan if scene.snr_db is None else scene.snr_db
    return Scenes(codes[None], np.array(said, np.int64).reshape(-1, 4), np.array([snr]))


def _frame(sample: int) -> int:
    """The first frame whose window ends at that sample or later."""
    return max(0, -(-(sample - CONFIG.window_samples) // CONFIG.hop_samples))


def _write(path: Path, scenes: Scenes) -> None:
    """Writes a file atomically."""
    content = io.BytesIO()
    np.savez(content, codes=scenes.codes, said=scenes.said, snr_db=scenes.snr_db)
    write_whole(path, content.getvalue())


def _read(path: Path) -> Scenes:
    """
    Raises:
        TinygenError: the file is damaged.
    """
    try:
        with np.load(path) as arrays:
            return Scenes(arrays["codes"], arrays["said"], arrays["snr_db"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise TinygenError("is damaged", where=str(path), fix="Delete it, and run again: it is made anew.") from error


def total_hours(scenes: Iterable[Scenes]) -> float:
    """Total duration of the scenes in hours."""
    return sum(part.hours for part in scenes)
