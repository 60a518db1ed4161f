"""The cache's folder: nobody else's, or a temporary one."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinygen import cache
from tinygen.cache import CACHE_VARIABLE, cache_folder
from tinygen.cli import main
from tinygen.errors import TinygenWarning
from tinygen.verbs import doctor

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows: such folders are the user's own")


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that TINYGEN_CACHE names, and nothing is known of yet."""
    folder = tmp_path / "around" / "cache"
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    cache._private.cache_clear()
    cache._is_own_group.cache_clear()
    yield folder
    cache._private.cache_clear()
    cache._is_own_group.cache_clear()


def refused(chosen: Path) -> str:
    """The warning, which comes once; a temporary folder, for this user alone, is used, also by other processes."""
    with pytest.warns(TinygenWarning) as said:
        used = cache_folder()
    assert used != chosen and used.stat().st_mode & 0o777 == 0o700
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_folder() == used == Path(os.environ[CACHE_VARIABLE])
    (text,) = [str(warning.message) for warning in said]
    assert str(chosen) in text and CACHE_VARIABLE in text
    return text


def accepted(chosen: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_folder() == chosen


def test_ones_own(chosen: Path) -> None:
    chosen.chmod(0o755)
    accepted(chosen)


def test_one_that_all_may_write_to(chosen: Path) -> None:
    chosen.chmod(0o777)
    assert "other users may write to it" in refused(chosen)


def test_that_of_another_user(chosen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getuid()
    asked = iter([mine + 1])  # then it is this one again, which the temporary folder belongs to
    monkeypatch.setattr(cache.os, "getuid", lambda: next(asked, mine))
    assert f"belongs to another user (number {mine})" in refused(chosen)


def test_one_that_can_be_replaced(chosen: Path) -> None:
    """By who may write to the folder around it; not where that is sticky, as /tmp is."""
    chosen.parent.chmod(0o1777)
    accepted(chosen)
    cache._private.cache_clear()
    chosen.parent.chmod(0o777)
    assert f"other users may write to {chosen.parent}" in refused(chosen)


def test_one_behind_a_link(chosen: Path) -> None:
    chosen.chmod(0o777)
    link = chosen.with_name("link")
    link.symlink_to(chosen)
    os.environ[CACHE_VARIABLE] = str(link)
    refused(link)


@pytest.mark.parametrize("members", [[], ["somebody"]])
def test_one_that_a_group_may_write_to(members: list[str], chosen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's users have a group each, and let it write."""
    import grp
    import pwd

    chosen.chmod(0o770)
    me = SimpleNamespace(pw_name="me", pw_gid=chosen.stat().st_gid)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: me)
    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name="me", gr_mem=members))
    if members:
        refused(chosen)
    else:
        accepted(chosen)


def test_what_is_made_is_for_one_user_alone(chosen: Path) -> None:
    new = chosen / "not/there"
    os.environ[CACHE_VARIABLE] = str(new)
    before = os.umask(0)
    try:
        accepted(new)
    finally:
        os.umask(before)
    assert new.stat().st_mode & 0o777 == new.parent.stat().st_mode & 0o777 == 0o700


def test_none_can_be_made(chosen: Path) -> None:
    """No reason to warn: everything works, and is made again in each run."""
    (chosen / "file").write_text("")
    os.environ[CACHE_VARIABLE] = str(chosen / "file/cache")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_the_command_says_so_in_one_line(
    chosen: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen.chmod(0o777)
    monkeypatch.setattr(doctor, "_PROGRAMS", ())
    monkeypatch.setattr(doctor, "FLASHERS", ())
    monkeypatch.setattr(sys, "argv", ["tinygen", "doctor"])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"Warning: the cache {chosen} is not used, because other users may write to it.")
    assert said.count("Warning") == 1 and "cache.py" not in said and not list(chosen.iterdir())
