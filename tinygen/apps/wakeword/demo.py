"""`tinygen demo wakeword`: firmware that listens for a word, built, started, and played to over its serial port."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.audio import microphone as computers_microphone
from tinygen.audio.models import bundled
from tinygen.audio.scenes import Scene, scenes
from tinygen.audio.wav import read_wav, write_wav
from tinygen.builds.manifest import Manifest
from tinygen.errors import TinygenError
from tinygen.files import check_new_file
from tinygen.hil.audio import HopEvent
from tinygen.hil.device import require_runtime
from tinygen.hil.ports import is_line_to_hardware, is_place, port_path
from tinygen.project.wakeword_json import wakeword_app_from_json
from tinygen.targets.board import Board
from tinygen.targets.boards import load_board
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.flash import FlashOptions, flash
from tinygen.verbs.listen import Detection, ListenReport, listen

Progress = Callable[[str, int, int], None]
OnHop = Callable[[HopEvent, float, str], None]
"""(event, probability, name of the scene)."""
DEFAULT_MODEL = "okay_nabu"


@dataclass(frozen=True)
class HeardScene:
    """A scene with the board's detections.

    Attributes:
        scene: what was played.
        start_seconds: from the beginning of the sound; an inference belongs to the scene that its last hop lies in.
        peak: highest probability; None if no inference belongs to the scene.
        detections: of the word.
    """

    scene: Scene
    start_seconds: float
    peak: float | None
    detections: tuple[Detection, ...]

    @property
    def is_right(self) -> bool | None:
        """Whether the word was detected where it is, and nowhere else; None where nobody knows."""
        return None if self.scene.has_word is None else bool(self.detections) == self.scene.has_word

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.scene.name,
            "start_seconds": self.start_seconds,
            "seconds": self.scene.seconds,
            "has_word": self.scene.has_word,
            "peak": self.peak,
            "detected": bool(self.detections),
            "right": self.is_right,
        }


@dataclass(frozen=True)
class WakewordDemo:
    """A demonstration.

    Attributes:
        model: file that was built.
        runtime: what stands for the board, in one sentence.
        report: of all sound.
        heard: scene by scene.
    """

    model: Path
    runtime: str
    report: ListenReport
    heard: tuple[HeardScene, ...]

    @property
    def manifest(self) -> Manifest:
        return self.report.manifest

    @property
    def as_expected(self) -> bool:
        """Whether detections are right in every scene."""
        return all(one.is_right is not False for one in self.heard)

    def as_json(self) -> dict[str, Any]:
        content = self.report.as_json()
        content.pop("events")
        return {
            "board": self.manifest.board,
            "runtime": self.runtime,
            "model": str(self.model),
            "cutoff": self.report.app.cutoff,
            **content,
            "scenes": [one.as_json() for one in self.heard],
            "as_expected": self.as_expected,
            "flash_bytes": self.manifest.flash_bytes,
            "ram_bytes": self.manifest.ram_bytes,
        }


def wakeword_files(model: str) -> tuple[Path, Path]:
    """The TFLite or .tg file and microWakeWord's JSON of a model, by a bundled one's name or its path.

    Raises:
        TinygenError: neither a model nor a file of that name exists.
    """
    path = Path(model)
    if path.suffix:
        if not path.is_file():
            raise TinygenError("there is no such file", where=model, fix=f"Give a model, or a name: {_names()}.")
        return path, path.with_suffix(".json")
    models = bundled()
    if model not in models:
        raise TinygenError(f"there is no wake-word model '{model}'", fix=f"Give a file, or one of: {_names()}.")
    return models[model]


@dataclass(frozen=True)
class DemoOptions:
    """The model and the sound of a demonstration.

    Attributes:
        model: name of a bundled model, or a file with its JSON beside it.
        wav: what is played; None, without `microphone` and `played`: sentences that are synthesised, see `scenes`.
        microphone: play the sound of this computer's microphone.
        played: the scenes to play, at the model's sample rate.
        port: of a real board, which is flashed first; None for the emulated board.
        toolchain, arithmetic: see `BuildOptions`.
        save_wav: where what was played is written, a new file.
        force: replace a file that is there at `save_wav`, and see `build`.
    """

    model: str = DEFAULT_MODEL
    wav: Path | None = None
    microphone: bool = False
    played: Sequence[Scene] | None = None
    port: str | None = None
    toolchain: str | None = None
    arithmetic: str = "reference"
    save_wav: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class Watcher:
    """Callbacks of a demonstration.

    Attributes:
        until: asked before each scene, and each piece from the microphone: whether it is enough.
        progress: of the build, called with (what, done, of).
        on_start: called with `WakewordDemo.runtime` before the sound begins.
        on_hop: called after each hop.
    """

    until: Callable[[], bool] = lambda: False
    progress: Progress | None = None
    on_start: Callable[[str], None] = lambda runtime: None
    on_hop: OnHop = lambda event, probability, scene: None


DEFAULTS, NOBODY = DemoOptions(), Watcher()


def demo_wakeword(board: str, out: Path, options: DemoOptions = DEFAULTS, watcher: Watcher = NOBODY) -> WakewordDemo:
    """Builds the firmware into `out`, starts it, plays sound to it, and returns its detections.

    Args:
        board: see `tinygen boards`.
        out: the build directory.
        options: model and sound.
        watcher: callbacks.

    Raises:
        TinygenError: the model, sound or board does not exist; or the build, flashing or the device failed.
    """
    target, port = load_board(board), options.port
    if options.save_wav is not None:
        check_new_file(options.save_wav, force=options.force)
    if port is None:
        require_runtime(target)
    elif not is_place(port):
        port = port_path(port, target)
    files = wakeword_files(options.model)
    app = wakeword_app_from_json(files[1])
    sound = options.played or _sound(options.wav, options.microphone, app.wake_word, app.features.sample_rate_hz)
    building = BuildOptions(board=board, toolchain=options.toolchain, app=app, arithmetic=options.arithmetic)
    build(files[0], out, building, force=options.force, progress=watcher.progress)
    runtime = _runtime(target, port)
    if port is not None and is_line_to_hardware(port):
        flash(out, FlashOptions(port=port))
    watcher.on_start(runtime)
    tape = _Tape(sound, watcher.until)
    report = listen(
        out,
        tape.pieces(),
        port=port,
        on_event=lambda event, probability: watcher.on_hop(event, probability, tape.scene),
    )
    if options.save_wav is not None:
        write_wav(options.save_wav, tape.played(), app.features.sample_rate_hz)
    return WakewordDemo(files[0], runtime, report, _by_scene(report, tape.scenes()))


def _sound(wav: Path | None, microphone: bool, word: str, rate: int) -> Iterable[Scene]:
    if wav is not None and microphone:
        raise TinygenError("two sounds at once", fix="Give --wav or --mic.")
    if wav is not None:
        return [Scene(wav.name, read_wav(wav, rate), sample_rate_hz=rate)]
    if microphone:
        computers_microphone.check(rate)
        return _from_microphone(rate)
    if rate != 16_000:
        raise TinygenError(f"speech is synthesised at 16000 Hz, the model takes {rate} Hz", fix="Give --wav FILE.")
    return scenes(word)


def _from_microphone(rate: int) -> Iterator[Scene]:
    """Scenes from the microphone, which is opened for the first one, so that it does not record during the build."""
    for piece in computers_microphone.record(rate):
        yield Scene("microphone", piece, sample_rate_hz=rate)


class _Tape:
    """The scenes played so far; successive pieces with the same name are one scene."""

    def __init__(self, sound: Iterable[Scene], until: Callable[[], bool]) -> None:
        self._sound, self._until = sound, until
        self._played: list[Scene] = []

    @property
    def scene(self) -> str:
        """Name of the scene that is being played."""
        return self._played[-1].name if self._played else ""

    def pieces(self) -> Iterator[np.ndarray]:
        for scene in self._sound:
            if self._until():
                return
            self._played.append(scene)
            yield scene.samples

    def played(self) -> np.ndarray:
        return np.concatenate([scene.samples for scene in self._played] or [np.zeros(0, np.int16)])

    def scenes(self) -> Sequence[Scene]:
        if len({scene.name for scene in self._played}) == len(self._played):
            return self._played
        return [replace(self._played[-1], samples=self.played(), has_word=None)]


def _by_scene(report: ListenReport, played: Sequence[Scene]) -> tuple[HeardScene, ...]:
    hop_seconds = report.budget_ms / 1000
    ends = [(event.hop + 1) * hop_seconds for event in report.events if event.ran]
    heard, start = [], 0.0
    for scene in played:
        end = start + scene.seconds
        peaks = [p for p, t in zip(report.probabilities, ends, strict=True) if start < t <= end]
        words = tuple(one for one in report.detections if start < one.seconds <= end)
        heard.append(HeardScene(scene, start, max(peaks, default=None), words))
        start = end
    return tuple(heard)


def _runtime(board: Board, port: str | None) -> str:
    if port is not None and is_line_to_hardware(port):
        return f"{board.title} on {port}: a real board; its cycles are measured."
    if port is not None:
        return f"{board.title} on {port}: whatever is there; its cycles are what it reports."
    if board.is_host:
        return "This computer stands for the board: the firmware is a program here, which listens over a pipe."
    if board.emulator.engine == "qemu":
        return f"{board.title}, emulated by QEMU: no board is needed. Sound goes through its serial port."
    return (
        f"{board.title}, emulated: no board is needed. Its processor and serial port are simulated, and run the very "
        "firmware that would be flashed; sound goes through that port, cycles are predicted."
    )


def _names() -> str:
    try:
        return ", ".join(bundled())
    except TinygenError:
        return "none is installed (pip install 'tinygen[audio]')"
