"""Leftovers of killed runs: unfinished files and folders, private caches, locks, scratch folders.

A leftover is identified by its name and a mark: it lies directly in the marked folder of a cache, a
run or a sweep, or beside its own mark; and no process holds its lock.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compress.store.cache_root import KEY, LOCK, OWN_FOLDER, delete_root, is_root
from compress.store.run_folder import FOLD, MODEL_FOLDER, RUN, SEARCH, SWEEP, delete_tree, is_marked
from compress.system.files import SCRATCH, SCRATCH_MARK, TEMPORARY, is_locked

LOCK_FILE = "lock file"
# Between its creation and its locking, a file in use looks unused.
GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Leftover:
    """A file or folder that no process will use again; `kind` is in words."""

    path: Path
    kind: str
    size_bytes: int


def find_leftovers(cache: Path, runs: Path | None) -> list[Leftover]:
    """Leftovers in a cache, in the system's temporary folder, and below a folder of runs.

    Marked folders of runs are found at any depth.
    """
    found = {each.path: each for each in _in_cache(cache)}
    for mark in sorted(runs.rglob(".compress-*")) if runs is not None else ():
        if mark.name in (RUN, FOLD, SWEEP, SEARCH) and is_marked(mark.parent, mark.name):
            found |= {each.path: each for each in _in_run(mark.parent)}
    found |= {each.path: each for each in _scratch(Path(tempfile.gettempdir()))}
    return list(found.values())


def delete_leftover(leftover: Leftover) -> None:
    """Deletes a leftover."""
    if leftover.path.name == OWN_FOLDER:
        delete_root(leftover.path)
    else:
        delete_tree(leftover.path)


def _in_cache(cache: Path) -> Iterator[Leftover]:
    yield from _temporaries(cache)
    for stage in sorted(cache.iterdir()):
        if not stage.is_dir() or stage.is_symlink() or stage.name.startswith("."):
            continue
        yield from _temporaries(stage)
        for lock in sorted(stage.glob(LOCK.format("*"))):
            key = lock.name.removeprefix(LOCK.format(""))
            if KEY.fullmatch(key) and not (stage / key).exists() and not is_locked(lock):
                yield Leftover(lock, LOCK_FILE, 0)


def _in_run(folder: Path) -> Iterator[Leftover]:
    for each in (folder, folder / MODEL_FOLDER, *folder.glob("baseline-*")):
        if each.is_dir() and not each.is_symlink():
            yield from _temporaries(each)
    own = folder / OWN_FOLDER
    # A fold's stages are in use as long as its run is.
    users = [mark for mark in (folder / RUN, folder.parent / RUN) if mark.is_file()]
    if is_root(own) and not any(map(is_locked, users)):
        yield _leftover(own, "stages of a killed run")


def _temporaries(folder: Path) -> Iterator[Leftover]:
    for path in sorted(folder.iterdir()):
        if not TEMPORARY.fullmatch(path.name):
            continue
        if time.time() - path.lstat().st_ctime > GRACE_SECONDS and not is_locked(path):
            yield _leftover(path, "unfinished")


def _scratch(folder: Path) -> Iterator[Leftover]:
    for outer in sorted(folder.glob(f"{SCRATCH}*")):
        mark = outer / SCRATCH_MARK
        ours = not outer.is_symlink() and outer.stat().st_uid == os.getuid()
        if ours and mark.is_file() and not is_locked(mark):
            yield _leftover(outer, "scratch folder")


def _leftover(path: Path, kind: str) -> Leftover:
    inside = (each.lstat().st_size for each in path.rglob("*"))
    return Leftover(path, kind, path.lstat().st_size + sum(inside))
