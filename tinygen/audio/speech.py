"""Synthesised speech: eSpeak NG, as the package `espeakng-loader` carries it.

The library runs in a process of its own (:mod:`tinygen.audio.espeak_worker` says why): the same call gives the same
samples whatever was said before, from any thread, and a crash of the library is an error here.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from tinygen.audio import espeak_worker
from tinygen.audio.resample import resample
from tinygen.errors import TinygenError

SAMPLE_RATE_HZ = 16_000
# Lowest and highest values eSpeak NG documents (speak_lib.h, espeak_PARAMETER).
RANGES = {"rate": (80, 450), "pitch": (0, 99), "pitch_range": (0, 100), "volume": (0, 200), "word_gap": (0, 500)}
DEFAULTS = {"rate": 175, "pitch": 50, "pitch_range": 50, "volume": 100, "word_gap": 0}


class Parameters(TypedDict, total=False):
    """How a voice speaks; what is not given is as in DEFAULTS.

    Attributes:
        rate: words per minute, 80 to 450.
        pitch: 0 to 99; 50 is the voice's own.
        pitch_range: how lively, 0 (monotone) to 100.
        volume: percent, 0 to 200.
        word_gap: extra pause between words, in units of 10 ms.
    """

    rate: int
    pitch: int
    pitch_range: int
    volume: int
    word_gap: int


def say(text: str, *, voice: str = "en-us", variant: str | None = None, **parameters: Unpack[Parameters]) -> np.ndarray:
    """`text` spoken: int16 samples at 16 kHz. The same arguments give the same samples.

    Args:
        text: any language; the voice decides how it is read.
        voice: one of :func:`voices`.
        variant: one of :func:`variants`; None: the voice's own.
        parameters: see `Parameters`.

    Raises:
        TinygenError: nothing to say, a text that the voice cannot read, a voice or variant there is not, a value out
            of range, no `espeakng-loader`.
    """
    return say_all([Spoken(text, voice, variant, parameters)])[0]


@dataclass(frozen=True)
class Spoken:
    """What :func:`say` is asked for: the text, who says it, and the parameters that differ from its defaults."""

    text: str
    voice: str = "en-us"
    variant: str | None = None
    parameters: Parameters = field(default_factory=Parameters)


def say_all(texts: Sequence[Spoken]) -> list[np.ndarray]:
    """Texts spoken one after the other by one copy of the library, which is faster than one by one.

    What was said before leaves traces: the same list gives the same samples, another order may not.

    Raises:
        TinygenError: as :func:`say`.
    """
    reply, sound = _worker().ask({"do": "say", "all": [_request(one) for one in texts]})
    ends = np.cumsum([0, *reply["sizes"]])
    heard = []
    for one, first, end in zip(texts, ends, ends[1:], strict=False):
        samples = np.frombuffer(sound[first:end], np.int16)
        if not samples.any():
            fix = "Write it in that language's script."
            raise TinygenError(f"the voice {one.voice!r} cannot read {one.text!r}", fix=fix)
        heard.append(resample(samples, reply["sample_rate_hz"], SAMPLE_RATE_HZ))
    return heard


def _request(one: Spoken) -> dict[str, Any]:
    if not any(character.isalnum() for character in one.text) or "\0" in one.text:
        raise TinygenError(f"nothing to say in {one.text!r}", fix="Give a text with letters or digits.")
    parameters: dict[str, Any] = {**DEFAULTS, **one.parameters}
    for name, value in parameters.items():
        if name not in RANGES:
            raise TinygenError(f"there is no {name!r}", where="speech", fix=f"Parameters: {', '.join(RANGES)}.")
        low, high = RANGES[name]
        if not low <= value <= high:
            raise TinygenError(f"{name} = {value} is out of range", where="speech", fix=f"Give {low} to {high}.")
    return {"text": one.text, "voice": _full_name(one.voice, one.variant), "parameters": parameters}


def phonemes(texts: Sequence[str], *, voice: str = "en-us") -> list[str]:
    """How a voice reads each text: phonemes in IPA, with marks of stress and length.

    Raises:
        TinygenError: a voice there is not, no `espeakng-loader`.
    """
    request = {"do": "phonemes", "texts": list(texts), "voice": _full_name(voice, None)}
    reply, _ = _worker().ask(request)
    read: list[str] = reply["phonemes"]
    return read


@functools.cache
def voices() -> tuple[str, ...]:
    """The names of all voices, which are those of their languages ("en-us"), sorted.

    Raises:
        TinygenError: no `espeakng-loader`.
    """
    return tuple(sorted(_identifiers()))


@functools.cache
def variants() -> tuple[str, ...]:
    """The names of all variants, each of which changes any voice into another speaker's, sorted.

    Raises:
        TinygenError: no `espeakng-loader`.
    """
    return tuple(sorted({identifier.partition("/")[2] for _, identifier in _listed(variants=True)}))


def _listed(*, variants: bool) -> list[tuple[str, str]]:
    reply, _ = _worker().ask({"do": "list", "variants": variants})
    return [(language, identifier) for language, identifier in reply["voices"]]


def _full_name(voice: str, variant: str | None) -> str:
    """What the library finds it by: it knows "en-gb" as "gmw/en", and would take its default for an unknown variant."""
    identifier = _identifiers().get(voice)
    if identifier is None:
        raise TinygenError(f"eSpeak NG has no voice {voice!r}", fix=f"It has: {', '.join(voices())}.")
    if variant is None:
        return identifier
    if variant not in variants():
        raise TinygenError(f"eSpeak NG has no variant {variant!r}", fix=f"It has: {', '.join(variants())}.")
    return f"{identifier}+{variant}"


@functools.cache
def _identifiers() -> dict[str, str]:
    """Identifier of each language's voice; where a language has several, the first that the library lists."""
    found: dict[str, str] = {}
    for language, identifier in _listed(variants=False):
        found.setdefault(language, identifier)
    return found


class _Worker:
    """The process that speaks: one request at a time, started when there is none."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The reply and its sound.

        Raises:
            TinygenError: what the worker reports, or that it ended.
        """
        with self._lock:
            try:
                reply, sound = self._exchange(json.dumps(request).encode() + b"\n")
            except BaseException:  # an interrupted exchange leaves half a reply in the pipe
                self._stop()
                raise
            if not hasattr(os, "fork"):
                self._stop()  # there, a worker serves one request
        if "error" in reply:
            raise TinygenError(reply["error"], where="speech")
        return reply, sound

    def _exchange(self, line: bytes) -> tuple[dict[str, Any], bytes]:
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except OSError:
            pass  # it ended; why is in its reply
        try:
            reply = json.loads(process.stdout.readline())
        except ValueError:
            raise TinygenError("eSpeak NG's process ended without an answer", where="speech") from None
        if "error" in reply:
            return reply, b""
        sound = process.stdout.read(reply["bytes"])
        if len(sound) != reply["bytes"]:
            raise TinygenError("eSpeak NG's process ended in the middle of an answer", where="speech")
        return reply, sound

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            atexit.register(self._stop)
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _worker() -> _Worker:
    return _worker_of(os.getpid())


@functools.cache
def _worker_of(_pid: int) -> _Worker:
    """A worker for each process: a fork must not talk into its parent's pipe."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise TinygenError(
            "speech needs the package espeakng-loader, which is not installed", fix="pip install 'tinygen[audio]'"
        )
    import espeakng_loader

    data = Path(espeakng_loader.get_data_path())
    program = [sys.executable, "-I", "-S", espeak_worker.__file__]
    return _Worker([*program, espeakng_loader.get_library_path(), str(data.parent)])
