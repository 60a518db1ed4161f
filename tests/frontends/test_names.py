"""Model names that C, or our own firmware, has other uses for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygen.demo import MODEL
from tinygen.errors import TinygenError
from tinygen.frontends.names import c_name, check_c_name
from tinygen.verbs.build import BuildOptions, build


@pytest.mark.parametrize(
    ("text", "name"),
    [("kws-ref.v2", "kws_ref_v2"), ("int", "int_model"), ("text", "text_model"), ("3x3", "m3x3"), ("???", "model")],
)
def test_c_name(text: str, name: str) -> None:
    assert c_name(text) == name
    assert check_c_name(name) == name


@pytest.mark.parametrize("name", ["int", "String", "9lives", "a-b", "", "über", "käse"])
def test_refused(name: str) -> None:
    with pytest.raises(TinygenError, match="cannot name a model"):
        check_c_name(name)


def test_headers_and_types_are_taken() -> None:
    """A model's header must not hide another, nor its type one of <stdint.h>."""
    root = Path(__file__).parents[2]
    folders = ("firmware", "templates/model", "templates/audio", "templates/wakeword")
    found = (path.name for folder in folders for path in (root / folder).rglob("*.h*"))
    # These begin with the model's name, or are part of one that does.
    parts = ("build", "conversions", "cycles", "kernels", "model", "switchable", "weights")
    templates = {f"{part}.h.j2" for part in parts}
    headers = {name.split(".")[0] for name in found if name not in templates}
    own = {name for name in headers if not (root / f"firmware/libc/include/{name}.h").exists()}
    assert {"governor", "tinygen_sparse", "wakeword", "features"} < own
    for name in sorted(own | {"uint32", "size", "tg"}):
        assert c_name(name) == f"{name}_model"


@pytest.mark.parametrize(
    "stem", ["main", "uart", *(pytest.param(stem, marks=pytest.mark.long) for stem in ("input", "model"))]
)
def test_awkward_names_build(tmp_path: Path, stem: str) -> None:
    model = tmp_path / f"{stem}.tflite"
    model.write_bytes(MODEL.read_bytes())
    report = build(model, tmp_path / "out", BuildOptions(), profile=False)
    assert (tmp_path / "out/firmware.elf").is_file()
    assert report.as_json()["model"] == c_name(stem)
