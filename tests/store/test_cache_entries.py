from __future__ import annotations

import datetime
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from compress.config.errors import UserError
from compress.interfaces import Device
from compress.store.cache import StageStore
from compress.store.cache_entries import Entry, delete, excess, find_entries
from compress.store.cache_root import entry_damage, lock_of
from scripts.cache import main


@pytest.fixture
def cache(tmp_path: Path, device: Device) -> Path:
    """Two entries of tensors."""
    store = StageStore(tmp_path / "cache", device, 0)
    for number in range(2):
        store.tensors("numbers", {"of": number}, lambda: {"x": torch.ones(100)})
    return tmp_path / "cache"


def test_entries_are_found_without_locks_and_halves(cache: Path) -> None:
    (cache / "numbers" / ".new-half").mkdir()
    found = find_entries(cache)
    assert [entry.stage for entry in found] == ["numbers", "numbers"]
    assert all(entry.size_bytes > 400 for entry in found)
    assert [entry_damage(entry.folder) for entry in found] == [None, None]
    with pytest.raises(UserError, match="is not a directory"):
        find_entries(cache / "nowhere")


def test_damage_is_found_by_checksum(cache: Path) -> None:
    entry = find_entries(cache)[0]
    with (entry.folder / "tensors.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    assert "checksum" in str(entry_damage(entry.folder))


def test_what_a_run_is_at_is_not_deleted(cache: Path) -> None:
    entry = find_entries(cache)[0]
    with FileLock(lock_of(entry.folder)):
        assert not delete(entry)
    assert delete(entry)
    assert not entry.folder.exists()
    assert not lock_of(entry.folder).exists()


def entry_of(days: float, gigabytes: float) -> Entry:
    used = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    return Entry(Path(f"{days}"), "teacher", int(gigabytes * 1e9), used)


@pytest.mark.parametrize(
    ("days", "gigabytes", "chosen"),
    [(None, None, []), (2, None, [3, 5]), (None, 4, [3, 5]), (None, 1.5, [1, 3, 5]), (4, 6, [5])],
)
def test_what_was_used_last_stays(
    days: float | None, gigabytes: float | None, chosen: list[int]
) -> None:
    entries = [entry_of(5, 2), entry_of(0.1, 1), entry_of(3, 2), entry_of(1, 2)]
    found = excess(entries, days=days, gigabytes=gigabytes)
    assert sorted(float(entry.folder.name) for entry in found) == chosen


def test_an_entry_that_is_read_is_young_again(cache: Path, device: Device) -> None:
    folder = find_entries(cache)[0].folder
    os.utime(folder, (0, 0))
    for number in range(2):
        StageStore(cache, device, 0).tensors("numbers", {"of": number}, dict)
    assert time.time() - folder.stat().st_mtime < 60


def test_the_script_lists_verifies_and_prunes(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def script(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["cache.py", "--dir", str(cache), *arguments])
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        monkeypatch.setattr("scripts.cache.RUNS", tmp_path / "runs")
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        return code, " ".join(capsys.readouterr().out.split())

    assert "numbers" in script("list")[1]
    assert script("verify") == (0, "2 whole, 0 damaged")
    (find_entries(cache)[0].folder / "sha256").write_text("nonsense")
    for _ in range(2):
        code, words = script("verify")
        assert code == 1, "and nothing is deleted"
        assert words.startswith("damaged: ")
        assert "1 whole, 1 damaged" in words
    code, words = script("verify", "--delete")
    assert (code, words.startswith("damaged, deleted: ")) == (1, True)
    assert script("verify") == (0, "1 whole, 0 damaged")
    assert "would delete 1 entries" in script("prune", "--larger-than", "0", "--dry-run")[1]
    assert "0 entries of 0.0 MB left" in script("prune", "--older-than", "0")[1]
    for limit in ("-1", "nan", "inf", "x"):
        assert "error: argument --older-than" in str(script("prune", "--older-than", limit)[0])
    shutil.rmtree(cache)
    assert "is not a directory" in str(script("list")[0])
