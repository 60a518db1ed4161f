"""The microphone's drivers on emulated boards: every sample that is played comes out, bit for bit, or the firmware says
that some were lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.targets.build import build, model_with_invoke
from tests.targets.tools import requires_tool
from tinygen.errors import BoardError
from tinygen.hil.client import DeviceClient
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch

BOARDS = ["f746zg", pytest.param("esp32c3", marks=pytest.mark.long)]
BLOCK, BLOCKS = 160, 100
BUFFERS = {"f746zg": 2, "esp32c3": 4}
DECLARATIONS = """
#include "board.h"
#include "microphone.h"
#include "microphone_driver.h"

#define BLOCKS 100U
int16_t sound[BLOCKS * MICROPHONE_BLOCK];
uint8_t good[BLOCKS];
uint32_t started;
uint64_t took;
extern uint32_t slow_block;
uint32_t slow_block = UINT32_MAX; /* after which the firmware is late by slow_us */
uint32_t slow_us = 0U;
extern uint32_t work_us;
uint32_t work_us = 3000U;

static void wait_us(uint32_t us)
{
    const uint64_t start = cycles_now();
    while (cycles_now() - start < (uint64_t)us * (board_clock_hz() / 1000000U)) {
        for (volatile uint32_t i = 0U; i < 2000U; i++) {
        }
    }
}
"""
RECORD = """
    started = microphone_start(16000U) ? 1U : 0U;
    const uint64_t begin = cycles_now();
    for (uint32_t i = 0U; i < BLOCKS && started != 0U; i++) {
        int16_t *const to = sound + i * MICROPHONE_BLOCK; /* in pieces that are no blocks */
        good[i] = microphone_read(to, 48U) && microphone_read(to + 48U, MICROPHONE_BLOCK - 48U) ? 1U : 2U;
        wait_us(work_us);
        if (i == slow_block) {
            wait_us(slow_us);
        }
    }
    took = cycles_now() - begin;
    microphone_stop();
"""

MODEL = model_with_invoke(DECLARATIONS, RECORD)


def noise(count: int, seed: int = 1) -> np.ndarray:
    """Over the whole range, both ends among it."""
    samples = np.random.default_rng(seed).integers(-32768, 32768, count, np.int16)
    samples[:4] = (32767, -32768, 0, -1)
    return samples


@pytest.fixture(scope="module", params=BOARDS)
def firmware(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, build(load_board(request.param), "zig", folder, MODEL).elf


class Recorder:
    """A board whose inference listens to `BLOCKS` blocks, 3 ms of work behind each."""

    def __init__(self, name: str, elf: Path, *, count: bool = True) -> None:
        self.emulated = EmulatedBoard(load_board(name), elf, Watch(count=count))
        self.client = DeviceClient(self.emulated, infer_seconds=60.0, nonce=0)
        self.client.wait_for_boot()

    def late(self, block: int, microseconds: int) -> None:
        """Behind that block, the firmware is busy for so long, once."""
        self.set("slow_block", block)
        self.set("slow_us", microseconds)

    def set(self, name: str, value: int) -> None:
        self.emulated.memories.write(self.emulated.symbols.address(name), value.to_bytes(4, "little"))

    def get(self, name: str, size: int) -> bytes:
        return self.emulated.memories.read(self.emulated.symbols.address(name), size)

    def record(self) -> None:
        self.client.load(0, bytes(16))
        self.client.run()

    @property
    def sound(self) -> np.ndarray:
        return np.frombuffer(self.get("sound", 2 * BLOCK * BLOCKS), np.int16).reshape(BLOCKS, BLOCK)

    @property
    def good(self) -> list[bool]:
        return [byte == 1 for byte in self.get("good", BLOCKS)]


@pytest.mark.parametrize("count", [True, False])
def test_every_sample_comes_out(firmware: tuple[str, Path], count: bool) -> None:
    recorder = Recorder(*firmware, count=count)
    if not count:  # an emulated board's cycles hardly move then
        recorder.set("work_us", 0)
    played = noise(BLOCK * BLOCKS)
    recorder.emulated.feed_microphone(played)
    recorder.record()
    assert all(recorder.good)
    np.testing.assert_array_equal(recorder.sound, played.reshape(BLOCKS, BLOCK))
    if count:
        board = recorder.emulated.board
        took = int.from_bytes(recorder.get("took", 8), "little") / board.core_hz
        # The last block is worked on, too.
        assert took == pytest.approx(BLOCKS * 0.010 + 0.003, abs=1e-4)


def test_what_comes_too_late_is_lost_and_said(firmware: tuple[str, Path]) -> None:
    recorder = Recorder(*firmware)
    played = noise(BLOCK * BLOCKS * 2, seed=2)
    recorder.emulated.feed_microphone(played)
    recorder.late(9, 50_000)
    recorder.record()
    good = recorder.good
    assert good[:10] == [True] * 10 and not all(good)
    late = good.index(False)
    assert all(good[late + 1 :]), "one loss is told once"
    np.testing.assert_array_equal(recorder.sound[:late].ravel(), played[: late * BLOCK])
    # It goes on without a gap, from when the firmware looked again.
    rest = recorder.sound[late + 1 :].ravel()
    (starts,) = np.nonzero(np.lib.stride_tricks.sliding_window_view(played, 8).__eq__(rest[:8]).all(axis=1))
    np.testing.assert_array_equal(rest, played[starts[0] : starts[0] + rest.size])
    missing = starts[0] - late * BLOCK
    assert 0.04 * 16000 < missing < 0.08 * 16000


@pytest.mark.parametrize("in_time", [True, False])
def test_how_late_a_firmware_may_be(firmware: tuple[str, Path], in_time: bool) -> None:
    """From one block until the next is read: as long as it takes to fill all buffers."""
    name, elf = firmware
    slow_us = (BUFFERS[name] * 10_000 - 3_500) + (0 if in_time else 1_000)
    recorder = Recorder(name, elf)
    recorder.emulated.feed_microphone(noise(BLOCK * BLOCKS, seed=3))
    recorder.late(4, slow_us)
    recorder.record()
    assert all(recorder.good) == in_time


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
def test_built_by_gcc(tmp_path: Path) -> None:
    recorder = Recorder("f746zg", build(load_board("f746zg"), "gcc", tmp_path, MODEL).elf)
    played = noise(BLOCK * BLOCKS)
    recorder.emulated.feed_microphone(played)
    recorder.record()
    assert all(recorder.good)
    np.testing.assert_array_equal(recorder.sound.ravel(), played)


@pytest.mark.long
@requires_tool("riscv64-unknown-elf-gcc")
def test_built_by_gcc_for_riscv(tmp_path: Path) -> None:
    recorder = Recorder("esp32c3", build(load_board("esp32c3"), "gcc", tmp_path, MODEL).elf)
    recorder.emulated.feed_microphone(noise(BLOCK * BLOCKS))
    recorder.record()
    assert all(recorder.good)


@pytest.mark.long
def test_another_board_of_the_family(tmp_path: Path) -> None:
    recorder = Recorder("f767zi", build(load_board("f767zi"), "zig", tmp_path, MODEL).elf)
    played = noise(BLOCK * BLOCKS)
    recorder.emulated.feed_microphone(played)
    recorder.record()
    assert all(recorder.good)
    np.testing.assert_array_equal(recorder.sound.ravel(), played)


def test_boards_without_a_microphone(tmp_path: Path) -> None:
    board = EmulatedBoard(load_board("f411re"), build(load_board("f411re"), "zig", tmp_path).elf)
    with pytest.raises(BoardError, match="has no microphone"):
        board.feed_microphone(noise(BLOCK))


@pytest.mark.parametrize("samples", [np.zeros(4, np.float32), np.zeros((4, 2), np.int16)])
def test_sound_that_is_none(firmware: tuple[str, Path], samples: np.ndarray) -> None:
    with pytest.raises(BoardError, match="int16 samples"):
        EmulatedBoard(load_board(firmware[0]), firmware[1]).feed_microphone(samples)
