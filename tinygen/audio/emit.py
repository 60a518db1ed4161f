"""A front end as C: `audio/features.h`, `features.c`, its tables and its arithmetic.

sources = emit_features(config, encoding, folder)      # ["audio/features.c"]
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.audio.codes import FeatureCodes, checked
from tinygen.audio.emit_mfcc import mfcc_files
from tinygen.audio.mfcc_exact import MelConfig
from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.audio.micro_tables import FILTER_BITS, FilterBank, MicroTables, make_tables
from tinygen.emit.ctext import array_lines
from tinygen.emit.templates import environment
from tinygen.ir.encodings import Encoding
from tinygen.version import VERSION

FeatureConfig = MicroFrontendConfig | MelConfig

FOLDER = "audio"
_STATIC = ("features_complex.h",)


def emit_features(config: FeatureConfig, encoding: Encoding | None, folder: Path) -> list[str]:
    """Writes the front end's C into `folder`/audio.

    Args:
        config: its parameters.
        encoding: of the model's input, which features become codes of; None: they stay raw, uint16_t (MFCCs: float).
        folder: of a C project.

    Returns:
        the C sources, relative to `folder`; their header is "audio/features.h".

    Raises:
        TinygenError: inconsistent parameters.
        UnsupportedError: an encoding that features cannot become.
    """
    files = mfcc_files(config, encoding) if isinstance(config, MelConfig) else micro_frontend_files(config, encoding)
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (target / name).write_text(text, encoding="utf-8", newline="\n")
    return [f"{FOLDER}/{name}" for name in sorted(files) if name.endswith(".c")]


def micro_frontend_files(config: MicroFrontendConfig, encoding: Encoding | None = None) -> dict[str, str]:
    """The text of each file by its name."""
    codes = None if encoding is None else FeatureCodes(checked(encoding))
    context = _context(config, make_tables(config), codes)
    names = {
        "features.h": "features.h.j2",
        "features.c": "micro_frontend.c.j2",
        "features_tables.h": "features_tables.h.j2",
        **{name: name for name in _STATIC},
    }
    return {name: environment().get_template(f"audio/{template}").render(context) for name, template in names.items()}


def _context(config: MicroFrontendConfig, tables: MicroTables, codes: FeatureCodes | None) -> dict[str, Any]:
    points = config.fft_size // 2
    # A frame may end within a hop: then the rest of that hop is history for the next frame.
    hops = math.ceil(config.window_samples / config.hop_samples)
    history = (hops - 1) * config.hop_samples
    bank = tables.filters
    last_bin = bank.first_bin + bank.weights.size - 1
    stages = tables.fft.stages
    window_points = math.ceil(config.window_samples / 2)
    return {
        "version": VERSION,
        "config": config,
        "title": f"{config.channels} channels of {config.window_ms} ms, every {config.hop_ms} ms",
        "description": _description(config),
        "later_stages": [
            name
            for name, there in (("noise reduction", config.noise_reduction), ("PCAN", config.pcan), ("log", config.log))
            if there
        ],
        "codes": None if codes is None else codes.context(),
        "array_lines": array_lines,
        "code_type": "uint16_t" if codes is None else codes.ctype,
        "code_note": "the raw feature" if codes is None else f"of {codes.encoding}",
        "state_bytes": _state_bytes(config, history),
        "points": points,
        "history": history,
        "fresh": config.window_samples - history,
        "hops_before": hops - 1,
        # Pairs of samples must not lie across the seam between history and new samples.
        "pairs": config.window_samples % 2 == 0 and history % 2 == 0,
        "padding": window_points < points or config.window_samples % 2 == 1,
        "first_padding": config.window_samples // 2,
        "place_type": _place_type(points),
        "first_radix": stages[0].radix,
        "stages_after": [{"span": stage.span, "table": f"twiddles_{stage.span}"} for stage in stages[1:]],
        "first_split": max(1, min(bank.first_bin, points - last_bin)),
        "first_bin": bank.first_bin,
        "ties": _ties(bank),
        "smoothing": [int(tables.smoothing[0]), int(tables.smoothing[min(1, config.channels - 1)])],
        "remaining": tables.min_signal_remaining,
        "gains_below_2": None if tables.gain is None else tables.gain[0, :2].tolist(),
        "correction": config.correction_bits,
        "tables": _c_tables(config, tables),
    }


def _description(config: MicroFrontendConfig) -> list[str]:
    return [
        f"Sound of {config.sample_rate_hz} Hz, in {config.channels} bands from {config.lower_band_hz:g} to "
        f"{config.upper_band_hz:g} Hz."
    ]


def _state_bytes(config: MicroFrontendConfig, history: int) -> int:
    noise = 4 * config.channels if config.noise_reduction else 0
    return -(-(2 * config.fft_size + noise + 2 * history + 2 * config.channels + 2) // 4) * 4


def _place_type(points: int) -> str:
    return "uint8_t" if points <= 256 else "uint16_t"


def _ties(bank: FilterBank) -> list[dict[str, Any]]:
    """Bins of which both shares were rounded the same way, so that they do not add up to one."""
    bands = np.repeat(np.arange(bank.widths.size), bank.widths)
    excess = bank.weights.astype(int) + bank.rests - (1 << FILTER_BITS)
    return [
        {"band": int(bands[i]), "bin": int(bank.first_bin + i), "excess": int(excess[i])}
        for i in np.flatnonzero(excess)
    ]


def _c_tables(config: MicroFrontendConfig, tables: MicroTables) -> list[dict[str, Any]]:
    fft, bank = tables.fft, tables.filters
    places = np.argsort(fft.order)
    found = [
        _table("window", "int16_t", tables.window, "A Hann window, 12 fraction bits."),
        _table("places", _place_type(places.size), places, "Where the FFT's first stage takes each pair of samples."),
    ]
    for stage in fft.stages[1:]:
        turns = stage.twiddles[:, 1:].transpose(1, 0, 2)
        comment = f"exp(-2 pi i k j / {stage.radix * stage.span}) for k from 1, j from 1 to 3; 15 fraction bits."
        found.append(_complex_table(f"twiddles_{stage.span}", turns, comment))
    first = max(1, min(bank.first_bin, fft.size // 2 - (bank.first_bin + bank.weights.size - 1)))
    comment = f"-i exp(-2 pi i k / {fft.size}) for k from {first}, 15 fraction bits."
    found.append(_complex_table("split_twiddles", fft.split_twiddles[first - 1 :], comment))
    found.append(_table("widths", "uint8_t", bank.widths, "Bins of each band of the filter bank."))
    found.append(
        _table(
            "weights",
            "uint16_t",
            bank.weights,
            "What each bin counts in the channel that falls there; 12 fraction bits.",
        )
    )
    if tables.gain is not None:
        rows = [f"{{{a}, {b}, {c}}}," for a, b, c in tables.gain[2:].tolist()]
        comment = "PCAN's gain for noise from 2^(i + 1) on: value, slope, curvature."
        found.append(
            {
                "name": "parabolas",
                "type": "int16_t",
                "shape": f"[{len(rows)}][3]",
                "comment": comment,
                "lines": _wrapped(rows),
            }
        )
    if config.log:
        found.append(
            _table("log_segments", "uint16_t", tables.log, "log2(1 + x) - x for x = 0, 1/128 ... 1; 16 fraction bits.")
        )
    return found


def _table(name: str, ctype: str, values: np.ndarray, comment: str) -> dict[str, Any]:
    lines = array_lines(values.astype(np.int32))
    return {"name": name, "type": ctype, "shape": f"[{values.size}]", "comment": comment, "lines": lines}


def _complex_table(name: str, values: np.ndarray, comment: str) -> dict[str, Any]:
    words = [f"{{{{{re}, {im}}}}}," for re, im in values.reshape(-1, 2).tolist()]
    return {
        "name": name,
        "type": "feature_point_t",
        "shape": f"[{len(words)}]",
        "comment": comment,
        "lines": _wrapped(words),
    }


def _wrapped(words: list[str], width: int = 100) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
