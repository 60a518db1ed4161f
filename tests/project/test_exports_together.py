"""Several exported models in one program: in C++, in one arena and in two, in two threads at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.test_exports import STRICT, run
from tests.support.networks import Network
from tests.support.semihosting import CORE, LINK, board_files, run_in_qemu
from tests.support.switchable import small_network
from tests.targets.tools import requires_tool
from tinygen.demo import MODEL
from tinygen.frontends.memory import MemoryModel
from tinygen.verbs.build import BuildOptions
from tinygen.verbs.export import export

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A classifier, and a network with switches: both have their kernels and the same shared headers."""
    folder = tmp_path_factory.mktemp("together")
    export(MODEL, folder / "digits", "c", BuildOptions(board="f746zg", name="digits"))
    export(MemoryModel(small_network(), "net"), folder / "net", "c", BuildOptions(board="f746zg"))
    return folder / "digits", folder / "net"


ONE_ARENA = """#include "digits.h"
#include "digits_vectors.h"
#include "net.h"
#include "net_vectors.h"

#include <stdio.h>
#include <string.h>

#define LARGER (DIGITS_ARENA_BYTES > NET_ARENA_BYTES ? DIGITS_ARENA_BYTES : NET_ARENA_BYTES)
static unsigned char arena[LARGER] __attribute__((aligned(16)));

int main(void)
{
    unsigned right = 0U;
    for (unsigned i = 0U; i < DIGITS_VECTORS; i++) {
        for (unsigned s = 0U; s < NET_SWITCHES; s++) {
            digits_t *digits = digits_init(arena, sizeof arena);
            memcpy(digits_input(digits), digits_vectors_input[i], sizeof digits_vectors_input[i]);
            digits_invoke(digits);
            right += memcmp(digits_output(digits), digits_vectors_output[i], sizeof digits_vectors_output[i]) == 0;

            net_t *net = net_init(arena, sizeof arena);
            net_set_switch(net, s);
            memcpy(net_input(net), net_vectors_input[i], sizeof net_vectors_input[i]);
            net_invoke(net);
            right += memcmp(net_output(net), net_vectors_output[s][i], sizeof net_vectors_output[s][i]) == 0;
        }
    }
    printf("%u of %u\\n", right, (unsigned)(2U * DIGITS_VECTORS * NET_SWITCHES));
    return 0;
}
"""


def objects(libraries: tuple[Path, Path], compiler: str, flags: list[str], folder: Path) -> list[Path]:
    """The C of both, compiled; -D leaves the static arenas out."""
    for library in libraries:
        here = [f"-I{library / 'include'}", f"-D{library.name.upper()}_NO_STATIC_ARENA"]
        run(compiler, "-std=c99", *flags, *STRICT.split(), *here, "-c", *(library / "src").glob("*.c"), cwd=folder)
    return sorted(folder.glob("*.o"))


def includes(libraries: tuple[Path, Path]) -> list[str]:
    return [f"-I{library / place}" for library in libraries for place in ("include", "example")]


@requires_tool("g++")
def test_one_arena_in_cpp_with_lto(libraries: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text(ONE_ARENA)
    made = objects(libraries, "gcc", ["-O2", "-flto"], tmp_path)
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    run("g++", "-O2", "-flto", *strict, *includes(libraries), "main.cpp", *made, "-o", "run", cwd=tmp_path)
    assert run(tmp_path / "run", cwd=tmp_path) == "48 of 48\n"


@requires_tool("arm-none-eabi-gcc")
@requires_tool("qemu-system-arm")
def test_one_arena_on_a_cortex_m7_with_lto(libraries: tuple[Path, Path], tmp_path: Path) -> None:
    start, script = board_files(tmp_path)
    (tmp_path / "both.c").write_text(ONE_ARENA)
    flags = [*CORE, "-O3", "-flto", "-ffunction-sections", "-fdata-sections"]
    made = objects(libraries, "arm-none-eabi-gcc", flags, tmp_path)
    both = [*includes(libraries), "both.c", start, *made, "-T", script, "-o", "both.elf"]
    run("arm-none-eabi-gcc", *flags, *LINK, *both, cwd=tmp_path)
    assert run_in_qemu(tmp_path / "both.elf") == "48 of 48\n"


THREADS = """#include "digits.h"
#include "digits_vectors.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define THREADS 3
static uint64_t arenas[THREADS][(DIGITS_ARENA_BYTES + 7U) / 8U];

static void *work(void *arena)
{
    digits_t *const digits = digits_init(arena, DIGITS_ARENA_BYTES);
    uintptr_t right = 0U;
    for (unsigned i = 0U; i < 40U; i++) {
        const unsigned v = i % DIGITS_VECTORS;
        memcpy(digits_input(digits), digits_vectors_input[v], sizeof digits_vectors_input[v]);
        digits_invoke(digits);
        right += memcmp(digits_output(digits), digits_vectors_output[v], sizeof digits_vectors_output[v]) == 0;
    }
    return (void *)right;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0U; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, work, ARENA(i));
    }
    for (unsigned i = 0U; i < THREADS; i++) {
        void *right;
        pthread_join(threads[i], &right);
        printf("%u ", (unsigned)(uintptr_t)right);
    }
    return 0;
}
"""


@requires_tool("gcc")
@pytest.mark.parametrize("rule", ["kept", "broken"])
def test_threads_with_arenas_of_their_own(rule: str, libraries: tuple[Path, Path], tmp_path: Path) -> None:
    """As the rule says, under the thread sanitizer; which finds the race where all take the same arena."""
    (tmp_path / "threads.c").write_text(THREADS)
    folder = libraries[0]
    arena = "arenas[i]" if rule == "kept" else "arenas[0]"
    sources = [*sorted((folder / "src").glob("*.c")), "threads.c"]
    flags = ["-O1", "-g", "-fsanitize=thread", "-pthread", f"-DARENA(i)={arena}"]
    run("gcc", *flags, f"-I{folder / 'include'}", f"-I{folder / 'example'}", *sources, "-o", "run", cwd=tmp_path)
    if rule == "kept":
        assert run(tmp_path / "run", cwd=tmp_path, TSAN_OPTIONS="halt_on_error=1") == "40 40 40 "
    else:
        with pytest.raises(AssertionError, match="data race"):
            run(tmp_path / "run", cwd=tmp_path, TSAN_OPTIONS="halt_on_error=1")


def test_a_small_network_has_the_same_shared_headers(libraries: tuple[Path, Path], tmp_path: Path) -> None:
    """tinygen's own headers are the same text in every export of one version: whichever is found first is right."""
    network = Network(1)
    network.conv(network.input(5, 6, 3), 4, 3)
    (tmp_path / "net.tflite").write_bytes(network.model())
    export(tmp_path / "net.tflite", tmp_path / "other", "c", BuildOptions(board="esp32c3", name="other"))
    texts: dict[str, set[str]] = {}
    for folder in (*libraries, tmp_path / "other"):
        for header in (folder / "src").glob("tinygen_*.h"):
            texts.setdefault(header.name, set()).add(header.read_text())
    assert len(texts) > 2 and all(len(one) == 1 for one in texts.values())
