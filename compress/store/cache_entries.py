"""The entries of a stage cache: listed, checked, and selected for deletion.

Other files in the folder of a cache are ignored and kept.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from compress.config.errors import UserError
from compress.store.cache_root import TAG, delete_entry, is_entry, is_root, lock_of
from compress.system.files import folder_files

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Entry:
    """A cache entry: the result of a stage, and when it was last used."""

    folder: Path
    stage: str
    size_bytes: int
    used: datetime.datetime


def find_entries(cache: Path) -> list[Entry]:
    """All entries, sorted by stage and name.

    Raises:
        UserError: the folder is not a stage cache.
    """
    if not cache.is_dir():
        raise UserError(f"{cache} is not a directory")
    if not is_root(cache):
        raise UserError(f"{cache} is not a stage cache: it has no {TAG} written by compress")
    return [_entry(folder) for folder in sorted(cache.glob("*/*")) if is_entry(folder)]


def excess(
    entries: Iterable[Entry], *, days: float | None = None, gigabytes: float | None = None
) -> list[Entry]:
    """The entries unused for too long, and the least recently used ones above a total size.

    None stands for no limit.
    """
    now = datetime.datetime.now(datetime.UTC)
    chosen, left = [], gigabytes
    for entry in sorted(entries, key=lambda each: each.used, reverse=True):
        old = days is not None and (now - entry.used).total_seconds() > days * SECONDS_A_DAY
        if left is not None and not old:
            left -= entry.size_bytes / 1e9
        if old or (left is not None and left < 0):
            chosen.append(entry)
    return chosen


def delete(entry: Entry) -> bool:
    """Deletes an entry unless a run holds its lock; returns whether it was deleted."""
    lock = lock_of(entry.folder)
    try:
        with FileLock(lock, timeout=0):
            delete_entry(entry.folder)
    except Timeout:
        return False
    lock.unlink(missing_ok=True)
    return True


def _entry(folder: Path) -> Entry:
    files = [path.stat() for path in folder_files(folder)]
    used = datetime.datetime.fromtimestamp(folder.stat().st_mtime, datetime.UTC)
    return Entry(folder, folder.parent.name, sum(file.st_size for file in files), used)
