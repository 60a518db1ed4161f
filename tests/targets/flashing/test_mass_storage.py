"""Copying to a probe's drive, which here is a folder with a thread that behaves as an ST-LINK does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.targets.flashing.doubles import Tools
from tinygen.errors import FlashError
from tinygen.targets.boards import load_board
from tinygen.targets.flashing import Job, choose, mass_storage
from tinygen.targets.flashing.mass_storage import MassStorage, mounted

F746ZG = load_board("f746zg")
IMAGES = {"bin": "firmware.bin"}
REFUSAL = "The interface firmware FAILED to reset/halt the target MCU"


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Mounted where a desktop would mount it."""
    folder = tmp_path / "media" / "me and you" / "NODE_F746ZG"
    folder.mkdir(parents=True)
    table = tmp_path / "mounts"
    name = str(folder).replace(" ", r"\040")
    table.write_text(f"proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sdb {name} vfat rw 0 0\nodd line\n")
    monkeypatch.setattr(mass_storage, "MOUNTS", table)
    return folder


@contextmanager
def probe(drive: Path, answer: str) -> Iterator[None]:
    """Writes `answer` into FAIL.TXT when an image has arrived."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            if (drive / "firmware.bin").exists():
                (drive / "new").write_text(answer + "\r\n")
                (drive / "new").replace(drive / "FAIL.TXT")
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def job(built: Path, probe: str | None = None) -> Job:
    return Job(F746ZG, built, IMAGES, probe=probe)


def flasher(seconds: float = 0.1) -> MassStorage:
    flasher = MassStorage()
    flasher.report_seconds = seconds
    return flasher


def test_a_mounted_drive_is_found_and_gets_the_image(tools: Tools, built: Path, drive: Path) -> None:
    assert drive in mounted()
    assert choose(job(built), None).name == "mass-storage"
    flasher().flash(job(built), echo=print)
    assert (drive / "firmware.bin").read_bytes() == (built / "firmware.bin").read_bytes()
    assert flasher().shown(job(built)) == [f"cp '{built}/firmware.bin' '{drive}/'"]


@pytest.mark.parametrize(("name", "found"), [("NOD_F746ZG", True), ("NODE_F767ZI", False), ("F746ZG", False)])
def test_drives_of_other_versions_of_the_probe(name: str, found: bool, tools: Tools, built: Path, drive: Path) -> None:
    """A Nucleo-G474RE shows NOD_G474RE or NODE_G474RE."""
    drive.rename(drive.with_name(name))
    mass_storage.MOUNTS.write_text(mass_storage.MOUNTS.read_text().replace(drive.name, name))
    assert flasher().available(job(built)) is found


def test_what_the_probe_reports_is_an_error(built: Path, drive: Path) -> None:
    with probe(drive, REFUSAL), pytest.raises(FlashError, match="FAILED to reset/halt") as caught:
        flasher(60).flash(job(built), echo=print)
    assert caught.value.where == str(drive / "FAIL.TXT")
    assert "RESET" in caught.value.fix


def test_an_old_report_is_not_held_against_a_new_image(built: Path, drive: Path) -> None:
    (drive / "FAIL.TXT").write_text(REFUSAL)
    flasher().flash(job(built), echo=print)


def test_a_drive_that_is_taken_away_while_it_flashes(built: Path, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ST-LINK shows its drive anew after flashing: that is no failure."""
    start = time.monotonic()
    copy = mass_storage._copy

    def vanish(source: Path, target: Path) -> None:
        copy(source, target)
        drive.rename(drive.with_name("gone"))

    monkeypatch.setattr(mass_storage, "_copy", vanish)
    flasher().flash(job(built), echo=print)
    assert time.monotonic() - start > 0.1


def test_a_drive_that_is_not_mounted(built: Path, drive: Path, tmp_path: Path) -> None:
    mass_storage.MOUNTS.write_text("proc /proc proc rw 0 0\n")
    with pytest.raises(FlashError, match="NODE_F746ZG is not mounted") as caught:
        flasher().flash(job(built), echo=print)
    assert "udisksctl mount -b /dev/disk/by-label/NODE_F746ZG" in caught.value.fix
    with pytest.raises(FlashError, match="is not mounted"):
        flasher().flash(job(built, probe=str(tmp_path / "nowhere")), echo=print)
    flasher().flash(job(built, probe=str(drive)), echo=print)
    assert (drive / "firmware.bin").is_file()


def test_a_full_drive(built: Path, drive: Path) -> None:
    """Linux's own full device stands in the image's place."""
    (drive / "firmware.bin").symlink_to("/dev/full")
    with pytest.raises(FlashError, match="No space left") as caught:
        flasher().flash(job(built), echo=print)
    assert "FAIL.TXT" in caught.value.fix
