"""A wake word as a library: microWakeWord's front end, the model, and the average that is compared with a cutoff.

The functions of firmware/wakeword on memory of the caller's, so that one program can have several listeners.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tinygen.audio.emit import micro_frontend_files
from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.emit.ctext import array_lines, comment_safe
from tinygen.emit.templates import environment
from tinygen.errors import TinygenError, UnsupportedError
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.program import Io
from tinygen.project.wakeword import WakewordApp, WakewordPlan, c_string, input_encoding, plan_wakeword
from tinygen.version import VERSION

_FEATURES = re.compile(r"\b(features?|FEATURES)_(?=\w)|\bfeatures(?=\.[ch]\b)|(?<=struct )features\b")
"""Names in the front end's C; in a library they are prefixed with the model's name."""


@dataclass(frozen=True, eq=False)
class ExpectedDetections:
    """Sound, and the listener's result for each hop.

    Attributes:
        sound: int16 [hops, samples].
        results: int32 [hops, 5]: whether the model ran, whether a word was detected, label, sum; and of the last frame,
            before it becomes codes, the sum of the features, each times its number from 1.
    """

    sound: np.ndarray
    results: np.ndarray


@dataclass(frozen=True, eq=False)
class Listener:
    """The listening part of a library.

    Attributes:
        files: text of the C by file name.
        headers: those of them that a user includes.
        context: for templates.
        expected: for the example.
    """

    files: Mapping[str, str]
    headers: tuple[str, ...]
    context: Mapping[str, Any]
    expected: ExpectedDetections


def check_listener(app: WakewordApp, network: NetworkProgram) -> WakewordPlan:
    """Plans how a model listens as a library.

    Raises:
        TinygenError: its features are MFCCs, its inputs lie in buffers of the caller, or see `plan_wakeword`.
    """
    if not isinstance(app.features, MicroFrontendConfig):
        what = "a library listens with microWakeWord's features, not with MFCCs"
        raise UnsupportedError(what, where=network.name, fix="Export the model alone: leave out --app.")
    if network.first.io == Io.CALLER:
        raise TinygenError("a listener keeps the model's input itself", where="--io caller", fix="Leave out --io.")
    return plan_wakeword(app, network)


def make_listener(app: WakewordApp, network: NetworkProgram, expected: ExpectedDetections) -> Listener:
    """Generates the C of a listener.

    Raises:
        TinygenError: see `check_listener`.
    """
    plan, name = check_listener(app, network), network.name
    assert isinstance(app.features, MicroFrontendConfig)
    files = {
        _renamed(file, name): _renamed(text, name)
        for file, text in micro_frontend_files(app.features, input_encoding(network)).items()
    }
    context = {
        "name": name,
        "NAME": name.upper(),
        "version": VERSION,
        "plan": plan,
        "title": comment_safe(", ".join(plan.labels)),
        "words": [c_string(word) for word in plan.labels],
        "rate": app.features.sample_rate_hz,
        "hop": app.features.hop_samples,
        "is_switchable": network.is_switchable,
        "keeps": bool(network.kept_bytes),
        "cutoffs": ", ".join(repr(cutoff) for cutoff in plan.cutoffs),
        "zero_sum": plan.window * plan.zero_point,
        "thousandths": round(Fraction(float(np.float32(plan.scale))) * 1000 / plan.window * 2**32),
    }
    for suffix in ("h", "c"):
        text = environment().get_template(f"export/listener.{suffix}.j2").render(context)
        files[f"{name}_listener.{suffix}"] = text
    lines = {
        "hops": len(expected.sound),
        "sound_lines": [array_lines(row) for row in expected.sound],
        "result_lines": [", ".join(map(str, row)) for row in expected.results.tolist()],
    }
    headers = (f"{name}_listener.h", f"{name}_features.h")
    return Listener(files, headers, {**context, **lines}, expected)


def _renamed(text: str, name: str) -> str:
    text = re.sub(r'"audio/features\.h".*', '"features.h"', text)
    return _FEATURES.sub(lambda found: f"{name.upper() if found[0].isupper() else name}_{found[0]}", text)
