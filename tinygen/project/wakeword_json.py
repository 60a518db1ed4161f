"""The parameters of application `wakeword`, read from microWakeWord's JSON.

The JSON is version 2 of microWakeWord's (esphome/components/micro_wake_word, its documentation's "manifest"), as the
models of pymicro-wakeword have it. Additional keys, for models other than microWakeWord's:

    "labels": ["_silence", "_unknown", "yes", "no"]    of the outputs, where there is more than one
    "ignored": ["_silence", "_unknown"]                those that are no detections
    "step_frames": 10                                  new frames at each inference, of a model over a window of them
    "features": {...}                                  `as_json()` of a `FeatureConfig`
    "switch_cutoffs": {"w4a4": 0.8}                    of a switchable model, where they are not "probability_cutoff"
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tinygen.errors import TinygenError
from tinygen.project.wakeword import WakewordApp

if TYPE_CHECKING:
    from tinygen.audio.emit import FeatureConfig

__all__ = ["WakewordApp", "read_app", "wakeword_app_from_json"]

VERSION = 2


def wakeword_app_from_json(path: Path) -> WakewordApp:
    """Reads microWakeWord's JSON.

    Raises:
        TinygenError: the file cannot be read, a key is missing, or a value is not what it should be.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        fix = "A wake word needs microWakeWord's JSON beside its model, or named by --config."
        raise TinygenError(f"cannot be read ({reason})", where=str(path), fix=fix) from error
    keys = _Keys(content, str(path), "")
    if keys.get("version", int) != VERSION:
        raise keys.wrong(
            "version", f"is {content['version']}, not {VERSION}", "Only microWakeWord's version 2 is read."
        )
    if keys.get("type", str) != "micro":
        raise keys.wrong("type", f"is '{content['type']}', not 'micro'", "Only microWakeWord's models are meant here.")
    micro = _Keys(keys.get("micro", dict), str(path), "micro.")
    try:
        return WakewordApp(
            cutoff=micro.get("probability_cutoff", float),
            sliding_window=micro.get("sliding_window_size", int),
            features=_features(keys, micro),
            wake_word=keys.get("wake_word", str),
            labels=keys.names("labels"),
            ignored=keys.names("ignored"),
            step_frames=keys.get("step_frames", int) if "step_frames" in content else None,
            switch_cutoffs=_switch_cutoffs(keys),
        )
    except TinygenError as error:
        raise TinygenError(error.what, where=error.where or str(path), fix=error.fix) from error


def read_app(name: str | None, config: Path | None, model: Path, listens: str | None = None) -> WakewordApp | None:
    """The application that a command line names.

    Args:
        name: "wakeword", or None for none.
        config: its JSON; None: the one beside the model.
        model: what it is for.
        listens: see `WakewordApp`.

    Raises:
        TinygenError: there is no such application, or its JSON is wrong.
    """
    if name is None and config is not None:
        raise TinygenError("--config is for an application", fix="Name it, too: --app wakeword.")
    if name is None and listens is not None:
        raise TinygenError("--listen is for an application", fix="Name it, too: --app wakeword.")
    if name is None:
        return None
    if name != "wakeword":
        raise TinygenError(f"there is no application '{name}'", fix="Applications: wakeword.")
    return replace(wakeword_app_from_json(config or model.with_suffix(".json")), listens=listens)


def features_from_json(content: dict[str, Any], where: str) -> FeatureConfig:
    """Reads the parameters of a front end, as their `as_json` wrote them.

    Raises:
        TinygenError: there is no such front end, or no such parameter.
    """
    if content.get("kind") == "mfcc":
        from tinygen.audio.mfcc import MfccConfig

        return MfccConfig.from_json(content, where)
    if content.get("kind") == "log_mel":
        from tinygen.audio.log_mel_config import LogMelConfig

        return LogMelConfig.from_json(content, where)
    from tinygen.audio.micro_frontend import MicroFrontendConfig

    return MicroFrontendConfig.from_json(content, where)


def _switch_cutoffs(keys: _Keys) -> dict[str, float]:
    if "switch_cutoffs" not in keys.content:
        return {}
    named = _Keys(keys.get("switch_cutoffs", dict), keys.path, "switch_cutoffs.")
    return {name: named.get(name, float) for name in named.content}


def _features(keys: _Keys, micro: _Keys) -> FeatureConfig:
    from tinygen.audio.micro_frontend import MicroFrontendConfig

    if "features" in keys.content:
        return features_from_json(keys.get("features", dict), f"{keys.path}: features")
    config = MicroFrontendConfig()
    step_ms = micro.get("feature_step_size", int) if "feature_step_size" in micro.content else None
    if step_ms is None or step_ms * config.sample_rate_hz == config.hop_samples * 1000:
        return config
    if not 1 <= step_ms <= 1000:
        raise micro.wrong("feature_step_size", f"is {step_ms} ms", "Frames come every 1 to 1000 ms; mostly every 10.")
    return replace(config, hop_ms=step_ms)


@dataclass(frozen=True)
class _Keys:
    """An object of the JSON, with errors that name the file and key."""

    content: Any
    path: str
    prefix: str

    def __post_init__(self) -> None:
        if not isinstance(self.content, dict):
            raise TinygenError("is no JSON object", where=self.path, fix="Is it microWakeWord's JSON?")

    def get(self, key: str, kind: type) -> Any:
        """The value of a required key, of that type; a float may be written as an integer."""
        if key not in self.content:
            raise self.wrong(key, "is missing", "microWakeWord's JSON, version 2, has it.")
        value = self.content[key]
        allowed = (int, float) if kind is float else (kind,)
        if not isinstance(value, allowed) or isinstance(value, bool):
            names = {int: "a whole number", float: "a number", str: "text", dict: "an object", list: "a list"}
            raise self.wrong(key, f"is {json.dumps(value)}, not {names[kind]}", "Correct it.")
        return self._usual(key, value)

    def _usual(self, key: str, value: Any) -> Any:
        """Rejects valid JSON that little else can represent: numbers of hundreds of digits, unpaired surrogates."""
        try:
            str(value).encode()
            if isinstance(value, int):
                float(value)
        except (UnicodeEncodeError, OverflowError) as error:
            raise self.wrong(key, "is no usual number or text", "Correct it.") from error
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """A list of distinct strings; () if the key is absent."""
        values = self.get(key, list) if key in self.content else []
        if not all(isinstance(value, str) for value in values) or len(set(values)) != len(values):
            raise self.wrong(key, "is no list of different texts", "Correct it.")
        self._usual(key, "".join(values))
        return cast(tuple[str, ...], tuple(values))

    def wrong(self, key: str, what: str, fix: str) -> TinygenError:
        return TinygenError(f"'{self.prefix}{key}' {what}", where=self.path, fix=fix)
