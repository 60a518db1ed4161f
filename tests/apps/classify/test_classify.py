"""`tinygen demo classify` from Python: trained, built, run on the emulated board, pictures classified; and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.models import RESNET, needs_models
from tests.support.torch_models import need
from tinygen.apps.classify.choices import CHOICES, Settings
from tinygen.apps.classify.demo import ClassifyOptions, Shown, classify_digits, classify_model
from tinygen.cli.classify_tables import comparison_view, draw_pixels
from tinygen.demo import MODEL, load_test_digits
from tinygen.errors import TinygenError, WrongBuildError
from tinygen.targets.boards import load_board
from tinygen.targets.emulator import EmulatedBoard

for _name in ("torch", "mlxtend", "matplotlib"):
    need(_name)
Image = need("PIL.Image")

from rich.console import Console  # noqa: E402

from tinygen.apps.classify import training  # noqa: E402
from tinygen.apps.digits import lowbit as lowbit  # noqa: E402  (needs torch)

ONE_EPOCH = Settings(epochs=1)


def _printed(result: object) -> str:
    console = Console(width=140, force_terminal=False)
    with console.capture() as capture:
        console.print(comparison_view(result, colours=False))  # type: ignore[arg-type]
    return capture.get()


def _digit_file(path: Path, index: int) -> Path:
    images, _ = load_test_digits()
    Image.fromarray((images[index, :, :, 0].astype(np.int64) + 128).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 digits to train with, 20 to test with."""
    train, test = lowbit.load_digits()
    part = lowbit.Digits(train.images[::13][:300], train.labels[::13][:300])
    monkeypatch.setattr(lowbit, "load_digits", lambda: (part, lowbit.Digits(test.images[:20], test.labels[:20])))


def test_one_choice(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From digits to the table; a second run trains, builds and tests nothing."""
    options = ClassifyOptions(choices=("xnor",), settings=ONE_EPOCH, jobs=1, limit=15)
    picture = _digit_file(tmp_path / "seven.png", 0)
    done: list[tuple[str, int, int]] = []

    def until_the_third_digit(what: str, count: int, of: int) -> None:
        done.append((what, count, of))
        if what.endswith("emulated") and count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify_digits(tmp_path / "out", options, [picture], progress=until_the_third_digit)
    assert sorted(path.name for path in (tmp_path / "out" / "f746zg").iterdir()) == ["xnor", "xnor.json"]
    first = classify_digits(
        tmp_path / "out", options, [picture], progress=lambda what, count, of: done.append((what, count, of))
    )
    (row,) = first.rows
    assert (row.choice, row.switch, row.inputs, row.differ, first.differ) == ("xnor", "", 15, 0, 0)
    assert row.correct is not None and abs(row.correct - (row.correct_torch or 0)) <= 1
    assert row.source == "predicted" and row.milliseconds and row.flash_bytes and row.ram_bytes
    low, high = row.interval or (0.0, 0.0)
    assert low < (row.microjoules or 0) < high
    assert first.float_accuracy is not None and not first.kept
    assert (15 * first.float_accuracy).is_integer() and (row.correct_torch or 0) <= 15  # of the digits that were run
    assert "of the same 15." in _printed(first)
    ((verdict,),) = [one.verdicts for one in first.seen]
    assert verdict.matches and verdict.answer.probability and (first.outputs, first.differ) == (16, 0)
    assert sum(what == "xnor: compiling" for what, _, _ in done) == 1  # what was built stays
    assert done[-1][1] == done[-1][2] and {what.partition(":")[0] for what, _, _ in done} == {"training", "xnor"}
    written = json.loads((first.report / "results.json").read_text())
    of_record = {key: written[key] for key in ("files", "record_sha256")}
    assert written == json.loads(json.dumps(first.as_json())) | of_record
    assert written["rows"][0]["accuracy"] == row.correct / 15 and written["rows"][0]["on_front"]
    page = (first.report / "report.html").read_text()
    assert "seven.png" in page and "data:image/png" in page and "http" not in page.replace("http-equiv", "")
    text = _printed(first)
    assert "xnor" in text and "16 of 16 outputs of f746zg-emulated are the integer semantics' own" in text

    def unexpected(*arguments: object, **named: object) -> None:
        raise AssertionError("this was done before")

    with monkeypatch.context() as changed:
        for name in ("tinygen.apps.classify.on_board.build", "tinygen.apps.classify.on_board.run_test_set"):
            changed.setattr(name, unexpected)
        changed.setattr(training, "_start", unexpected)
        again = classify_digits(tmp_path / "out", options)
        assert again.rows == first.rows and again.kept == ("xnor",)
        # Only pictures: the figures stay for the next run.
        shown = classify_digits(tmp_path / "out", replace(options, limit=0), [picture])
        assert not shown.rows and shown.seen[0].verdicts == (verdict,)
        assert classify_digits(tmp_path / "out", options).kept == ("xnor",)
        with pytest.raises(AssertionError, match="done before"):
            classify_digits(tmp_path / "out", replace(options, limit=5))
        with pytest.raises(AssertionError, match="done before"):
            classify_digits(tmp_path / "out", replace(options, settings=Settings(seed=1, epochs=1)))


@pytest.mark.long
def test_on_a_port(tmp_path: Path) -> None:
    """A board behind a pseudo-terminal: right firmware, wrong firmware, no board."""
    out, picture = tmp_path / "out", _digit_file(tmp_path / "x.png", 0)
    images, labels = load_test_digits()
    np.savez(tmp_path / "x.npz", x=images[:4], y=labels[:4])
    inputs = tmp_path / "x.npz"
    emulated = classify_model(MODEL, out, ClassifyOptions(jobs=1), Shown([picture]))
    elf = out / "f746zg" / "digits" / "firmware.elf"
    with EmulatedBoard(load_board("f746zg"), elf).pty() as port:
        result = classify_model(MODEL, out, ClassifyOptions(port=port), Shown([picture], inputs=inputs))
    assert result.rows[0].source == "reported" and (result.outputs, result.differ) == (5, 0)
    assert result.seen[0].verdicts == emulated.seen[0].verdicts
    build = json.loads((elf.parent / "manifest.json").read_text())["build_id"]
    other = tmp_path / "other.elf"
    other.write_bytes(elf.read_bytes().replace(build.encode(), b"0123456789abcdef"))
    with EmulatedBoard(load_board("f746zg"), other).pty() as port:
        with pytest.raises(WrongBuildError) as caught:
            classify_model(MODEL, out, ClassifyOptions(port=port), Shown([picture]))
        assert f"tinygen flash {elf.parent} --port {port}" in caught.value.fix
    with pytest.raises(TinygenError, match="cannot be opened") as gone:
        classify_model(MODEL, out, ClassifyOptions(port="/dev/ttyNONE"), Shown([picture]))
    assert "tinygen flash" in gone.value.fix


def test_nothing_is_begun_that_cannot_be_finished(tmp_path: Path) -> None:
    """What is wrong with the command is said before anything is trained."""
    out, good = tmp_path / "out", _digit_file(tmp_path / "x.png", 0)
    (tmp_path / "text.png").write_text("no image")
    cases = [
        (ClassifyOptions(), [good, tmp_path / "none.png"], "there is no such file"),
        (ClassifyOptions(), [tmp_path / "text.png"], "is no image"),
        (ClassifyOptions(board="esp32"), [good], "nothing emulates esp32"),
        (ClassifyOptions(board="f7"), [good], "f7"),
        (ClassifyOptions(port="/dev/ttyACM0"), [good], "a real board holds one firmware"),
    ]
    for options, images, words in cases:
        with pytest.raises(TinygenError, match=words):
            classify_digits(out, options, images)
    with pytest.raises(TinygenError, match="nothing to classify"):
        classify_model(MODEL, out, ClassifyOptions(), Shown())
    with pytest.raises(TinygenError, match="is no image"):
        classify_model(MODEL, out, ClassifyOptions(), Shown([tmp_path / "text.png"]))
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 10, 10), np.uint8))
    with pytest.raises(TinygenError, match="do not fit the model's images"):
        classify_model(MODEL, out, ClassifyOptions(), Shown(inputs=tmp_path / "x.npz"))
    assert not out.exists()


@needs_models
@pytest.mark.long
def test_resnet_8(tmp_path: Path) -> None:
    """MLPerf Tiny's image classifier as it is, on images of any size and on a small test set of pixels."""
    rng = np.random.default_rng(3)
    Image.fromarray(rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)).save(tmp_path / "noise.jpg")
    sky = np.full((300, 200, 3), (120, 170, 230), np.uint8)
    sky[140:160, 40:160] = 30
    Image.fromarray(sky).save(tmp_path / "sky.png")
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (tmp_path / "labels.txt").write_text("\n".join(names))
    images = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=images, y=np.array([[1], [2]]))
    result = classify_model(
        RESNET,
        tmp_path / "out",
        ClassifyOptions(jobs=1),
        Shown([tmp_path / "noise.jpg", tmp_path / "sky.png"], tmp_path / "labels.txt", tmp_path / "x.npz"),
    )
    assert (result.outputs, result.differ) == (4, 0)
    assert result.rows[0].inputs == 2 and not result.has_picture
    assert {path.name for path in result.report.iterdir()} == {"results.json", "report.html"}
    for one in result.seen:
        assert one.picture.pixels.shape == (32, 32, 3)
        (verdict,) = one.verdicts
        assert verdict.answer.probability is not None and 0.1 <= verdict.answer.probability <= 1
        assert names[verdict.answer.index] in _printed(result)
    # The model's own softmax, of which the largest are shown.
    assert sum(value for _, value in result.seen[1].verdicts[0].answer.top) == pytest.approx(1, abs=0.1)


def test_drawn_pixels() -> None:
    pixels = np.zeros((28, 28, 1), np.uint8)
    pixels[:14] = 255
    lines = str(draw_pixels(pixels, colours=False)).split("\n")
    assert lines == ["@" * 28] * 7 + [" " * 28] * 7
    large = draw_pixels(np.full((96, 96, 3), (255, 0, 10), np.uint8), colours=True)
    assert len(str(large).split("\n")) == 16 and "#ff000a on #ff000a" in str(large.spans[0].style)


@pytest.mark.long
def test_all_choices(tmp_path: Path) -> None:
    """The whole command, trained for one epoch, on 40 digits: every row is the semantics', and there is a picture."""
    options = ClassifyOptions(settings=ONE_EPOCH, limit=40, jobs=2)
    result = classify_digits(tmp_path / "out", options, [_digit_file(tmp_path / "x.png", 1)])
    assert list(dict.fromkeys(row.choice for row in result.rows)) == list(CHOICES)
    assert len(result.rows) == 13 and result.differ == 0 and result.outputs == 13 * 41
    assert (result.report / "pareto.png").read_bytes().startswith(b"\x89PNG")
    rows = {row.name: row for row in result.rows}
    assert all((row.correct or 0) >= 20 for row in result.rows)
    assert abs((rows["int8"].correct or 0) - (rows["int8"].correct_torch or 0)) <= 1
    flash = {name: row.flash_bytes or 0 for name, row in rows.items()}
    assert flash["xnor"] < flash["w4"] < flash["int8"] and flash["pruned"] < flash["int8"]
    energy = {name: row.microjoules or 0.0 for name, row in rows.items()}
    assert energy["pruned"] < energy["gated"] < energy["int8"]
    assert energy["pruned"] < energy["xnor"] < energy["int8"] and energy["w1a1_x0_5"] < energy["w8a8"]
    text = _printed(result)
    assert all(name in text for name in rows) and "◆" in text
