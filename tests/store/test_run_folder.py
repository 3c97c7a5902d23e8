"""Whose folder it is: marks, locks, and what is deleted from a folder that is used again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.store.run_folder import (
    FOLD,
    RUN,
    SEARCH,
    SWEEP,
    check_clearable,
    check_usable,
    clear_run,
    empty_folder,
    holds_result,
    is_own,
    locked_folder,
    make_fold,
    new_folder,
    write_mark,
)
from tests.commands import refusal
from tests.configs import TINY
from tests.folders import contents
from tests.processes import waiting

MARKS = [RUN, FOLD, SWEEP, SEARCH]


def write_model(folder: Path) -> None:
    """What an export writes, as far as names go."""
    (folder / "1_Pooling").mkdir(parents=True)
    files = ("config.json", "model.safetensors", "1_Pooling/config.json")
    for name in files:
        (folder / name).write_text(name)
    manifest = {"schema": 1, "history": [], "files": dict.fromkeys(files, "")}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "README.md").write_text("a card")


def write_run(folder: Path) -> None:
    """A finished run with two folds."""
    for each in (folder, folder / "fold-1", folder / "fold-2"):
        write_model(each / "model")
        (each / "metrics.json").write_text("{}")
        write_mark(each, RUN if each == folder else FOLD)


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("mine")


def a_hidden_file(folder: Path) -> None:
    (folder / ".mine").write_text("mine")


def like_a_run(folder: Path) -> None:
    (folder / "metrics.json").write_text("mine")
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("mine")


def a_model(folder: Path) -> None:
    write_model(folder / "model")


def a_linked_mark(folder: Path) -> None:
    target = folder.parent / "target"
    target.touch()
    for mark in MARKS:
        (folder / mark).symlink_to(target)


def a_marked_folder(folder: Path) -> None:
    for mark in MARKS:
        (folder / mark).mkdir()


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize(
    "make", [a_file, a_hidden_file, like_a_run, a_model, a_linked_mark, a_marked_folder]
)
def test_what_is_not_ours_is_refused(
    make: Callable[[Path], None], mark: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    make(folder)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"is not (the folder of a|a directory)"):
        check_usable(folder, mark)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("mark", MARKS)
def test_each_kind_of_folder_has_its_own_mark(mark: str, tmp_path: Path) -> None:
    check_usable(tmp_path / "absent", mark)
    check_usable(tmp_path, mark)
    write_mark(tmp_path, mark)
    (tmp_path / "more").touch()
    check_usable(tmp_path, mark)
    for other in set(MARKS) - {mark}:
        with pytest.raises(UserError, match="is not the folder of a"):
            check_usable(tmp_path, other)


def test_a_folder_that_is_used_again_keeps_all_that_no_run_has_written(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run)
    mine = {
        "notes.txt": "mine", "fold-3/notes.txt": "mine", "fold-backup/notes.txt": "mine",
        "fold-1/notes.txt": "mine", "model-old/model.safetensors": "mine",
        "tensorboard/plot.png": "mine", ".hydra/config.yaml": "mine",
    }  # fmt: skip
    for name, words in mine.items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(words)
    clear_run(run)
    marks = {RUN: b"", f"fold-1/{FOLD}": b""}
    assert contents(run) == {name: words.encode() for name, words in mine.items()} | marks
    assert not (run / "fold-2").exists(), "nothing was left in it"


def with_notes(model: Path) -> None:
    (model / "notes.txt").write_text("mine")


def with_a_folder(model: Path) -> None:
    (model / "checkpoints").mkdir()


def with_notes_in_a_folder(model: Path) -> None:
    (model / "1_Pooling" / "notes.txt").write_text("mine")


def with_a_folder_of_a_known_name(model: Path) -> None:
    (model / "config.json").unlink()
    (model / "config.json").mkdir()
    (model / "config.json" / "mine").write_text("mine")


def without_manifest(model: Path) -> None:
    (model / "manifest.json").unlink()


def with_another_manifest(model: Path) -> None:
    (model / "manifest.json").write_text('{"name": "a browser extension"}')


def a_link(model: Path) -> None:
    model.rename(model.parent.parent / "elsewhere")
    model.symlink_to(model.parent.parent / "elsewhere")


def a_link_to_nothing(model: Path) -> None:
    model.rename(model.parent.parent / "elsewhere")
    model.symlink_to("nowhere")


def no_folder(model: Path) -> None:
    model.rename(model.parent.parent / "elsewhere")
    model.write_text("mine")


SPOILT = [
    with_notes, with_a_folder, with_notes_in_a_folder, with_a_folder_of_a_known_name,
    without_manifest, with_another_manifest, a_link, a_link_to_nothing, no_folder,
]  # fmt: skip


@pytest.mark.parametrize("where", [".", "fold-2"])
@pytest.mark.parametrize("spoil", SPOILT)
def test_a_model_that_is_not_just_ours_is_refused_whole(
    spoil: Callable[[Path], None], where: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    write_run(run)
    spoil(run / where / "model")
    before = contents(tmp_path)
    for refuse in (check_clearable, clear_run):
        with pytest.raises(UserError, match="move it away"):
            refuse(run)
        assert contents(tmp_path) == before


def test_a_linked_fold_is_not_followed(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    write_run(tmp_path / "other")
    (tmp_path / "run" / "fold-3").symlink_to(tmp_path / "other" / "fold-1")
    before = contents(tmp_path / "other")
    clear_run(tmp_path / "run")
    assert contents(tmp_path / "other") == before
    (tmp_path / "run" / "fold-4").mkdir()
    (tmp_path / "run" / "fold-4" / "mine").touch()
    with pytest.raises(UserError, match="is not the folder of a fold"):
        make_fold(tmp_path / "run", 4)


def test_names_are_taken_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_folder(tmp_path / "day" / "12-00-00"), range(16)))
    assert len(set(made)) == 16
    assert sorted(path.name for path in made)[:2] == ["12-00-00", "12-00-00-10"]
    assert len({empty_folder(None, tmp_path / "new") for _ in range(3)}) == 3
    with pytest.raises(UserError, match="is not empty"):
        empty_folder(tmp_path / "day", tmp_path)


def test_a_folder_is_used_by_one_process_until_that_ends(tmp_path: Path) -> None:
    program = (
        "import pathlib; from compress.store.run_folder import RUN, locked_folder\n"
        f"with locked_folder(pathlib.Path({str(tmp_path)!r}), RUN):\n"
        "    print(1, flush=True); input()"
    )
    with waiting(program) as (process, _):
        assert not is_own(tmp_path, RUN)
        with (
            pytest.raises(UserError, match=rf"in use by another run \(process {process.pid} on"),
            locked_folder(tmp_path, RUN),
        ):
            raise AssertionError("it was refused")
        assert not is_own(tmp_path, RUN)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with locked_folder(tmp_path, RUN):
        assert is_own(tmp_path, RUN)
    assert not is_own(tmp_path, RUN)


@pytest.mark.parametrize("content", ["", "mine", "{}", "[]", '{"schema": 7, "status": "ok"}'])
def test_what_is_no_record_is_no_result(content: str, tmp_path: Path) -> None:
    assert not holds_result(tmp_path)
    (tmp_path / "metrics.json").write_text(content)
    assert not holds_result(tmp_path)


@pytest.mark.parametrize("subdir", ["../mine", "/tmp/mine", "..", "a/b"])
@pytest.mark.parametrize("many", [False, True])
def test_hydras_copy_of_the_config_stays_in_the_folder(
    subdir: str, many: bool, tmp_path: Path
) -> None:
    kind = "sweep" if many else "run"
    words = (f"hydra.{kind}.dir={tmp_path / 'out' / 'run'}", f"hydra.output_subdir={subdir}")
    said = refusal(*(["-m"] if many else []), *TINY, *words)
    assert "hydra.output_subdir must name a folder inside the run's folder" in said
    assert not (tmp_path / "out").exists()
