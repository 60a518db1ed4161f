"""Runs the C of a front end on this computer, or on a bare core, with the samples of one sound."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.board_batch import IN as INPUT
from tests.support.board_batch import OUT, Core, execute, link
from tests.support.host_batch import SANITIZERS, compile_host

_HOST = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "features.h"
int main(void)
{
    features_t *f = malloc(sizeof *f);
    feature_code_t *codes = malloc(%(frames)s * FEATURES_CHANNELS * sizeof *codes);
    int16_t samples[FEATURES_HOP_SAMPLES];
    if (f == NULL || codes == NULL || sizeof *f != %(state_bytes)s) { return 1; }
    memset(f, 0xA5, sizeof *f);
    features_init(f);
    while (fread(samples, sizeof samples, 1, stdin) == 1) {
%(hop)s
    }
    free(codes);
    free(f);
    return 0;
}
"""
_BOARD = """
#include <stdint.h>
#include <string.h>
#include "features.h"
void run_all(void);
void run_all(void)
{
    static features_t state;
    static feature_code_t codes[%(frames)s * FEATURES_CHANNELS];
    features_t *const f = &state;
    const int16_t *samples = (const int16_t *)%(input)s;
    uint8_t *out = (uint8_t *)%(output)s;
    features_init(f);
    for (int n = 0; n < %(hops)d; n++, samples += FEATURES_HOP_SAMPLES) {
%(hop)s
    }
}
"""


def hop_text(put: str, *, window: bool) -> str:
    """Writes each frame, and behind it, if asked for, each window that there is; `put` writes a number of them."""
    text = f"if (features_hop(f, samples, codes)) {{ {put.format('FEATURES_CHANNELS')} }}\n"
    if window:
        text += f"if (features_window(f, codes)) {{ {put.format('FEATURES_FRAMES * FEATURES_CHANNELS')} }}\n"
    return text


def write(files: dict[str, str], folder: Path) -> list[Path]:
    """The C sources of what was emitted."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return sorted(folder.glob("features*.c"))


def on_host(
    files: dict[str, str],
    samples: np.ndarray,
    folder: Path,
    *,
    state_bytes: int,
    window: bool = False,
    compiler: str = "gcc",
    flags: Sequence[str] = ("-O0", *SANITIZERS),
) -> bytes:
    """What `hop_text` writes."""
    sources = write(files, folder)
    main = folder / "main.c"
    put = "if (fwrite(codes, sizeof *codes, {0}, stdout) != {0}) {{ return 2; }}"
    hop = hop_text(put, window=window)
    frames = "FEATURES_FRAMES" if window else "1"
    main.write_text(_HOST % {"hop": hop, "frames": frames, "state_bytes": state_bytes})
    compile_host([main, *sources], folder / "features", [*flags, "-ffp-contract=off"], compiler)
    feed = samples.tobytes()
    return subprocess.run([folder / "features"], input=feed, capture_output=True, check=True, timeout=300).stdout


def on_core(
    files: dict[str, str],
    samples: np.ndarray,
    folder: Path,
    core: Core,
    total: int,
    *,
    hops: int,
    window: bool = False,
    compiler: str = "zig",
    level: str = "-O2",
) -> bytes:
    """The first `total` bytes of the same, from a core without an operating system."""
    sources = write(files, folder)
    put = "memcpy(out, codes, {0} * sizeof *codes); out += {0} * sizeof *codes;"
    values = {"hop": hop_text(put, window=window), "frames": "FEATURES_FRAMES" if window else "1", "hops": hops}
    main = _BOARD % {**values, "input": f"{INPUT:#x}", "output": f"{OUT:#x}"}
    return execute(link(main, sources, folder, core, compiler, level), samples.tobytes(), total, core)
