"""MFCCs and log mel energies as C: the texts of `features.h`, `features.c` and `features_tables.h`."""

from __future__ import annotations

from typing import Any

from tinygen.audio.codes import CoefficientCodes, checked
from tinygen.audio.log_mel import factors
from tinygen.audio.log_mel_config import LEAST_POWER, LogMelConfig
from tinygen.audio.mfcc_config import MfccConfig
from tinygen.audio.mfcc_exact import FULL_SCALE, MelConfig
from tinygen.audio.mfcc_tables import LN2, MfccTables, log_segments, quarters, radices, tables_of
from tinygen.emit.ctext import array_lines
from tinygen.emit.templates import environment
from tinygen.ir.encodings import Encoding, Float32
from tinygen.version import VERSION

_FILES = {"features.h": "mfcc.h.j2", "features.c": "mfcc.c.j2", "features_tables.h": "mfcc_tables.h.j2"}


def mfcc_files(config: MelConfig, encoding: Encoding | None) -> dict[str, str]:
    """The text of each file by its name.

    Args:
        encoding: of the model's input; None: the codes are the features themselves, float.

    Raises:
        UnsupportedError: an input that they cannot become.
    """
    codes = CoefficientCodes(checked(encoding or Float32()), config.rounding)
    context = _context(config, codes, tables_of(config))
    return {name: environment().get_template(f"audio/{file}").render(context) for name, file in _FILES.items()}


def _context(config: MelConfig, codes: CoefficientCodes, tables: MfccTables) -> dict[str, Any]:
    points = config.fft_size // 2
    peak = _is_peak(config)
    return {
        "version": VERSION,
        "config": config,
        "codes": codes.context(),
        "code_note": f"of {codes.encoding}",
        "title": "log mel energies" if isinstance(config, LogMelConfig) else "mel-frequency cepstral coefficients",
        "description": [
            f"Sound of {config.sample_rate_hz} Hz in {config.bands} bands from {config.lower_band_hz:g} to "
            f"{config.upper_band_hz:g} Hz; what is loudest is "
            + (f"the largest sample of {clip_hops(config)} hops." if peak else f"{FULL_SCALE}."),
        ],
        "peak": peak,
        **_log_mel_context(config),
        "points": points,
        "first_radix": radices(points)[0],
        "stages": quarters(points),
        "first_bin": tables.first_bin,
        "history": _kept(config) - config.hop_samples,
        "buffer": _buffer(config),
        "most_hops": clip_hops(config) if peak else config.window_hops,
        "full_scale_half_gain": 0.5 / FULL_SCALE,
        "state_bytes": state_bytes(config),
        "ln2": LN2,
        "log_segments": [f"{{{value}, {slope}, {bend}}}," for value, slope, bend in log_segments().tolist()],
        "tables": _c_tables(config, tables),
        "array_lines": array_lines,
    }


def _log_mel_context(config: MelConfig) -> dict[str, Any]:
    if not isinstance(config, LogMelConfig):
        return {"log_mel": False}
    gain, factor, offset = factors(config)
    return {"log_mel": True, "gain": gain, "least": LEAST_POWER, "factor": factor, "offset": offset}


def _is_peak(config: MelConfig) -> bool:
    """Whether frames are kept, until the level is known that they are at."""
    return isinstance(config, MfccConfig) and config.level == "peak"


def clip_hops(config: MelConfig) -> int:
    """Of the audio that a window of frames is of; 0 where none are kept."""
    return config.clip_hops if isinstance(config, MfccConfig) and config.level == "peak" else 0


def _kept(config: MelConfig) -> int:
    """Samples that a frame takes, and the one before them where there is pre-emphasis."""
    return config.window_hops * config.hop_samples + isinstance(config, LogMelConfig)


def _buffer(config: MelConfig) -> int:
    """The FFT's window is zero behind the frame, but something has to be there."""
    return max(_kept(config), config.fft_size + isinstance(config, LogMelConfig))


def state_bytes(config: MelConfig) -> int:
    """Of features_t."""
    floats, shorts = config.fft_size, 1 + _buffer(config)
    if isinstance(config, MfccConfig) and config.level == "peak":
        floats += config.frames * config.bands
        shorts += config.clip_hops + 2
    return 4 * floats + -(-2 * shorts // 4) * 4


def _c_tables(config: MelConfig, tables: MfccTables) -> list[dict[str, Any]]:
    points = config.fft_size // 2
    found = [
        ("window", "float", tables.window, f"{'Hann' if tables.cosines.size else 'Hamming'}'s, and zeros."),
        ("order", "uint16_t", tables.order, "Which pair of samples the FFT's first stage takes at each place."),
        ("turns", "float", tables.turns, f"-i exp(-2 pi i k / {config.fft_size}) of each bin that is in a band."),
        ("interval_bins", "uint16_t", tables.interval_bins, "Bins between the edges of the bands."),
        ("rises", "float", tables.rises, "The weight of each bin in the band that rises there."),
    ]
    if tables.cosines.size:
        comment = "Of the bands' logarithms in each coefficient; 28 fraction bits."
        found.append(("cosines", "int32_t", tables.cosines, comment))
    if quarters(points):
        comment = "w, w^2, w^3 for w = exp(-2 pi i k / n), k = 0 ... n / 4 - 1, of each stage: n = "
        sizes = ", ".join(str(4 * quarter) for quarter in quarters(points))
        found.append(("twiddles", "float", tables.twiddles, comment + sizes + "."))
    return [
        {"name": name, "type": ctype, "size": values.size, "data": values, "comment": comment}
        for name, ctype, values, comment in found
    ]
