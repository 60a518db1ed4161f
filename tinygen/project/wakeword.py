"""Application `wakeword`: the integer parameters of a model for firmware/wakeword.

Probabilities are pymicro-wakeword's (`MicroWakeWord.process_streaming_prob`): an output's code is dequantized in
float32; their mean is `statistics.mean`, exact and then rounded to a double; it is a detection when that is above the
cutoff.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinygen.emit.ctext import comment_safe
from tinygen.emit.templates import environment
from tinygen.errors import BoardError, TinygenError, UnsupportedError
from tinygen.ir.encodings import Affine, Encoding
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Program
from tinygen.project.application import Application
from tinygen.targets.uart_rates import uart_rates
from tinygen.version import VERSION

if TYPE_CHECKING:
    from tinygen.audio.emit import FeatureConfig
    from tinygen.targets.board import Board

CONFIG = "wakeword/wakeword_config.h"
"""File in a project that marks its firmware as this application's."""
LONGEST_WINDOW = 4096
MIC, I2S = LISTENS = ("mic", "i2s")
"""Sources of sound that a firmware may listen to without a computer."""


@dataclass(frozen=True)
class WakewordApp(Application):
    """The wake words that a firmware detects.

    Attributes:
        cutoff: a word is detected where the mean of the last `sliding_window` probabilities is above it; above 0,
            below 1.
        switch_cutoffs: the same for switches (by name) that need another cutoff; others take `cutoff`.
        sliding_window: number of averaged probabilities, at least 1.
        features: parameters of the front end whose features are the model's input.
        wake_word: the word that a model with one output detects.
        labels: of the outputs, for a model with several; () for one.
        ignored: labels that do not count as detections, such as silence.
        step_frames: number of new frames at each inference. A streaming model takes all of its input as new; for one
            over a window of frames None means a quarter of them.
        listens: "mic": by itself, from the start, to the board's own microphone; "i2s": to a board that plays over I2S,
            as MLPerf Tiny's streaming benchmark has it; None: when a computer says so.

    Raises:
        TinygenError: a value is out of range.
    """

    size_group: ClassVar[str] = "wake word"

    cutoff: float
    sliding_window: int
    features: FeatureConfig
    wake_word: str = "wake word"
    labels: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    step_frames: int | None = None
    listens: str | None = None
    switch_cutoffs: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for cutoff in (self.cutoff, *self.switch_cutoffs.values()):
            if not 0 < cutoff < 1:
                raise TinygenError(f"a cutoff of {cutoff:g} cannot be", fix="Give one above 0 and below 1.")
        if not 1 <= self.sliding_window <= LONGEST_WINDOW:
            what = f"a sliding window of {self.sliding_window} inferences cannot be"
            raise TinygenError(what, fix=f"Give 1 to {LONGEST_WINDOW}.")
        if self.step_frames is not None and self.step_frames < 1:
            raise TinygenError(f"a step of {self.step_frames} frames cannot be", fix="Give at least 1.")
        if self.listens not in (None, *LISTENS):
            fix = "Give --listen mic or --listen i2s, or leave it out."
            raise TinygenError(f"nothing can be listened to by '{self.listens}'", fix=fix)
        unknown = [name for name in self.ignored if name not in self.labels]
        if unknown:
            raise TinygenError(f"'{unknown[0]}' is to be ignored, and is no label", fix=f"Labels: {self.labels}.")

    def check(self, board: Board) -> None:
        check_microphone(self, board)

    def check_model(self, network: NetworkProgram) -> None:
        plan_wakeword(self, network)

    def write(self, network: NetworkProgram, board: Board, folder: Path) -> dict[str, Any]:
        plan = plan_wakeword(self, network)
        bauds = uart_rates(board)
        emit_wakeword(self, plan, input_encoding(network), bauds, folder)
        return self.as_json() | {
            "labels": plan.labels,
            "frames": plan.frames,
            "step_frames": plan.step,
            "cutoff_sums": plan.cutoff_sums,
            "sample_rate_hz": self.features.sample_rate_hz,
            "hop_samples": self.features.hop_samples,
            "window_samples": self.features.window_samples,
            "channels": self.features.channels,
            "bauds": tuple(bauds),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.labels or (self.wake_word,)

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "kind": "wakeword",
            "wake_word": self.wake_word,
            "cutoff": self.cutoff,
            "switch_cutoffs": dict(self.switch_cutoffs),
            "sliding_window": self.sliding_window,
            "labels": self.labels,
            "ignored": self.ignored,
            "features": self.features.as_json(),
            "listens": self.listens,
        }


@dataclass(frozen=True)
class WakewordPlan:
    """The application's parameters for one model.

    Attributes:
        frames: number of frames in the model's input; step: number of new ones at each inference.
        channels: number of features per frame.
        input_bytes: of the model's input.
        labels: of the outputs.
        window: inferences whose probabilities are averaged.
        cutoff_sums: for each switch and output, the least sum of the codes of a window that is a detection; None:
            never.
        cutoffs: the cutoff of each switch, as a probability.
        output: encoding of the outputs.
    """

    frames: int
    step: int
    channels: int
    input_bytes: int
    labels: tuple[str, ...]
    window: int
    cutoff_sums: tuple[tuple[int | None, ...], ...]
    cutoffs: tuple[float, ...]
    output: Affine

    @property
    def ctype(self) -> str:
        """C type of an output code."""
        return ctype(self.output.dtype)

    @property
    def zero_point(self) -> int:
        return self.output.zero_point[0]

    @property
    def scale(self) -> float:
        return self.output.scale[0]


def plan_wakeword(app: WakewordApp, network: NetworkProgram) -> WakewordPlan:
    """Plans how a model listens.

    Raises:
        TinygenError: its input is none of these features, its outputs are none of these labels, or the cutoff falls
            where rounding decides.
    """
    program = network.first
    _check_switches(network)
    frames = _frames(app, program)
    if len(program.outputs) != 1:
        raise UnsupportedError(
            f"the model has {len(program.outputs)} outputs; a wake word has one", where=_name(program)
        )
    output = program.outputs[0]
    encoding = output.encoding
    if not isinstance(encoding, Affine) or encoding.per_channel or encoding.storage not in ("int8", "uint8"):
        raise UnsupportedError(
            f"the output is {encoding}; a probability is averaged as int8 or uint8",
            where=_name(program),
            fix="Quantize the model, its output too.",
        )
    if output.size != len(app.names):
        raise TinygenError(
            f"the model has {output.size} outputs, and {len(app.names)} label{'s' * (len(app.names) != 1)}",
            where=_name(program),
            fix='Name each in the JSON: "labels": ["silence", "yes", ...].',
        )
    cutoffs = _cutoffs(app, network)
    sums = tuple(_cutoff_sums(app, cutoff, encoding) for cutoff in cutoffs)
    step = _step(app, frames, program.graph.is_stream)
    size = program.inputs[0].nbytes
    channels, window = app.features.channels, app.sliding_window
    return WakewordPlan(frames, step, channels, size, app.names, window, sums, cutoffs, encoding)


def check_microphone(app: WakewordApp, board: Board) -> None:
    """Checks that a board has the microphone or I2S port that an application listens to without a computer.

    Raises:
        BoardError: it has none, or one of another rate.
    """
    if app.listens is None:
        return
    if app.listens == I2S and board.stream_pins is None:
        fix = "Take a board whose file has `stream_pins:`, or leave --listen out."
        raise BoardError("has no I2S port and pins for another board that plays", where=board.name, fix=fix)
    if board.microphone is None:
        fix = "Take a board whose file has `microphone:`, or leave --listen out."
        raise BoardError("has no microphone to listen to by itself", where=board.name, fix=fix)
    rate = board.microphone.sample_rate_hz
    if rate != app.features.sample_rate_hz:
        raise BoardError(
            f"its microphone runs at {rate} Hz, and the features are of {app.features.sample_rate_hz} Hz",
            where=board.name,
            fix="Change `sample_rate_hz` in the board's file, or take other features.",
        )


def _cutoffs(app: WakewordApp, network: NetworkProgram) -> tuple[float, ...]:
    """Cutoffs of each switch."""
    unknown = sorted(set(app.switch_cutoffs) - set(network.names))
    if unknown:
        raise TinygenError(
            f"there is a cutoff for the switch '{unknown[0]}', which the model has not",
            where=_name(network.first),
            fix=f"It has: {', '.join(network.names)}.",
        )
    return tuple(app.switch_cutoffs.get(name, app.cutoff) for name in network.names)


def _cutoff_sums(app: WakewordApp, cutoff: float, encoding: Affine) -> tuple[int | None, ...]:
    """Cutoff sums of each output."""
    least = cutoff_sum(cutoff, app.sliding_window, encoding)
    return tuple(None if name in app.ignored else least for name in app.names)


def _name(program: Program) -> str:
    return f"model '{program.graph.name}'"


def _check_switches(network: NetworkProgram) -> None:
    ends = [(p.inputs[0].encoding, p.outputs[0].encoding) for p in network.programs]
    if any(end != ends[0] for end in ends):
        raise UnsupportedError(
            "its switches have inputs or outputs of different scales",
            where=_name(network.first),
            fix="Features and cutoff are made for one.",
        )


def input_encoding(network: NetworkProgram) -> Encoding:
    """Encoding of the model's first input."""
    return network.first.inputs[0].encoding


def _frames(app: WakewordApp, program: Program) -> int:
    if len(program.inputs) != 1:
        raise UnsupportedError(f"the model has {len(program.inputs)} inputs; features are one", where=_name(program))
    shape = program.inputs[0].shape
    channels = app.features.channels
    dims = [n for n in shape if n != 1] or [1]
    if dims[-1] != channels or len(dims) > 2:
        raise TinygenError(
            f"the model's input is {shape}, not frames of {channels} features",
            where=_name(program),
            fix=f"A wake word takes (1, frames, {channels}), with other dimensions of 1; do its features fit?",
        )
    frames = program.inputs[0].size // channels
    _check_clip(app, frames, program)
    return frames


def _check_clip(app: WakewordApp, frames: int, program: Program) -> None:
    """Checks that features normalised to a clip's peak keep as many frames as the model takes."""
    from tinygen.audio.mfcc_config import MfccConfig

    features = app.features
    if isinstance(features, MfccConfig) and features.level == "peak" and features.frames != frames:
        raise TinygenError(
            f"the model takes {frames} frames at once, and the features' peak is that of {features.frames}",
            where=_name(program),
            fix=f'Give the features in the JSON "frames": {frames}, or "level": "full_scale".',
        )


def _step(app: WakewordApp, frames: int, is_streaming: bool) -> int:
    step = app.step_frames
    if step is None:
        return frames if is_streaming else max(frames // 4, 1)
    if step > frames or (is_streaming and step != frames):
        fix = f"A streaming model takes {frames} at once." if is_streaming else f"Give at most {frames}."
        raise TinygenError(f"a step of {step} frames cannot be", fix=fix)
    return step


def cutoff_sum(cutoff: float, window: int, encoding: Affine) -> int:
    """The smallest sum of `window` codes whose mean probability is above the cutoff.

    Raises:
        TinygenError: there is none; or two windows of the same sum lie on different sides, as float32 rounds their
            probabilities differently.
    """
    low, high = encoding.code_range
    zero, scale = encoding.zero_point[0], Fraction(float(np.float32(encoding.scale[0])))
    probabilities = _dequantized(encoding)
    error = max(
        abs(Fraction(p) - (code - zero) * scale) for code, p in zip(range(low, high + 1), probabilities, strict=True)
    )

    def least(shift: Fraction) -> int:
        """The smallest sum if all probabilities are off by `shift`. The mean increases with the sum, so bisection finds
        it.
        """
        below, above = window * low - 1, window * high + 1
        while above - below > 1:
            middle = (below + above) // 2
            mean = float(scale * (middle - window * zero) / window + shift)
            below, above = (below, middle) if mean > cutoff else (middle, above)
        return above

    earliest, latest = least(error), least(-error)
    if latest > window * high:
        most = max(probabilities)
        raise TinygenError(f"no probability is above the cutoff {cutoff:g}", fix=f"The highest is {most:g}.")
    if earliest != latest:
        raise TinygenError(
            f"whether sums are above the cutoff {cutoff:g} depends on how float32 rounds",
            where="the model's output",
            fix="Give a cutoff that is a millionth higher or lower.",
        )
    return latest


def _dequantized(encoding: Affine) -> list[float]:
    """The probability of each code in float32, as in pymicro-wakeword."""
    low, high = encoding.code_range
    codes = np.arange(low, high + 1, dtype=np.float32)
    real = (codes - np.float32(encoding.zero_point[0])) * np.float32(encoding.scale[0])
    return [float(value) for value in real]


def emit_wakeword(app: WakewordApp, plan: WakewordPlan, encoding: Encoding, bauds: Sequence[int], folder: Path) -> None:
    """Writes the features' C and the application's constants under `folder`, a project.

    Args:
        encoding: of the model's input.
        bauds: rates that the board's UART can reach.
    """
    from tinygen.audio.emit import emit_features

    emit_features(app.features, encoding, folder)
    title = "Words" if app.labels else f"'{app.wake_word}'"
    context = {
        "plan": plan,
        "cutoffs": [repr(cutoff) for cutoff in plan.cutoffs],
        "title": comment_safe(title),
        "labels": comment_safe(", ".join(plan.labels)),
        "bauds": bauds,
        "listens": app.listens == MIC,
        "streams": app.listens == I2S,
        "hop_samples": app.features.hop_samples,
        "words": [c_string(name) for name in plan.labels],
        "thousandths": round(Fraction(float(np.float32(plan.scale))) * 1000 / plan.window * 2**32),
        "version": VERSION,
    }
    path = folder / CONFIG
    path.parent.mkdir(parents=True, exist_ok=True)
    text = environment().get_template("wakeword/wakeword_config.h.j2").render(context)
    path.write_text(text, encoding="utf-8", newline="\n")


def c_string(text: str) -> str:
    """A C string literal of one line of text in UTF-8; line breaks become spaces."""
    line = "".join(c if c.isprintable() else " " for c in text)
    plain = set(string.ascii_letters + string.digits + " _-.,!'")
    codes = line.encode("utf-8")
    return '"' + "".join(chr(b) if chr(b) in plain else f"\\{b:03o}" for b in codes) + '"'
