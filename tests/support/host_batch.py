"""Compiles many generated models into one host program and runs them all, under sanitizers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinygen.emit.model import emit_model
from tinygen.lowering.program import Program

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g0"]

_MAIN = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
{includes}
static void get(void *data, size_t bytes)
{{
    if (fread(data, 1, bytes, stdin) != bytes) {{ exit(3); }}
}}
static void put(const void *data, size_t bytes)
{{
    if (fwrite(data, 1, bytes, stdout) != bytes) {{ exit(4); }}
}}
int main(void)
{{
{runs}
    return 0;
}}
"""


def write_sources(programs: Sequence[Program], folder: Path, *, optimised: bool = True) -> list[Path]:
    """Emits each program; every graph needs a name of its own. Gives the C files to compile.

    Fewer files compile faster. Calls and weights are joined into one; without optimisation, which sees nothing more in
    a larger file, the kernels too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = []
    for program in programs:
        name = program.graph.name
        files = emit_model(program, "test").files
        for file, text in files.items():
            (folder / file).write_text(text)
        apart = [file for file in files if optimised and file == f"{name}_kernels.c"]
        joined = folder / f"{name}_joined.c"
        joined.write_text("".join(f'#include "{f}"\n' for f in files if f.endswith(".c") and f not in apart))
        sources += [joined, *(folder / file for file in apart)]
    return sources


def run_on_host(
    programs: Sequence[Program],
    samples: Sequence[Sequence[Sequence[np.ndarray]]],
    folder: Path,
    compiler: str = "gcc",
    flags: Sequence[str] = ("-O0", *SANITIZERS),
    *,
    keep: bool = False,
) -> list[list[list[np.ndarray]]]:
    """Outputs per program, per sample, per model output.

    Args:
        programs: with distinct graph names.
        samples: per program a list of samples, each a list of the model's inputs.
        folder: where sources and the executable are written.
        keep: states, from one sample to the next.
    """
    sources = write_sources(programs, folder, optimised="-O0" not in flags)
    runs = [_run_text(program, len(feeds), keep) for program, feeds in zip(programs, samples, strict=True)]
    includes = "".join(f'#include "{program.graph.name}.h"\n' for program in programs)
    main = folder / "main_batch.c"
    main.write_text(_MAIN.format(includes=includes, runs="\n".join(runs)))
    executable = folder / "batch"
    compile_host([main, *sources], executable, flags, compiler)
    feed = feed_of(programs, samples)
    done = subprocess.run([executable], input=feed, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return _split(programs, [len(feeds) for feeds in samples], done.stdout)


def feed_of(programs: Sequence[Program], samples: Sequence[Sequence[Sequence[np.ndarray]]]) -> bytes:
    """All inputs of all samples, one behind the other, as they lie in the arena."""
    return b"".join(
        tensor.to_memory(x)
        for program, feeds in zip(programs, samples, strict=True)
        for sample in feeds
        for tensor, x in zip(program.inputs, sample, strict=True)
    )


_COMPILERS = {"gcc": ["gcc"], "zig": [sys.executable, "-m", "ziglang", "cc"]}


def compile_host(sources: Sequence[Path], executable: Path, flags: Sequence[str], compiler: str = "gcc") -> None:
    """Builds a program for this computer, in its own folder; `compiler` is "gcc" or "zig", which is a clang."""
    command = [*_COMPILERS[compiler], *WARNINGS, *flags, "-pipe", "-o", str(executable), *map(str, sources)]
    folder = executable.parent
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def _run_text(program: Program, count: int, keep: bool) -> str:
    name = program.graph.name
    # The arena comes from malloc at its exact size, so that AddressSanitizer guards both its ends.
    begin = [
        f"        uint8_t *arena = malloc({name.upper()}_ARENA_BYTES);",
        "        if (arena == NULL) { return 5; }",
        f"        memset(arena, 0xA5, {name.upper()}_ARENA_BYTES);",
        f"        {name}_t *m = {name}_init(arena);",
    ]
    loop = f"    for (int n = 0; n < {count}; n++) {{"
    lines = ["    {", *begin, loop] if keep else [loop, *begin]
    for tensor, function in zip(program.inputs, _functions(program, "input"), strict=True):
        lines.append(f"        get({function}(m), {tensor.nbytes});")
    lines.append(f"        {name}_invoke(m);")
    for tensor, function in zip(program.outputs, _functions(program, "output"), strict=True):
        lines.append(f"        put({function}(m), {tensor.nbytes});")
    lines += ["    }", "        free(arena);", "    }"] if keep else ["        free(arena);\n    }"]
    return "\n".join(lines)


def _functions(program: Program, kind: str) -> list[str]:
    tensors = program.inputs if kind == "input" else program.outputs
    name = program.graph.name
    return [f"{name}_{kind}"] if len(tensors) == 1 else [f"{name}_{kind}_{i}" for i in range(len(tensors))]


def _split(programs: Sequence[Program], counts: Sequence[int], content: bytes) -> list[list[list[np.ndarray]]]:
    position = 0
    results = []
    for program, count in zip(programs, counts, strict=True):
        rows = []
        for _ in range(count):
            row = []
            for tensor in program.outputs:
                chunk = content[position : position + tensor.nbytes]
                row.append(tensor.from_memory(chunk))
                position += tensor.nbytes
            rows.append(row)
        results.append(rows)
    assert position == len(content)
    return results
