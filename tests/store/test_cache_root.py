"""Only what a cache has written is ever deleted from it, by its mark and not by its place."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from compress.config.errors import UserError
from compress.device.cpu import Cpu
from compress.store.cache import Cache, StageStore
from compress.store.cache_root import (
    TAG,
    TAG_CONTENT,
    check_root,
    delete_entry,
    delete_root,
    is_entry,
    open_root,
)
from scripts.cache import main
from tests.folders import contents

KEY = "0123456789abcdef" * 2


def script(folder: Path, *arguments: str) -> int | str | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cache.py", "--dir", str(folder), *arguments])
        patch.setattr("tempfile.tempdir", str(folder.parent))
        patch.setattr("scripts.cache.RUNS", folder.parent / "runs")
        try:
            main()
        except SystemExit as ended:
            return ended.code
        return 0


def outputs(folder: Path) -> None:
    (folder / "runs" / "2026-11-27" / "10-00-00").mkdir(parents=True)
    (folder / "runs" / "2026-11-27" / "10-00-00" / "metrics.json").write_text("{}")
    open_root(folder / "cache")


def like_entries(folder: Path) -> None:
    (folder / "teacher" / KEY).mkdir(parents=True)
    (folder / "teacher" / KEY / "precious.txt").write_text("mine")


def other_cache(folder: Path) -> None:
    like_entries(folder)
    (folder / TAG).write_text(
        "Signature: 8a477f597d28d172789f06886806bc55\n# made by another tool\n"
    )


def binary_tag(folder: Path) -> None:
    like_entries(folder)
    (folder / TAG).write_bytes(b"\xff\xfe")


def tag_is_a_folder(folder: Path) -> None:
    like_entries(folder)
    (folder / TAG).mkdir()


FOREIGN = [outputs, like_entries, other_cache, binary_tag, tag_is_a_folder]
COMMANDS = [
    ("list",), ("verify",), ("verify", "--delete"), ("prune",), ("prune", "--older-than", "0"),
    ("prune", "--larger-than", "0"),
]  # fmt: skip


@pytest.mark.parametrize("make", FOREIGN)
def test_a_folder_that_is_no_cache_is_refused_by_everything(
    make: Callable[[Path], None], device: Cpu, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    make(folder)
    before = contents(folder)
    for command in COMMANDS:
        said = script(folder, *command)
        assert str(said).startswith(f"error: {folder} is not a stage cache")
        assert str(said).count("\n") == 0
    with pytest.raises(UserError, match=r"cannot be a stage cache \(cache\.dir\): it holds "):
        Cache(dir=str(folder), reuse=True).check()
    with pytest.raises(UserError, match="cannot be a stage cache"):
        StageStore(folder, device, 0)
    delete_root(folder)
    assert contents(folder) == before


def test_a_file_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="it is not a directory"):
        Cache(dir=str(tmp_path / "file"), reuse=True).check()
    assert script(tmp_path / "file", "list") == f"error: {tmp_path / 'file'} is not a directory"


def test_whatever_else_lies_in_a_cache_stays(device: Cpu, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    StageStore(cache, device, 0).tensors("numbers", {}, lambda: {"x": torch.ones(3)})
    own = {path: path.read_bytes() for path in cache.rglob("tensors.safetensors")}
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("mine")
    for place in (
        cache / "runs" / "2026-11-27", cache / "numbers" / "backup", cache / KEY,
        cache / "numbers" / f"{KEY}0", cache / "numbers" / KEY.upper(), cache / ".hidden" / KEY,
        cache / "numbers" / "deeper" / KEY,
    ):  # fmt: skip
        place.mkdir(parents=True)
        (place / "mine").write_text("mine")
    (cache / "numbers" / KEY).symlink_to(target)
    (cache / "linked").symlink_to(tmp_path / "stage")
    (tmp_path / "stage" / KEY).mkdir(parents=True)
    (tmp_path / "stage" / KEY / "mine").write_text("mine")
    before = contents(tmp_path)
    assert script(cache, "verify", "--delete") == 0
    assert script(cache, "prune", "--older-than", "0") == 0
    after = contents(tmp_path)
    gone = {tmp_path / name for name in before.keys() - after.keys()}
    assert set(own) <= gone
    names = ("tensors.safetensors", "sha256")
    assert all(path.name in names or path.name.startswith(".lock-") for path in gone)


@pytest.mark.parametrize("name", ["mine", KEY.upper(), KEY[:-1], f"{KEY}0", ".."])
def test_only_what_is_named_like_a_key_is_an_entry(name: str, tmp_path: Path) -> None:
    open_root(tmp_path / "cache")
    folder = tmp_path / "cache" / "teacher" / name
    folder.mkdir(parents=True, exist_ok=True)
    assert not is_entry(folder)
    with pytest.raises(UserError, match="is not a stage cache entry"):
        delete_entry(folder)
    assert folder.is_dir()


def test_runs_that_begin_together_all_make_the_cache(device: Cpu, tmp_path: Path) -> None:
    def work(number: int) -> None:
        store = StageStore(tmp_path / "cache", device, 0)
        store.tensors("numbers", {"of": number}, lambda: {"x": torch.ones(1)})

    for _ in range(20):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert (tmp_path / "cache" / TAG).read_text() == TAG_CONTENT
        shutil.rmtree(tmp_path / "cache")


def test_a_run_without_a_cache_takes_up_nothing_that_a_killed_one_left(
    device: Cpu, tmp_path: Path
) -> None:
    settings = Cache(dir="nowhere", reuse=False)
    made = []

    def make() -> dict[str, torch.Tensor]:
        made.append(1)
        return {"x": torch.ones(1)}

    StageStore(tmp_path / "stages", device, 0).tensors("numbers", {}, make)
    with settings.open(tmp_path, device, 0) as store:
        store.tensors("numbers", {}, make)
    assert made == [1, 1]
    assert not list(tmp_path.iterdir())


def test_stages_of_the_users_own_stay(device: Cpu, tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "mine").write_text("mine")
    with (
        pytest.raises(UserError, match="cannot be a stage cache"),
        Cache(dir="nowhere", reuse=False).open(tmp_path, device, 0),
    ):
        raise AssertionError("it was refused")
    assert contents(tmp_path) == {"stages/mine": b"mine"}


@pytest.mark.parametrize("place", ["file/cache", "file/a/cache"])
def test_a_cache_where_no_folder_can_be_is_refused_before_work(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"\(cache\.dir\): nothing can be written to .*file$"):
        check_root(tmp_path / place)


def test_a_cache_that_cannot_be_written_to_is_refused_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rights of the folder that it would be made in count; root has them all."""
    asked: list[object] = []
    monkeypatch.setattr("os.access", lambda path, _: asked.append(path))
    with pytest.raises(UserError, match=r"nothing can be written to"):
        check_root(tmp_path / "a" / "cache")
    assert asked == [tmp_path]
