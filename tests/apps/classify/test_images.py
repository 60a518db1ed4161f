"""Image files to pixels: digits found and centred as MNIST's are, photographs cropped and scaled, bad files refused."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.support.torch_models import need
from tinygen.apps.classify.images import Kind, read_picture
from tinygen.demo import MODEL, load_test_digits
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.ir.interpreter import evaluate

Image = need("PIL.Image")
MNIST = (28, 28, 1)


def _digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [count, 28, 28], light on black, and classes."""
    images, labels = load_test_digits()
    return (images[:count, :, :, 0].astype(np.int64) + 128).astype(np.uint8), labels[:count]


def _saved(image: object, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[attr-defined]
    return path


def _digit(path: Path) -> np.ndarray:
    return read_picture(path, MNIST, Kind.DIGIT).pixels[:, :, 0]


def test_mnist_digits_are_taken_as_they_are(tmp_path: Path) -> None:
    for digit in _digits(5)[0]:
        assert (_digit(_saved(Image.fromarray(digit), tmp_path / "a.png")) == digit).all()
        assert (_digit(_saved(Image.fromarray(255 - digit), tmp_path / "b.png")) == digit).all()


def test_photographed_digits_are_recognised(tmp_path: Path) -> None:
    """Dark on paper, somewhere in a larger image, under light that falls off, with noise, as JPEG; and the reverse."""
    graph = load_model(MODEL)
    rng = np.random.default_rng(0)
    digits, labels = _digits(30)
    right = {"dark": 0, "light": 0}
    for digit, label in zip(digits, labels, strict=True):
        large = np.zeros((240, 320))
        y, x = rng.integers(0, 70), rng.integers(0, 150)
        large[y : y + 168, x : x + 168] = np.asarray(Image.fromarray(digit).resize((168, 168)), np.float64) / 255
        paper = 225 - 70 * np.mgrid[0:240, 0:320][1] / 320 - 30 * np.mgrid[0:240, 0:320][0] / 240
        photo = np.clip(paper * (1 - 0.75 * large) + rng.normal(0, 5, large.shape), 0, 255)
        for name, pixels in (("dark", photo), ("light", 255 - photo)):
            path = _saved(Image.fromarray(pixels.astype(np.uint8)).convert("RGB"), tmp_path / "x.jpg", quality=75)
            seen = _digit(path)
            assert seen[0].max() == seen[-1].max() == 0
            codes = (seen.astype(np.int64) - 128).astype(np.int8)[None, :, :, None]
            right[name] += int(evaluate(graph, [codes])[0].argmax()) == label
    assert right["dark"] >= 28 and right["light"] >= 28


def test_a_digit_is_scaled_and_centred(tmp_path: Path) -> None:
    """A bar of 10 x 40 becomes one of 5 x 20 in the middle, wherever it was."""
    image = np.full((200, 100), 255, np.uint8)
    image[130:170, 70:80] = 0
    seen = _digit(_saved(Image.fromarray(image), tmp_path / "bar.png"))
    rows, columns = np.flatnonzero(seen.max(axis=1) > 127), np.flatnonzero(seen.max(axis=0) > 127)
    assert (rows[0], rows[-1]) == (4, 23)
    assert abs(columns.mean() - 13.5) <= 0.5 and 4 <= len(columns) <= 6


def test_a_thin_line_is_thickened(tmp_path: Path) -> None:
    image = np.full((300, 300), 255, np.uint8)
    image[50:250, 150] = 0
    seen = _digit(_saved(Image.fromarray(image), tmp_path / "line.png"))
    assert seen.max() == 255
    assert (seen[14] > 100).sum() >= 2


@pytest.mark.parametrize("ink", [(10, 20, 90), (250, 250, 240)])
def test_transparent_paper(ink: tuple[int, int, int], tmp_path: Path) -> None:
    """Dark and light strokes on nothing: both stand out."""
    digit = _digits(1)[0][0]
    image = Image.new("RGBA", (28, 28), (*ink, 0))
    image.putalpha(Image.fromarray(digit))
    seen = _digit(_saved(image, tmp_path / "x.png"))
    assert np.abs(seen.astype(int) - digit).max() <= 0.35 * 255
    assert np.corrcoef(seen.ravel(), digit.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("size", [(28, 28), (1, 60), (60, 1), (2, 2), (7, 300), (400, 31), (29, 28)])
def test_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    """One dark pixel on light paper is a digit, in an image of any proportions."""
    pixels = np.full((size[1], size[0]), 255, np.uint8)
    pixels[size[1] // 2, size[0] // 2] = 0
    seen = _digit(_saved(Image.fromarray(pixels), tmp_path / "x.png"))
    assert seen.shape == (28, 28) and seen.max() > 100
    photo = read_picture(tmp_path / "x.png", (32, 32, 3), Kind.PHOTO).pixels
    assert photo.shape == (32, 32, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_modes(mode: str, tmp_path: Path) -> None:
    digit = _digits(1)[0][0]
    suffix = ".tif" if mode == "CMYK" else ".png"
    if mode == "I;16":
        image = Image.fromarray(digit.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(digit).convert("RGB").convert(mode)
    seen = _digit(_saved(image, tmp_path / f"x{suffix}"))
    if mode in ("1", "P"):  # made by dithering
        assert np.corrcoef(seen.ravel(), digit.ravel())[0, 1] > 0.9
    else:
        assert (np.abs(seen.astype(int) - digit) <= 2).all()


def test_large_images_are_made_small_first(tmp_path: Path) -> None:
    """Memory is that of a few bytes a pixel, not of real numbers."""
    image = Image.new("L", (3000, 2000), 255)
    image.paste(0, (1400, 500, 1600, 1500))
    image.save(tmp_path / "x.png")
    tracemalloc.start()
    try:
        read_picture(tmp_path / "x.png", (28, 28, 1), Kind.DIGIT)
        assert tracemalloc.get_traced_memory()[1] < 3000 * 2000 * 8
    finally:
        tracemalloc.stop()


def test_exif_turns_the_image(tmp_path: Path) -> None:
    """A camera that was held upright says so in the file: 6, turn by 90 degrees clockwise."""
    digit = _digits(1)[0][0]
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(digit).transpose(Image.Transpose.ROTATE_90)
    assert (_digit(_saved(turned, tmp_path / "x.png", exif=exif)) == digit).all()


def test_a_photograph_is_cropped_and_scaled(tmp_path: Path) -> None:
    """The middle of a wide image: what is left and right of the square goes."""
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, :64], wide[:, 64:128], wide[:, 128:] = (255, 0, 0), (10, 200, 30), (0, 0, 255)
    path = _saved(Image.fromarray(wide), tmp_path / "x.png")
    seen = read_picture(path, (32, 32, 3), Kind.PHOTO).pixels
    assert (seen == (10, 200, 30)).all()
    grey = read_picture(path, (16, 48, 1), Kind.PHOTO).pixels
    assert grey.shape == (16, 48, 1) and grey[8, 24, 0] == round(0.299 * 10 + 0.587 * 200 + 0.114 * 30)


def _png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large, with hardly anything in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_bad_files(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)
    whole = {kind: _saved(Image.fromarray(noise), tmp_path / f"x.{kind}").read_bytes() for kind in ("png", "jpg")}
    files = {
        "text.png": (b"this is no image", "is no image"),
        "empty.png": (b"", "is no image"),
        "cut.png": (whole["png"][: len(whole["png"]) // 2], "is damaged"),
        "cut.jpg": (whole["jpg"][: len(whole["jpg"]) // 2], "is damaged"),
        "spoilt.png": (whole["png"][:60] + b"\0" * 40 + whole["png"][100:], "is damaged"),
        "large.png": (_png_of(8000, 8000), "is too large \\(8000 x 8000 pixels\\)"),
        "huge.png": (_png_of(60000, 60000), "is too large"),
        "cut-off.png": (_png_of(100, 100), "is damaged"),
    }
    for name, (content, words) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TinygenError, match=words) as caught:
            read_picture(tmp_path / name, MNIST, Kind.DIGIT)
        assert caught.value.where == str(tmp_path / name)
    with pytest.raises(TinygenError, match="there is no such file"):
        _digit(tmp_path / "none.png")
    with pytest.raises(TinygenError, match="cannot be read"):
        _digit(tmp_path)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_empty_paper(value: int, tmp_path: Path) -> None:
    for size in ((28, 28), (90, 70)):
        path = _saved(Image.new("L", size, value), tmp_path / "x.png")
        with pytest.raises(TinygenError, match="shows nothing"):
            _digit(path)


def test_nothing_but_transparency(tmp_path: Path) -> None:
    with pytest.raises(TinygenError, match="shows nothing"):
        _digit(_saved(Image.new("RGBA", (40, 40), (255, 0, 0, 0)), tmp_path / "x.png"))
