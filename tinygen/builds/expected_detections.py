"""Expected results of a listener for some sound: front end, integer semantics and averages, hop by hop."""

from __future__ import annotations

import numpy as np

from tinygen.audio.codes import FeatureCodes, checked
from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.audio.micro_frontend import MicroFrontend
from tinygen.ir.interpreter import Stream
from tinygen.ir.network import Network
from tinygen.lowering.network import NetworkProgram
from tinygen.project.exports.listener import ExpectedDetections, check_listener
from tinygen.project.wakeword import WakewordApp, WakewordPlan, input_encoding

_SEED = 19
_MOST_HOPS = 96
_INFERENCES = 3
"""Beyond the first window, if there is room for so much sound."""


def expected_detections(app: WakewordApp, source: Network, program: NetworkProgram) -> ExpectedDetections:
    """Makes a fixed sound and the expected results of the first switch.

    Args:
        source: the network as it was read.
        program: that it was lowered to.

    Raises:
        TinygenError: see `check_listener`.
    """
    plan, config = check_listener(app, program), app.features
    assert isinstance(config, MicroFrontendConfig)
    before = -(-config.window_samples // config.hop_samples)
    wanted = before + plan.frames + plan.step * (plan.window + _INFERENCES)
    sound = _sound(min(wanted, _MOST_HOPS), config.hop_samples)
    frontend, codes = MicroFrontend(config), FeatureCodes(checked(input_encoding(program)))
    semantics = _Semantics(plan, Stream(source.first))
    raw, results = np.zeros((1, config.channels), np.uint16), []
    for hop in sound:
        frames = frontend.process(hop)
        raw = frames if len(frames) else raw
        results.append([*semantics.hop(codes.apply(frames)), _weighted(raw[0])])
    return ExpectedDetections(sound, np.array(results, np.int32))


def _weighted(raw: np.ndarray) -> int:
    """A weighted sum that distinguishes frames."""
    return int(raw.astype(np.int64) @ np.arange(1, raw.size + 1))


def _sound(hops: int, samples: int) -> np.ndarray:
    """Noise that gets louder and stops, twice, so that the features vary."""
    rng = np.random.default_rng(_SEED)
    level = 6000 * np.abs(np.sin(np.linspace(0, 2 * np.pi, hops * samples)))
    return np.round(rng.normal(0, 1, hops * samples) * level).clip(-32768, 32767).astype(np.int16).reshape(hops, -1)


class _Semantics:
    """The reference listener in Python."""

    def __init__(self, plan: WakewordPlan, stream: Stream) -> None:
        self._plan, self._stream = plan, stream
        self._frames: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []

    def hop(self, frames: np.ndarray) -> list[int]:
        """Whether the model ran, whether a word was detected, label, sum; of frames [0 or 1, channels]."""
        plan = self._plan
        self._frames += list(frames)
        ran = len(self._frames) == plan.frames
        if ran:
            graph = self._stream.graph
            shape = graph.tensors[graph.inputs[0]].shape
            (codes,) = self._stream.step([np.stack(self._frames).reshape(shape)])
            self._codes = [*self._codes, codes.reshape(-1).astype(np.int64)][-plan.window :]
            del self._frames[: plan.step]
        sums = np.sum(self._codes, axis=0) if self._codes else np.zeros(len(plan.labels), np.int64)
        label = int(np.argmax(sums))
        cutoff = plan.cutoff_sums[0][label]
        whole = ran and len(self._codes) == plan.window
        return [ran, whole and cutoff is not None and bool(sums[label] >= cutoff), label, int(sums[label])]
