"""The program that holds the pages' figures to their commands: it has to find what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.figures import check, claims, figures
from tests.docs.pages import pages

PAGE = """# Page

It takes 12,345 B and 1.50 ms.

| kws | 3,724,663 | any | 0.46 |

<!-- figures: within 1 %
$ tinygen build kws.tflite --json
`takes {sizes.flash} B and {times.0} ms`
-->
<!-- figures
$ tinygen bench --json
`| kws | {[case=kws,toolchain=zig].instructions} | {} | {[case=kws,toolchain=zig].ratio} |`
-->
"""
BUILD = {"sizes": {"flash": 12345}, "times": [1.5]}
BENCH = [
    {"case": "kws", "toolchain": "gcc", "instructions": 1, "ratio": 1},
    {"case": "kws", "toolchain": "zig", "instructions": 3724663, "ratio": 0.4631},
    {"error": 0},
]


def page(tmp_path: Path, text: str = PAGE) -> Path:
    path = tmp_path / "page.md"
    path.write_text(text)
    return path


def wrong(path: Path, build: object = BUILD, bench: object = BENCH, write: bool = False) -> int:
    return check([path], everything=False, write=write, runner=lambda command: build if "build" in command else bench)


def test_right_figures_pass(tmp_path: Path) -> None:
    assert wrong(page(tmp_path)) == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("12,345 B", "12,500 B"),  # more than 1 % off
        ("1.50 ms", "1.53 ms"),
        ("3,724,663", "3,724,664"),  # exact where nothing is allowed
        ("0.46 |\n\n", "0.47 |\n\n"),
        ("It takes", "It needs about"),  # the words are not there
        ("sizes.flash", "sizes.flsh"),  # the command has no such key
        ("toolchain=zig].instr", "toolchain=iar].instr"),
    ],
)
def test_wrong_figures_fail(tmp_path: Path, old: str, new: str) -> None:
    text = PAGE
    assert old in text
    assert wrong(page(tmp_path, text.replace(old, new, 1))) >= 1


def test_what_is_allowed_and_rounding(tmp_path: Path) -> None:
    assert wrong(page(tmp_path, PAGE.replace("12,345 B", "12,400 B"))) == 0  # within 1 %
    assert wrong(page(tmp_path), bench=[*BENCH[:1], {**BENCH[1], "ratio": 0.4649}]) == 0
    assert wrong(page(tmp_path), bench=[*BENCH[:1], {**BENCH[1], "ratio": 0.4651}]) == 1


def test_figures_are_written_as_the_page_writes_them(tmp_path: Path) -> None:
    path = page(tmp_path)
    before = path.read_text()
    changed = {"sizes": {"flash": 23456.0}, "times": [2.346]}
    assert wrong(path, build=changed, write=True) == 2
    assert path.read_text() == before.replace("12,345 B", "23,456 B").replace("1.50 ms", "2.35 ms")
    assert wrong(path, build=changed) == 0


def test_signs_and_scales(tmp_path: Path) -> None:
    path = page(tmp_path, "Off by −3.2 % here.\n\n<!-- figures\n$ tinygen x\n`by {error*100} %`\n-->\n")
    (claim,) = claims(path)
    (figure,) = figures(claim, {"error": -0.0322})
    assert figure.right
    (figure,) = figures(claim, {"error": -0.041})
    assert not figure.right and figure.correct == "−4.1"


def test_slow_commands_and_missing_models_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(command: str) -> object:
        raise FileNotFoundError("$MODELS/x is not here")

    def failing(command: str) -> object:
        raise RuntimeError("error: no such board")

    slow = page(tmp_path, "It is 3.\n<!-- figures: slow\n$ tinygen x\n`is {a}.`\n-->\n")
    assert check([slow], everything=False, write=False, runner=failing) == 0
    assert check([slow], everything=True, write=False, runner=failing) == 1
    monkeypatch.delenv("TINYGEN_CI", raising=False)
    assert check([slow], everything=True, write=False, runner=missing) == 0
    monkeypatch.setenv("TINYGEN_CI", "1")
    assert check([slow], everything=True, write=False, runner=missing) == 1
    said = capsys.readouterr().out
    assert "takes minutes" in said and "no such board" in said and "not here" in said


def test_a_comment_that_says_nothing_is_refused(tmp_path: Path) -> None:
    for text in ("<!-- figures: fast\n$ tinygen x\n`{a}`\n-->", "<!-- figures\n$ tinygen x\n-->"):
        with pytest.raises(ValueError, match="says nothing"):
            claims(page(tmp_path, text))


def test_the_claims_of_the_pages_are_on_them() -> None:
    """Every pattern of every comment is on its page once: a changed sentence does not lose its check."""
    found = [figure for path in pages() for claim in claims(path) for figure in figures(claim, {})]
    assert len(found) >= 20
    assert not [figure.path for figure in found if figure.found is None]
