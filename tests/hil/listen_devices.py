"""Firmware that listens, around a small model and small features written by hand; and what it must answer."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.hil.devices import BUILD
from tests.targets.build import project_with
from tinygen.hil.audio import HopEvent
from tinygen.targets.boards import load_board
from tinygen.targets.firmware_sources import FirmwareProject
from tinygen.targets.toolchain import build_elf, find_toolchain

HOP, CHANNELS, FRAMES, WINDOW = 16, 4, 3, 3
CUTOFFS = (330, 400)
_HERE = Path(__file__).parent
_FEATURES_H = f"""#ifndef FEATURES_H
#define FEATURES_H
#include <stdbool.h>
#include <stdint.h>
#define FEATURES_SAMPLE_RATE_HZ 1600U
#define FEATURES_HOP_SAMPLES {HOP}U
#define FEATURES_WINDOW_SAMPLES {2 * HOP}U
#define FEATURES_CHANNELS {CHANNELS}U
typedef uint8_t feature_code_t;
typedef struct features {{
    uint32_t hops;
    uint32_t sums[FEATURES_CHANNELS];
}} features_t;
void features_init(features_t *f);
bool features_hop(features_t *f, const int16_t samples[FEATURES_HOP_SAMPLES], feature_code_t codes[FEATURES_CHANNELS]);
#endif
"""
_FEATURES_C = """#include "features.h"
void features_init(features_t *f)
{
    const features_t none = {0U, {0U, 0U, 0U, 0U}};
    *f = none;
}
bool features_hop(features_t *f, const int16_t samples[FEATURES_HOP_SAMPLES], feature_code_t codes[FEATURES_CHANNELS])
{
    for (uint32_t i = 0U; i < FEATURES_HOP_SAMPLES; i++) {
        f->sums[i % FEATURES_CHANNELS] += (uint16_t)samples[i];
    }
    for (uint32_t i = 0U; i < FEATURES_CHANNELS; i++) {
        codes[i] = (feature_code_t)(f->sums[i] >> 3);
    }
    return ++f->hops >= 2U;
}
"""
_CONFIG_H = f"""#ifndef WAKEWORD_CONFIG_H
#define WAKEWORD_CONFIG_H
#include <stdint.h>
#define WAKEWORD_FRAMES {FRAMES}U
#define WAKEWORD_STEP {FRAMES}U
#define WAKEWORD_INPUT_BYTES {FRAMES * CHANNELS}U
#define WAKEWORD_OUTPUTS 2U
typedef uint8_t wakeword_code_t;
#define WAKEWORD_WINDOW {WINDOW}U
#define WAKEWORD_SWITCHES 1U
#define WAKEWORD_CUTOFFS {{{{{CUTOFFS[0]}, {CUTOFFS[1]}}}}}
#define WAKEWORD_LISTENS 0
#define WAKEWORD_STREAMS 0
#define WAKEWORD_BAUDS {{115200U, 230400U, 460800U, 921600U}}
#endif
"""


_MICROPHONE_C = """#define _POSIX_C_SOURCE 200809L
#include "microphone.h"
#include <time.h>
static const int16_t heard[] = {HEARD};
static uint32_t next;
static uint32_t calls;
bool microphone_start(uint32_t sample_rate_hz)
{
    next = 0U;
    calls = 0U;
    return sample_rate_hz == 1600U && sizeof heard > sizeof heard[0];
}
bool microphone_read(int16_t *samples, uint32_t count)
{
    const struct timespec hop = {0, 1000000L};
    (void)nanosleep(&hop, 0);
    if (calls++ % HOPS == 5U) {
        return false;
    }
    for (uint32_t i = 0U; i < count; i++) {
        samples[i] = heard[next++ % (sizeof heard / sizeof heard[0] / count * count)];
    }
    return true;
}
void microphone_stop(void)
{
}
"""
_MICROPHONE_H = """#include <stdbool.h>
#include <stdint.h>
bool microphone_start(uint32_t sample_rate_hz);
bool microphone_read(int16_t *samples, uint32_t count);
void microphone_stop(void);
"""


def listening_project(board: str, directory: Path, build_id: str = BUILD) -> FirmwareProject:
    """A project of the board's."""
    files = {"audio/features.h": _FEATURES_H, "audio/features.c": _FEATURES_C, "wakeword/wakeword_config.h": _CONFIG_H}
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    model = (_HERE / "listen_model.c").read_text(encoding="utf-8").replace("BUILD_ID", f'"{build_id}"')
    return project_with(load_board(board), directory, model)


def build_listening(
    board: str,
    directory: Path,
    build_id: str = BUILD,
    *,
    virtual: bool = False,
    microphone: np.ndarray | None = None,
) -> Path:
    """Its firmware; of the host with a time of its own, where `virtual`.

    Args:
        microphone: what it hears, where there is one; the firmware must not start it when that is nothing.
    """
    project = listening_project(board, directory, build_id)
    if microphone is not None:
        project = with_microphone(project, microphone)
    if virtual:
        driver = directory / "firmware/host/board.c"
        text = driver.read_text(encoding="utf-8")
        driver.write_text((_HERE / "virtual_line.h").read_text(encoding="utf-8") + text, encoding="utf-8")
    return build_elf(project, find_toolchain("zig", load_board(board))).elf


def with_microphone(project: FirmwareProject, heard: np.ndarray) -> FirmwareProject:
    config = project.directory / "board/board_config.h"
    text = re.sub(r"#define BOARD_HAS_MICROPHONE .*\n", "", config.read_text(encoding="utf-8"))
    config.write_text(text.replace("#define BOARD_NAME", "#define BOARD_HAS_MICROPHONE 1\n#define BOARD_NAME"))
    values = ", ".join(map(str, heard.tolist())) or "0"
    hops = max(heard.size // HOP, 1)
    source = _MICROPHONE_C.replace("HEARD", values).replace("HOPS", f"{hops}U")
    (project.directory / "board/microphone.c").write_text(source)
    (project.directory / "firmware/app/microphone.h").write_text(_MICROPHONE_H)
    return replace(project, sources=(*project.sources, "board/microphone.c"))


def sound(hops: int, seed: int = 3) -> np.ndarray:
    """int16, so many hops and a little more."""
    return np.random.default_rng(seed).integers(-32768, 32768, HOP * hops + 5).astype(np.int16)


def right_events(samples: np.ndarray) -> list[HopEvent]:
    """What listen_model.c must give, but for the cycles, which are 0 here."""
    sums, frames, total = np.zeros(CHANNELS, np.uint64), [], 0
    window: list[tuple[int, ...]] = []
    events = []
    newest = ((0, 0), 0, 0)
    for hop in range(samples.size // HOP):
        piece = samples[hop * HOP : (hop + 1) * HOP].astype(np.uint16).astype(np.uint64)
        sums = (sums + piece.reshape(-1, CHANNELS).sum(axis=0)) & np.uint64(0xFFFFFFFF)
        frames += [[int(s) >> 3 & 0xFF for s in sums]] if hop else []
        ran = len(frames) == FRAMES
        detected = False
        if ran:
            for code in itertools.chain.from_iterable(frames):
                total = (total * 31 + code) & 0xFFFFFFFF
            window.append((total >> 7 & 0xFF, len(window) + 1 & 0xFF))
            frames = []
            sums_of_window = [sum(codes) for codes in zip(*window[-WINDOW:], strict=True)]
            label = int(np.argmax(sums_of_window))
            newest = (window[-1], sums_of_window[label], label)
            detected = len(window) >= WINDOW and sums_of_window[label] >= CUTOFFS[label]
        events.append(HopEvent(hop, ran, newest[0], newest[1], detected, 0, 0, newest[2]))
    return events
