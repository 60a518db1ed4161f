"""Features by the generated C, built for this computer: equal to NumPy's, and computed several times as fast.

A library is built once per process and set of parameters.
"""

from __future__ import annotations

import atexit
import ctypes
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from tinygen.audio.emit import FOLDER, emit_features
from tinygen.audio.micro_config import MicroFrontendConfig
from tinygen.errors import ToolchainError
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_shared_library, find_toolchain
from tinygen.targets.toolchains.base import Toolchain

_DRIVER = """\
#include <string.h>

#include "audio/features.h"

void features_of_all(const int16_t *samples, uint32_t hops, uint16_t *frames);

void features_of_all(const int16_t *samples, uint32_t hops, uint16_t *frames)
{
    features_t f;
    feature_code_t codes[FEATURES_CHANNELS];
    features_init(&f);
    for (; hops > 0U; hops--, samples += FEATURES_HOP_SAMPLES) {
        if (features_hop(&f, samples, codes)) {
            memcpy(frames, features_raw(&f), FEATURES_CHANNELS * sizeof *frames);
            frames += FEATURES_CHANNELS;
        }
    }
}
"""


@cache
def host_toolchain() -> Toolchain | None:
    """The compiler for this computer; None if there is none."""
    try:
        return find_toolchain(None, load_board("host"))
    except ToolchainError:
        return None


def native_features(samples: np.ndarray, config: MicroFrontendConfig, toolchain: Toolchain) -> np.ndarray:
    """The features of a whole recording; see `tinygen.audio.micro_frontend.features`.

    Args:
        samples: int16, one channel.
        toolchain: for the host.

    Returns:
        uint16 [frames, channels].

    Raises:
        ToolchainError: the compiler refuses the C.
    """
    window, hop = config.window_samples, config.hop_samples
    frames = max(0, (samples.size - window) // hop + 1)
    if frames == 0:
        return np.zeros((0, config.channels), np.uint16)
    # The C takes whole hops, even where the last frame ends within one.
    hops = frames - 1 + -(-window // hop)
    padded = np.zeros(hops * hop, np.int16)
    count = min(samples.size, padded.size)
    padded[:count] = samples[:count]
    result = np.empty((frames, config.channels), np.uint16)
    library = _library(config, toolchain)
    library.features_of_all(padded.ctypes.data_as(ctypes.c_void_p), hops, result.ctypes.data_as(ctypes.c_void_p))
    return result


@cache
def _library(config: MicroFrontendConfig, toolchain: Toolchain) -> ctypes.CDLL:
    # Until the process ends; not every system lets a file go that is a library in use.
    temporary = tempfile.TemporaryDirectory(prefix="tinygen-audio-", ignore_cleanup_errors=True)
    atexit.register(temporary.cleanup)
    folder = Path(temporary.name)
    sources = emit_features(config, None, folder)
    driver = f"{FOLDER}/all.c"
    (folder / driver).write_text(_DRIVER, encoding="utf-8")
    # Not the folder audio itself: its features.h would be taken for the C library's own.
    code = HostCode(folder, (*sources, driver), include_dirs=(".",))
    library = ctypes.CDLL(str(build_shared_library(code, folder / "features.so", toolchain, optimize="-O2")))
    library.features_of_all.restype = None
    library.features_of_all.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p]
    return library
