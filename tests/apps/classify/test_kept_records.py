"""Which results of an earlier run are taken again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tinygen.apps.classify import on_board
from tinygen.apps.classify.on_board import OnBoard


@pytest.mark.parametrize(
    ("changes", "has_firmware", "taken"),
    [({}, True, True), ({"build": "other"}, True, False), ({"build_id": "2"}, True, False), ({}, False, False)],
)
def test_records_are_of_this_build(
    changes: dict[str, str], has_firmware: bool, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_board, "read_manifest", lambda folder: SimpleNamespace(build_id="1"))
    if has_firmware:
        (tmp_path / "firmware.elf").touch()
    record = {"build": "this", "build_id": "1", "correct_torch": {}, "rows": [], "test": "t"} | changes
    (tmp_path / "record.json").write_text(json.dumps(record))
    place = SimpleNamespace(anew=False, port=None)
    candidate = SimpleNamespace(right={})
    found = SimpleNamespace(
        place=place,
        candidate=candidate,
        folder=tmp_path,
        _record_file=tmp_path / "record.json",
        _build_key=lambda: "this",
    )
    assert (OnBoard._record(cast("Any", found)) is not None) == taken
