"""Compiles many generated models into one host program and runs them all, under sanitizers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.long_lines import too_long
from tests.support.run_table import run_table
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
/* An arena of exactly its size, so that AddressSanitizer guards both its ends. */
static void *taken(size_t bytes)
{{
    void *arena = malloc(bytes);
    if (arena == NULL) {{ exit(5); }}
    return memset(arena, 0xA5, bytes);
}}
static void given_back(void *arena)
{{
    free(arena);
}}
{table}
int main(void)
{{
{runs}
    return 0;
}}
"""


_MARKED = '#pragma clang diagnostic ignored "-Wgnu-line-marker"\n'
_STATIC = re.compile(r"^(?:static (?:inline |const |struct |union )*[^(;={]*?|\} )(\w+)(?=[(\[;]| =)", re.MULTILINE)
_UNCALLED = re.compile(
    r"^(?:static (?!inline))?(?=[a-z][^\n(]*\b(?:\w+_(?:version|build_id|(?:de)?quantize)|code_of)\()", re.MULTILINE
)
_INCLUDE = re.compile(r'^#include "(\w+\.h)"\n', re.MULTILINE)
_ENUMERATOR = re.compile(r"^    (AT_\w+) = ", re.MULTILINE)


@dataclass(frozen=True)
class Sources:
    """The C of many programs.

    Starting a compiler costs more than compiling a small model: one text has all kernels, the other all calls and
    weights. Kernels stay apart from what calls them, as in a user's build: nothing is inlined across.

    Attributes:
        kernels, models: these texts.
        headers: which they include, by name.
    """

    kernels: str
    models: str
    headers: Mapping[str, str]

    def whole(self, text: str, *, marked: bool = False) -> str:
        """The text with headers in place of what includes them, each once: to make files takes its time, too.

        Args:
            marked: as what it is, for clang, which otherwise warns of inline functions that are not used.
        """
        seen: set[str] = set()

        def included(match: re.Match[str]) -> str:
            name = match[1]
            if name not in self.headers:
                return match[0]
            if name in seen:
                return ""
            seen.add(name)
            found = _INCLUDE.sub(included, self.headers[name])
            return f'# 1 "{name}" 1\n{found}# 1 "{name}.c" 2\n' if marked else found

        return (_MARKED if marked else "") + _INCLUDE.sub(included, text)


def sources_of(programs: Sequence[Program], *, interface: bool = False) -> Sources:
    """Emits each program; every graph needs a name of its own.

    Without `interface`, functions that no inference calls, which tell versions and convert codes, are compiled as if
    they were inline: compilers check them, and write no code for them.
    """
    kernels, models = [], []
    headers: dict[str, str] = {}
    for program in programs:
        name = program.graph.name
        for file, text in emit_model(program, "test").files.items():
            assert not too_long(text), too_long(text)
            if file.endswith(".c"):
                text = _joined(name, file, text)
            if file in (f"{name}.c", f"{name}.h") and not interface:
                text = _UNCALLED.sub("static inline __attribute__((unused)) ", text)
            if file.endswith(".c"):
                (kernels if file == f"{name}_kernels.c" else models).append(text)
            else:
                headers[file] = text
    return Sources("".join(kernels), "".join(models), headers)


def write_sources(programs: Sequence[Program], folder: Path) -> list[Path]:
    """Writes C and headers of programs, whose whole interface can be called. Gives the C files, one or two."""
    sources = sources_of(programs, interface=True)
    write_texts(folder, sources.headers)
    return write_texts(folder, {"all_kernels.c": sources.kernels, "all_models.c": sources.models})


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Files of those that are not empty."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {folder / name: text for name, text in texts.items() if text}
    for path, text in found.items():
        path.write_text(text)
    return list(found)


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
    return split(programs, [len(feeds) for feeds in samples], done.stdout)


def _compile_and_run(
    programs: Sequence[Program],
    samples: Sequence[Sequence[Sequence[np.ndarray]]],
    folder: Path,
    compiler: str,
    flags: Sequence[str],
    keep: bool,
) -> subprocess.CompletedProcess[bytes]:
    sources = sources_of(programs)
    counts = [len(feeds) for feeds in samples]
    runs = [
        f"    run(&batch_models[{index}]);" if program.io == Io.ARENA else _run_with_buffers(program, count, keep)
        for index, (program, count) in enumerate(zip(programs, counts, strict=True))
    ]
    includes = "".join(f'#include "{program.graph.name}.h"\n' for program in programs)
    # Without optimisation the compiler sees nothing more in one file than in two.
    apart = "-O0" not in flags
    includes += sources.models if apart else sources.kernels + sources.models
    main = _MAIN.format(includes=includes, table=run_table(programs, counts, keep=keep), runs="\n".join(runs))
    texts = {"main_batch.c": main, "all_kernels.c": sources.kernels if apart else ""}
    files = write_texts(folder, {name: sources.whole(text, marked=compiler == "zig") for name, text in texts.items()})
    executable = folder / "batch"
    compile_host(files, executable, flags, compiler)
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


def _run_with_buffers(program: Program, count: int, keep: bool) -> str:
    """With buffers of the caller, each of its exact size; inputs must stay as they are."""
    name = program.graph.name
    begin = [
        f"        void *arena = taken({name.upper()}_ARENA_BYTES);",
        f"        {name}_t *m = {name}_init(arena, {name.upper()}_ARENA_BYTES);",
    ]
    loop, end = f"    for (int n = 0; n < {count}; n++) {{", "        given_back(arena);"
    lines = ["    {", *begin, loop] if keep else [loop, *begin]
    lines += _invocation_with_buffers(program)
    lines += ["    }", end, "    }"] if keep else [end, "    }"]
    return "\n".join(lines)


def _invocation_with_buffers(program: Program) -> list[str]:
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


def split(programs: Sequence[Program], counts: Sequence[int], content: bytes) -> list[list[list[np.ndarray]]]:
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
