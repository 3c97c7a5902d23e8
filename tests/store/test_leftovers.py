"""What killed processes leave is found and pruned; what is in use, or the user's, is not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from compress.device.cpu import Cpu
from compress.store.cache import StageStore
from compress.store.cache_root import lock_of, open_root
from compress.store.leftovers import Leftover, find_leftovers
from compress.store.run_folder import FOLD, RUN, SEARCH, SWEEP, locked_folder, write_mark
from compress.system.files import scratch_folder, temporary_folder, temporary_name
from scripts.cache import main
from tests.folders import contents

KEY = "0123456789abcdef" * 2
UNFINISHED = ".new-model-0123abcd"


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("compress.store.leftovers.GRACE_SECONDS", -1.0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A cache, and folders of runs beside the user's own."""
    open_root(tmp_path / "cache")
    for name, mark in {"run": RUN, "sweep": SWEEP, "search": SEARCH, "run/fold-1": FOLD}.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        write_mark(tmp_path / "runs" / name, mark)
    return tmp_path


def unfinished(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("half")


def a_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("half")


def a_cache(folder: Path) -> None:
    open_root(folder)
    unfinished(folder / "teacher" / KEY)


def a_lock(path: Path) -> None:
    path.parent.mkdir()
    with FileLock(path):
        pass


def a_scratch_folder(folder: Path) -> None:
    unfinished(folder / "files")
    (folder / ".compress-scratch").touch()


LEFT = [
    ("cache/teacher/.new-" + KEY + "-0123abcd", unfinished),
    ("cache/.new-CACHEDIR.TAG-0123abcd", a_file),
    ("cache/teacher/.lock-" + KEY, a_lock),
    ("runs/run/" + UNFINISHED, unfinished),
    ("runs/run/.new-metrics.json-0123abcd", a_file),
    ("runs/run/model/.new-README.md-0123abcd", a_file),
    ("runs/run/fold-1/" + UNFINISHED, unfinished),
    ("runs/run/stages", a_cache),
    ("runs/run/fold-1/stages", a_cache),
    ("runs/run/.new-stages-0123abcd", a_cache),
    ("runs/sweep/.new-baseline-0123abcd-0123abcd", unfinished),
    ("runs/sweep/.new-stages-0123abcd", unfinished),
    ("runs/sweep/baseline-0123abcd/.new-config.json-0123abcd", a_file),
    ("runs/search/.new-front.json-0123abcd", a_file),
    ("tmp/compress-scratch-abcdefgh", a_scratch_folder),
]


@pytest.mark.parametrize(("name", "make"), LEFT)
def test_what_a_killed_process_left_is_listed_and_pruned(
    name: str, make: Callable[[Path], None], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(place)
    make(place / name)
    left = contents(place)
    shown = "unused lock files: 1" if make is a_lock else f"0.0 MB, {place / name}\n"
    assert shown in script(place, capsys, "list")
    assert "would delete 0 entries of 0.0 MB and 1 leftovers" in script(
        place, capsys, "prune", "--dry-run"
    )
    assert contents(place) == left
    assert "deleted 0 entries of 0.0 MB and 1 leftovers" in script(place, capsys, "prune")
    assert not (place / name).exists()
    # But for parents that the case has made.
    assert {k: v for k, v in contents(place).items() if v != "empty"} == {
        k: v for k, v in before.items() if v != "empty"
    }


USERS = [
    ("runs/mine/" + UNFINISHED, unfinished),  # not in a marked folder
    ("runs/mine/stages", a_cache),
    ("runs/run/.new-model", unfinished),  # not named as ours are
    ("runs/run/mine/" + UNFINISHED, unfinished),
    ("runs/run/stages", unfinished),  # not a cache
    ("cache/teacher/mine", unfinished),
    ("cache/teacher/.lock-mine", a_file),
    ("tmp/compress-scratch-abcdefgh", unfinished),  # no mark in it
    ("tmp/" + UNFINISHED, unfinished),
]


@pytest.mark.parametrize(("name", "make"), USERS)
def test_what_is_not_ours_stays(
    name: str, make: Callable[[Path], None], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(place / name)
    before = contents(place)
    assert "0 leftovers" in script(place, capsys, "prune")
    assert contents(place) == before


def test_what_is_in_use_stays(
    place: Path, device: Cpu, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place / "runs" / "run"
    a_cache(run / "stages")
    a_cache(run / "fold-1" / "stages")
    store = StageStore(place / "cache", device, 0)
    store.tensors("numbers", {}, lambda: {"x": torch.ones(1)})
    with (
        locked_folder(run, RUN),
        temporary_folder(run / "model"),
        scratch_folder(),
        FileLock(lock_of(place / "cache" / "numbers" / KEY)),
    ):
        before = contents(place)
        assert "0 leftovers" in script(place, capsys, "prune")
        assert contents(place) == before
    assert names(place) == {"stages", f".lock-{KEY}"}
    # What was made a moment ago may not be locked yet.
    temporary_name(run / "model").mkdir()
    monkeypatch.setattr("compress.store.leftovers.GRACE_SECONDS", 60.0)
    assert names(place) == {"stages", f".lock-{KEY}"}


def killed(place: Path) -> None:
    with temporary_folder(place / "runs" / "run" / "model"), scratch_folder() as scratch:
        (scratch / "checkpoint").write_text("large")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_leaves_what_is_found(place: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=killed, args=(place,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    kinds = sorted(each.kind for each in left(place))
    assert kinds == ["scratch folder", "unfinished"]


def left(place: Path) -> list[Leftover]:
    return find_leftovers(place / "cache", place / "runs")


def names(place: Path) -> set[str]:
    return {each.path.name for each in left(place)}


def script(place: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    command, *options = arguments
    with pytest.MonkeyPatch.context() as patch:
        folders = ["--dir", str(place / "cache"), command, "--runs", str(place / "runs")]
        patch.setattr(sys, "argv", ["cache.py", *folders, *options])
        main()
    return capsys.readouterr().out
