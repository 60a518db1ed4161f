"""A wake word as a library: it hears what the firmware hears, also as one of two."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest

from tests.project.test_exports import STRICT, run
from tests.support.command_line import call
from tests.support.semihosting import CORE, LINK, board_files, run_in_qemu
from tests.support.streaming_models import needs_wake_words, wake_word
from tests.support.wake_word_oracles import pymicro
from tests.targets.tools import requires_package, requires_tool
from tinygen.audio.speech import say
from tinygen.builds import expected_detections as semantics
from tinygen.errors import TinygenError
from tinygen.project.wakeword_json import read_app
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_shared_library, find_toolchain
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.export import export

pytestmark = needs_wake_words


def options(name: str, board: str = "host", **more: object) -> BuildOptions:
    return BuildOptions(board=board, app=read_app("wakeword", None, wake_word(name)), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def alexa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("listener") / "alexa"
    content = export(wake_word("alexa"), out, "c", options("alexa")).as_json()
    assert content["app"]["wake_word"] == "Alexa" and content["vectors"] >= 24
    return out


@requires_tool("nm")
def test_names_begin_with_the_models(alexa: Path, tmp_path: Path) -> None:
    assert {p.name for p in (alexa / "include").iterdir()} == {"alexa.h", "alexa_listener.h", "alexa_features.h"}
    assert "alexa: " in (alexa / "example/main.c").read_text()
    sources = sorted((alexa / "src").glob("*.c"))
    for source in sources:
        run("gcc", *STRICT.split(), "-std=c99", "-O0", f"-I{alexa}/include", "-c", source, cwd=tmp_path)
    listed = run("nm", "-g", "--defined-only", *sorted(tmp_path.glob("*.o")), cwd=tmp_path).splitlines()
    names = [line.split()[2] for line in listed if len(line.split()) == 3]
    assert len(names) > 20 and all(name.startswith("alexa_") for name in names)
    assert all(source.name.startswith("alexa") for source in sources)


def test_wrong_sound_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expected detections whose front end is off by one feature, once."""
    right = semantics._weighted
    monkeypatch.setattr(semantics, "_weighted", lambda raw: right(raw) + (raw[3] == raw[4]))
    monkeypatch.setattr(semantics, "_sound", lambda hops, samples: np.zeros((hops, samples), np.int16))
    with pytest.raises(TinygenError, match=r"the example says: alexa: \d+ of \d+ hops of sound right"):
        export(wake_word("alexa"), tmp_path / "out", "c", options("alexa"))


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="keeps the model's input itself"):
        export(wake_word("alexa"), tmp_path / "out", "c", options("alexa", io="caller"))
    done = call("export", wake_word("alexa"), "--as", "c", "--app", "radio", "--out", tmp_path / "out")
    assert done.returncode == 1 and "radio" in done.text and not (tmp_path / "out").exists()


_HEAR = """#include "alexa_listener.h"
void hear(const int16_t *sound, const int16_t *other, uint32_t hops, int32_t *said);
void hear(const int16_t *sound, const int16_t *other, uint32_t hops, int32_t *said)
{
    static alexa_listener_t listeners[2];
    static uint64_t arenas[2][(ALEXA_ARENA_BYTES + 7U) / 8U];
    const int16_t *const sounds[2] = {sound, other};
    for (uint32_t i = 0U; i < 2U; i++) {
        alexa_listener_init(&listeners[i], alexa_init(arenas[i], sizeof arenas[i]));
    }
    for (uint32_t hop = 0U; hop < hops; hop++) {
        for (uint32_t i = 0U; i < 2U; i++) {
            const alexa_detection_t detection = alexa_listener_hop(&listeners[i], &sounds[i][hop * ALEXA_LISTENER_HOP]);
            *said++ = detection.ran ? 1 : 0;
            *said++ = detection.detected ? 1 : 0;
            *said++ = (int32_t)detection.thousandths;
        }
    }
}
"""


@pytest.mark.long
@requires_package("espeakng_loader")
def test_it_hears_the_word(alexa: Path, tmp_path: Path) -> None:
    """Speech, with the word and without, by two listeners in turn: what pymicro-wakeword makes of it."""
    sounds = [say("Alexa, what time is it?"), say("What is the weather like? Alexa!")]
    hops = min(len(one) for one in sounds) // 160
    sounds = [np.concatenate([np.zeros(800, np.int16), one])[: hops * 160].copy() for one in sounds]
    (alexa / "hear.c").write_text(_HEAR)
    sources = (*(f"src/{p.name}" for p in sorted((alexa / "src").glob("*.c"))), "hear.c")
    code = HostCode(alexa, sources, ("include",))
    built = build_shared_library(code, tmp_path / "hear.so", find_toolchain(None, load_board("host")))
    said = np.zeros((hops, 2, 3), np.int32)
    pointers = [ctypes.c_void_p(one.ctypes.data) for one in (*sounds, said)]
    ctypes.CDLL(str(built)).hear(pointers[0], pointers[1], ctypes.c_uint32(hops), pointers[2])
    for index, sound in enumerate(sounds):
        theirs = pymicro(wake_word("alexa").with_suffix(".json"), sound, reference=True)
        ran, detected, thousandths = said[said[:, index, 0] == 1, index].T
        assert ran.all() and len(ran) == len(theirs.detected)
        assert detected.astype(bool).tolist() == theirs.detected
        whole = slice(4, None)  # the windows before are not full
        np.testing.assert_allclose(thousandths[whole] / 1000, theirs.probabilities[whole], atol=0.00101)
    assert said[:, 0, 1].any()


@pytest.mark.long
@requires_tool("arm-none-eabi-gcc")
@requires_tool("qemu-system-arm")
def test_the_example_on_a_cortex_m7(tmp_path: Path) -> None:
    export(wake_word("okay_nabu"), tmp_path / "nabu", "c", options("okay_nabu", "f746zg"))
    start, script = board_files(tmp_path)
    sources = [*sorted((tmp_path / "nabu/src").glob("*.c")), tmp_path / "nabu/example/main.c", start]
    flags = [*CORE, *LINK, "-std=c99", "-O3", *STRICT.split(), f"-I{tmp_path / 'nabu/include'}", "-T", script]
    run("arm-none-eabi-gcc", *flags, *sources, "-o", "nabu.elf", cwd=tmp_path)
    assert run_in_qemu(tmp_path / "nabu.elf") == "okay_nabu: 30 of 30 hops of sound right\n"


@pytest.mark.long
def test_the_build_is_that_of_the_firmware(alexa: Path, tmp_path: Path) -> None:
    """One id for one model and application."""
    built = build(wake_word("alexa"), tmp_path / "out", options("alexa"), profile=False)
    assert json.loads((alexa / "tinygen-export.json").read_text())["build_id"] == built.manifest.build_id
