"""Compiles many generated models into one host program and runs them all, under sanitizers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.long_lines import too_long
from tinygen.emit.model import emit_model
from tinygen.lowering.program import Io, Program
from tinygen.targets.toolchains.zig import zig_folder

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
# AddressSanitizer's checks as calls, not inline: the same checks, and gcc takes half the time.
_CALLED = ["--param", "asan-instrumentation-with-call-threshold=0"]
SANITIZERS = ["-fsanitize=address,undefined", *_CALLED, "-fno-sanitize-recover=all", "-g0"]
# Inner loops are always_inline, without optimisation too: as functions they are compiled once and not at every call.
_ONCE = ["-Dalways_inline=unused"]

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


_STATIC = re.compile(r"^(?:static (?:inline |const |struct |union )*[^(;={]*?|\} )(\w+)(?=[(\[;]| =)", re.MULTILINE)
_ENUMERATOR = re.compile(r"^    (AT_\w+) = ", re.MULTILINE)


def write_sources(programs: Sequence[Program], folder: Path) -> list[Path]:
    """Emits each program; every graph needs a name of its own. Gives the two C files to compile.

    Starting a compiler costs more than compiling a small model: one file has all kernels, the other all calls and
    weights. Kernels stay apart from what calls them, as in a user's build: nothing is inlined across.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kernels, models = [], []
    headers: dict[str, str] = {}
    for program in programs:
        name = program.graph.name
        for file, text in emit_model(program, "test").files.items():
            assert not too_long(text), too_long(text)
            if file.endswith(".c"):
                (kernels if file == f"{name}_kernels.c" else models).append(_joined(name, file, text))
            else:
                headers[file] = text
    for file, text in headers.items():
        (folder / file).write_text(text)
    found = []
    for stem, texts in (("all_kernels", kernels), ("all_models", models)):
        if texts:
            found.append(folder / f"{stem}.c")
            found[-1].write_text("".join(texts))
    return found


def _joined(name: str, file: str, text: str) -> str:
    """One file's C among others': what is static in it gets a name that no other file has."""
    found = {*_STATIC.findall(text), *_ENUMERATOR.findall(text)}
    own = sorted(word for word in found if not word.startswith(f"{name}_"))
    before = "".join(f"#define {word} {name}_{word}\n" for word in own)
    if "#define TG_DUAL_ISSUE" in text:
        before += "#undef TG_DUAL_ISSUE\n"  # a program before this one may be for another core
    return f'{before}#line 1 "{file}"\n{text}' + "".join(f"#undef {word}\n" for word in own)


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

    Raises:
        AssertionError: the program ended early; names the first model that makes it do so, and what was wrong.
    """
    # Messages of the sanitizers are two thirds of the code that gcc writes for them: only a batch that fails has them.
    quick = [*flags, "-fsanitize-undefined-trap-on-error"] if compiler == "gcc" and "-O0" in flags else flags
    done = _compile_and_run(programs, samples, folder, compiler, quick, keep)
    if done.returncode != 0:
        raise AssertionError(_blame(programs, samples, folder, compiler, flags, keep))
    return _split(programs, [len(feeds) for feeds in samples], done.stdout)


def _compile_and_run(
    programs: Sequence[Program],
    samples: Sequence[Sequence[Sequence[np.ndarray]]],
    folder: Path,
    compiler: str,
    flags: Sequence[str],
    keep: bool,
) -> subprocess.CompletedProcess[bytes]:
    sources = write_sources(programs, folder)
    runs = [_run_text(program, len(feeds), keep) for program, feeds in zip(programs, samples, strict=True)]
    includes = "".join(f'#include "{program.graph.name}.h"\n' for program in programs)
    if "-O0" in flags:
        # The compiler sees nothing more in one file than in three.
        includes += "".join(f'#include "{source.name}"\n' for source in sources)
        sources = []
    main = folder / "main_batch.c"
    main.write_text(_MAIN.format(includes=includes, runs="\n".join(runs)))
    executable = folder / "batch"
    compile_host([main, *sources], executable, flags, compiler)
    return subprocess.run([executable], input=feed_of(programs, samples), capture_output=True, timeout=300, check=False)


def _blame(
    programs: Sequence[Program],
    samples: Sequence[Sequence[Sequence[np.ndarray]]],
    folder: Path,
    compiler: str,
    flags: Sequence[str],
    keep: bool,
) -> str:
    """Which program ends a batch, and why: each is run alone, with the sanitizers' messages."""
    for program, feeds in zip(programs, samples, strict=True):
        alone = _compile_and_run([program], [feeds], folder / f"alone_{program.graph.name}", compiler, flags, keep)
        if alone.returncode != 0:
            message = alone.stderr.decode()[-3000:]
            return f"{program.graph.name} ends with {alone.returncode}: {message}\n{describe(program)}"
    return "the batch ends early, but none of its programs does so alone"


def describe(program: Program) -> str:
    """Its kernels, and the layers that they compute."""
    return "\n".join(f"{step.kernel.name}: {step.node.describe()}" for step in program.steps)


def feed_of(programs: Sequence[Program], samples: Sequence[Sequence[Sequence[np.ndarray]]]) -> bytes:
    """All inputs of all samples, one behind the other, as they lie in the arena."""
    return b"".join(
        tensor.to_memory(x)
        for program, feeds in zip(programs, samples, strict=True)
        for sample in feeds
        for tensor, x in zip(program.inputs, sample, strict=True)
    )


def zig_cc() -> list[str]:
    """Called without the Python of its wheel, which takes as long to start as zig takes for a small file."""
    folder = zig_folder()
    assert folder is not None, "ziglang is not installed"
    return [str(folder / "zig"), "cc"]


def compile_host(sources: Sequence[Path], executable: Path, flags: Sequence[str], compiler: str = "gcc") -> None:
    """Builds a program for this computer, in its own folder; `compiler` is "gcc" or "zig", which is a clang.

    gcc links in either case: zig would make libraries of its own for this computer, which takes seconds.
    """
    command = [*(zig_cc() if compiler == "zig" else [compiler]), *WARNINGS, *flags, "-pipe"]
    command += _ONCE if "-O0" in flags else []
    files = [str(source) for source in sources]
    if compiler == "zig":
        objects = [f"{executable}.{i}.o" for i in range(len(files))]
        for file, made in zip(files, objects, strict=True):
            _call([*command, "-c", "-o", made, file], executable.parent)
        command, files = ["gcc"], [*objects, "-lm"]
    _call([*command, "-o", str(executable), *files], executable.parent)


def _call(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def _run_text(program: Program, count: int, keep: bool) -> str:
    name = program.graph.name
    # The arena comes from malloc at its exact size, so that AddressSanitizer guards both its ends.
    begin = [
        f"        uint8_t *arena = malloc({name.upper()}_ARENA_BYTES);",
        "        if (arena == NULL) { return 5; }",
        f"        memset(arena, 0xA5, {name.upper()}_ARENA_BYTES);",
        f"        {name}_t *m = {name}_init(arena, {name.upper()}_ARENA_BYTES);",
    ]
    loop = f"    for (int n = 0; n < {count}; n++) {{"
    lines = ["    {", *begin, loop] if keep else [loop, *begin]
    lines += _invocation(program) if program.io == Io.ARENA else _invocation_with_buffers(program)
    lines += ["    }", "        free(arena);", "    }"] if keep else ["        free(arena);\n    }"]
    return "\n".join(lines)


def _invocation(program: Program) -> list[str]:
    inputs = zip(program.inputs, _functions(program, "input"), strict=True)
    outputs = zip(program.outputs, _functions(program, "output"), strict=True)
    return [
        *(f"        get({function}(m), {tensor.nbytes});" for tensor, function in inputs),
        f"        {program.graph.name}_invoke(m);",
        *(f"        put({function}(m), {tensor.nbytes});" for tensor, function in outputs),
    ]


def _invocation_with_buffers(program: Program) -> list[str]:
    """With buffers of the caller, each of its exact size; inputs must stay as they are."""
    inputs = [(f"x{i}", tensor.nbytes) for i, tensor in enumerate(program.inputs)]
    outputs = [(f"y{i}", tensor.nbytes) for i, tensor in enumerate(program.outputs)]
    arguments = "".join(f", {name}" for name, _ in (*inputs, *outputs))
    lines = [f"void *{name} = malloc({size}), *{name}_before = malloc({size});" for name, size in inputs]
    lines += [f"void *{name} = malloc({size});" for name, size in outputs]
    for name, size in inputs:
        lines += [f"get({name}, {size});", f"memcpy({name}_before, {name}, {size});"]
    lines.append(f"if ({program.graph.name}_invoke(m{arguments}) != 0) {{ return 6; }}")
    for name, size in inputs:
        lines += [f"if (memcmp({name}, {name}_before, {size}) != 0) {{ return 7; }}", f"free({name}_before);"]
    lines += [f"put({name}, {size});" for name, size in outputs]
    lines += [f"free({name});" for name, _ in (*inputs, *outputs)]
    return [f"        {line}" for line in lines]


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
