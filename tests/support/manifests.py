"""A manifest of a build that nobody made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygen.builds.firmware_entry import Region
from tinygen.builds.manifest import BenchmarkEntry, BufferEntry, LayerEntry, Manifest, Named, Simplified, TensorEntry
from tinygen.lowering.program import Ordering
from tinygen.lowering.select import Family
from tinygen.project.choices import Mode, WeightMemory

INPUT = TensorEntry("x", "int8", (1, 4), 4, 0, 0.5, -1)
OUTPUT = TensorEntry("y", "int8", (1, 2), 2, 4)

LAYER = LayerEntry("dense", "fully_connected", "fully_connected_s8", "m_dense", 8, 16, 0, ("int8 [1,4]",), (OUTPUT,))


def a_manifest(**changes: Any) -> Manifest:
    """Of a dense layer on a NUCLEO-F746ZG."""
    manifest = Manifest(
        inputs=(INPUT,),
        outputs=(OUTPUT,),
        states=(),
        arena_bytes=6,
        arena_lower_bound_bytes=6,
        arena_optimal=True,
        order=Ordering(6, changed=False, optimal=True),
        stream=None,
        macs=8,
        layers=(LAYER,),
        arena=(BufferEntry("x", 4, 0, 0, 0), BufferEntry("y", 2, 4, 0, 0)),
        steps=("dense",),
        model="dummy",
        source="dummy.tflite",
        source_sha256="0" * 64,
        build_id="0123456789abcdef",
        version="0",
        library=None,
        mode=Mode.PERFORMANCE,
        benchmark=BenchmarkEntry("ic01", "uint8", 0),
        app=None,
        model_copy=Named("model.tg", "1" * 64),
        board="f746zg",
        board_title="NUCLEO-F746ZG",
        toolchain="zig",
        compiler="clang",
        kernels=Family.TINYGEN,
        flash_bytes=1000,
        flash_model_bytes=100,
        ram_bytes=500,
        stack_bytes=400,
        clock_hz=216_000_000,
        weights=WeightMemory.FLASH,
        arena_memory={"DTCM": 6},
        memory=(Region("flash", 1 << 20, {"model code": 100}),),
        simplified=Simplified({}, (), 0),
        switches=(),
    )
    return replace(manifest, **changes)
