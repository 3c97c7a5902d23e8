"""Files that are whole or not there, locks that end with their process, and the umask."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from sqlalchemy import create_engine, text

from compress.system.files import (
    TEMPORARY,
    follow_umask,
    is_locked,
    new_sqlite_url,
    scratch_folder,
    temporary_folder,
    temporary_name,
    whole_folder,
    write_atomically,
)
from tests.processes import waiting


def modes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in (folder, *folder.rglob("*"))
    }


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_file_is_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"], "nothing unfinished is left"


def test_files_and_folders_follow_the_umask(umask: int, tmp_path: Path) -> None:
    with whole_folder(tmp_path / "whole") as folder:
        save_file({"x": torch.ones(2)}, folder / "weights.safetensors")
        (folder / "deeper").mkdir()
        save_file({"x": torch.ones(2)}, folder / "deeper" / "weights.safetensors")
    write_atomically(tmp_path / "file", "words")
    file, directory = oct(0o666 & ~umask), oct(0o777 & ~umask)
    with create_engine(new_sqlite_url(tmp_path / "study.db")).begin() as connection:
        connection.execute(text("create table numbers (x integer)"))
    found = modes(tmp_path)
    found.pop(".")
    assert found == {
        "whole": directory,
        "whole/deeper": directory,
        "whole/weights.safetensors": file,
        "whole/deeper/weights.safetensors": file,
        "file": file,
        "study.db": file,
    }


def test_a_file_of_another_folder_keeps_its_permissions(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    elsewhere.write_text("")
    elsewhere.chmod(0o640)
    folder.mkdir()
    os.link(elsewhere, folder / "linked")
    (folder / "pointing").symlink_to(elsewhere)
    follow_umask(folder)
    assert oct(stat.S_IMODE(elsewhere.stat().st_mode)) == oct(0o640)


@pytest.mark.parametrize("equal", [True, False])
def test_a_folder_that_is_taken_is_not_replaced(equal: bool, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    try:
        with whole_folder(tmp_path / "taken", equal=equal) as folder:
            (folder / "theirs").touch()
    except OSError:
        assert not equal
    else:
        assert equal
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "mine"]


def test_what_is_unfinished_is_known_by_name_and_lock(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "model") as folder, scratch_folder() as scratch:
        assert TEMPORARY.fullmatch(folder.name)
        assert is_locked(folder)
        assert is_locked(scratch.parent / ".compress-scratch")
        assert not list(scratch.iterdir())
    assert not folder.exists()
    assert not scratch.parent.exists()


@pytest.mark.parametrize("name", [".new-", ".new-model", ".new-model-12", "new-model-1234abcd"])
def test_what_has_another_name_is_not_unfinished(name: str) -> None:
    assert TEMPORARY.fullmatch(temporary_name(Path("a b.json")).name)
    assert not TEMPORARY.fullmatch(name)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal; from compress.system.files import temporary_folder\n"
        f"with temporary_folder(pathlib.Path({str(tmp_path / 'x')!r})) as folder:\n"
        "    print(folder, flush=True); input(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with waiting(program) as (process, line):
        folder = Path(line)
        assert is_locked(folder)
        process.communicate("\n")
    assert folder.is_dir()
    assert not is_locked(folder)


@pytest.mark.parametrize(
    "name", ["plain", "what?x=1", "{SCHEMA_VERSION}", "100%", "%41", "a#b;c&d+e", "it's", "ä ö"]
)
def test_a_database_lies_where_its_path_says(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "study.db"
    path.parent.mkdir()
    engine = create_engine(new_sqlite_url(path))
    with engine.begin() as connection:
        connection.execute(text("create table numbers (x integer)"))
    engine.dispose()
    assert [each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*.db")] == [
        f"{name}/study.db"
    ]
    with closing(sqlite3.connect(path)) as found:
        assert found.execute("select name from sqlite_master").fetchall() == [("numbers",)]
