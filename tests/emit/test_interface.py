"""What the generated C offers its user beside inference: checks, conversions, names, ids."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.host_batch import SANITIZERS, compile_host, write_sources
from tests.support.litert import reference_outputs
from tests.support.tflite_builder import ModelSpec, TensorSpec, build
from tinygen.demo import MODEL
from tinygen.emit.enumerators import Enumerators
from tinygen.emit.model import EmittedModel, emit_model
from tinygen.frontends.load import load_model
from tinygen.lowering.lower import lower
from tinygen.lowering.program import Program
from tinygen.passes.pipeline import simplify

_INIT = r"""
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include "digits.h"

static alignas(8) uint8_t arena[DIGITS_ARENA_BYTES + 8];

static int untouched(void)
{
    for (size_t i = 0; i < sizeof arena; i++) {
        if (arena[i] != 0xa5) { return 0; }
    }
    return 1;
}

int main(void)
{
    memset(arena, 0xa5, sizeof arena);
    if (digits_init(arena, DIGITS_ARENA_BYTES - 1) != NULL) { return 1; }
    if (digits_init(arena + 1, sizeof arena - 1) != NULL) { return 2; }
    if (digits_init(arena + 4, sizeof arena - 4) != NULL) { return 3; }
    if (!untouched()) { return 4; }
    if ((void *)digits_init(arena, DIGITS_ARENA_BYTES) != (void *)arena) { return 5; }
#if defined(DIGITS_NO_STATIC_ARENA)
    if (digits_init(NULL, 0) != NULL || digits_init(NULL, sizeof arena) != NULL) { return 6; }
#else
    if (digits_init(NULL, 0) == NULL) { return 6; }
#endif
    printf("%s %s", digits_version(), digits_build_id());
    return 0;
}
"""


@pytest.fixture(scope="module")
def program() -> Program:
    return lower(simplify(load_model(MODEL)), isa=("c99", "dsp"))


@pytest.fixture(scope="module")
def emitted(program: Program) -> EmittedModel:
    return emit_model(program, "digits.tflite")


@pytest.mark.parametrize("flags", [(), ("-DDIGITS_NO_STATIC_ARENA",)], ids=["static arena", "none"])
def test_init_refuses_before_it_writes(program: Program, tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "main.c").write_text(_INIT)
    sources = write_sources([program], tmp_path)
    executable = tmp_path / "init"
    compile_host([tmp_path / "main.c", *sources], executable, ["-std=c11", "-O0", *SANITIZERS, *flags])
    done = subprocess.run([executable], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    version, build_id = done.stdout.split()
    assert re.fullmatch(r"[0-9a-f]{16}", build_id) and f'"{build_id}"' in (tmp_path / "digits_build.h").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", version)


def test_build_id_follows_the_c(emitted: EmittedModel) -> None:
    other = emit_model(lower(simplify(load_model(MODEL)), family="reference"), "digits.tflite")
    assert emitted.files["digits_build.h"] != other.files["digits_build.h"]
    named = emitted.identified("0123456789abcdef")
    assert "0123456789abcdef" in named.files["digits_build.h"] and named.content == emitted.content


_CONVERT = r"""
#include <stdio.h>
#include "NAME.h"

int main(void)
{
    float value;
    TYPE code;
    while (fread(&value, sizeof value, 1, stdin) == 1) {
        code = NAME_input_quantize(value);
        fwrite(&code, sizeof code, 1, stdout);
        value = NAME_output_dequantize(code);
        fwrite(&value, sizeof value, 1, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize(("dtype", "zero"), [("int8", -128), ("int8", 3), ("int8", 127), ("int16", 0)])
def test_conversions_are_litert_s(tmp_path: Path, dtype: str, zero: int) -> None:
    """Against LiteRT's QUANTIZE, over ties, ends and what lies beyond."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    scale = np.float32(0.37)
    info = np.iinfo(dtype)
    halves = (np.arange(-600, 600) / 2).astype(np.float32) * scale
    far = np.array([0.0, 1e6, -1e6, np.inf, -np.inf, (info.max - zero) * scale, (info.min - zero) * scale], np.float32)
    values = np.concatenate([halves, far, np.random.default_rng(1).normal(0, 100, 500).astype(np.float32)])
    spec = ModelSpec(
        BuiltinOperator.QUANTIZE,
        [TensorSpec((1, len(values)), "float32")],
        [TensorSpec((1, len(values)), dtype, float(scale), zero)],
    )
    want = reference_outputs(build(spec), [[values[None]]])[0][0][0]
    rows = _converted(_negated(dtype, float(scale), zero), dtype, values, tmp_path)
    finite = np.isfinite(values)
    assert np.array_equal(rows["code"][finite], want[finite])
    assert np.array_equal(rows["code"][~finite], [info.max, info.min])
    codes = rows["code"].astype(np.int32)
    assert np.array_equal(rows["real"], scale * (codes - zero).astype(np.float32))
    assert _converted(_negated(dtype, float(scale), zero), dtype, np.array([np.nan], np.float32), tmp_path)["code"] == [
        info.min
    ]


def _negated(dtype: str, scale: float, zero: int) -> Program:
    """Any model whose input and output have this encoding."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    from tests.support.tflite_builder import options
    from tinygen.frontends.tflite import read_tflite

    x = TensorSpec((1, 4), dtype, scale, zero)
    shape = TensorSpec((2,), "int32", data=np.array([2, 2], np.int32))
    spec = ModelSpec(
        BuiltinOperator.RESHAPE, [x, shape], [TensorSpec((2, 2), dtype, scale, zero)], **options("ReshapeOptions")
    )
    return lower(simplify(read_tflite(build(spec), name="same")))


def _converted(program: Program, dtype: str, values: np.ndarray, folder: Path) -> np.ndarray:
    """Rows of (code, real value of the code)."""
    (folder / "main.c").write_text(_CONVERT.replace("NAME", "same").replace("TYPE", f"{dtype}_t"))
    sources = write_sources([program], folder)
    compile_host([folder / "main.c", *sources], folder / "convert", ["-O0", *SANITIZERS])
    done = subprocess.run([folder / "convert"], input=values.tobytes(), capture_output=True, timeout=60, check=True)
    return np.frombuffer(done.stdout, np.dtype([("code", dtype), ("real", "float32")]))


def test_places_of_layers_with_the_same_name_differ(program: Program) -> None:
    """A layer may be called as the header calls the input, or as another in capitals."""
    first, second = program.layers[:2]
    for name in ("input", second.node.op.name.upper()):
        renamed = replace(first, node=replace(first.node, op=replace(first.node.op, name=name)))
        steps = tuple(renamed if step is first else step for step in program.steps)
        places = Enumerators(replace(program, steps=steps))
        tensors = [program.graph.inputs[0], *(step.node.outputs[0].name for step in steps)]
        names = [places.of(tensor) for tensor in tensors]
        assert len(set(names)) == len(tensors)
        found = {place.name: place.offset for place in places.all}
        assert [found[place] for place in names] == [program.offsets[tensor] for tensor in tensors]
