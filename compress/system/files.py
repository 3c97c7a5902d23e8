"""Atomic writes of files and folders, and locks that end with their process.

Unfinished files have a name like `.new-model-1f0c9a3e` and are locked by the writing process, so
that leftovers of killed processes can be distinguished from files in use. Locks belong to the
operating system (`flock`); children started by `exec` do not inherit them.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = re.compile(r"\.new-.+-[0-9a-f]{8}", re.DOTALL)
SCRATCH, SCRATCH_MARK = "compress-scratch-", ".compress-scratch"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes bytes or UTF-8 text: a reader sees the old or the new content."""
    # Lone surrogates, as in odd file names, are escaped.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    temporary = temporary_name(path)
    try:
        with temporary.open("xb") as file:
            _mark_in_use(file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_name(path: Path) -> Path:
    """A new temporary name beside a path."""
    return path.with_name(f".new-{path.name}-{secrets.token_hex(4)}")


def folder_files(folder: Path) -> list[Path]:
    """The files in a folder and in those below it."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def sync(path: Path) -> None:
    """Waits until a file is written to disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """An empty temporary folder beside a path; deleted at the end unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    temporary.mkdir()
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        _mark_in_use(descriptor)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def whole_folder(folder: Path, *, equal: bool = False) -> Iterator[Path]:
    """A temporary folder that is renamed to `folder` at the end of the block.

    With `equal`, an existing folder has the same content: losing a race against another process is
    no error.

    Raises:
        OSError: `folder` is not empty.
    """
    with temporary_folder(folder) as temporary:
        yield temporary
        follow_umask(temporary)
        try:
            temporary.rename(folder)
        except OSError:
            if not (equal and folder.exists()):
                raise


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder in the system's temporary folder, private to the user.

    `scripts/cache.py prune` finds those of killed processes by the mark beside it.
    """
    with (
        tempfile.TemporaryDirectory(prefix=SCRATCH) as outer,
        (Path(outer) / SCRATCH_MARK).open("xb") as mark,
    ):
        _mark_in_use(mark.fileno())
        folder = Path(outer) / "files"
        folder.mkdir()
        yield folder


def follow_umask(folder: Path) -> None:
    """Sets the permissions of each file below a folder to those of a new file there.

    safetensors ignores the umask and writes files that only their owner can read. Hard-linked files
    are skipped, since they also belong to another, finished folder.
    """
    probe = temporary_name(folder / "mode")
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in folder.rglob("*"):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            path.chmod(mode)


def try_lock(descriptor: int) -> bool:
    """Locks an open file or folder until it is closed; returns whether the lock was free.

    Raises:
        OSError: the file system does not support locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a process may hold the lock of a file or folder.

    True also if the file system does not support locks, or this user cannot open the file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        return not try_lock(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)


def new_sqlite_url(path: Path) -> str:
    """The URL of an SQLite database with its path quoted; the file is created if it does not exist.

    SQLite itself would ignore the umask and create a file that its group cannot write.
    """
    from sqlalchemy import URL

    path.touch()
    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


def _mark_in_use(descriptor: int) -> None:
    # Without locks a dead process cannot be detected, so its files are never pruned.
    with suppress(OSError):
        try_lock(descriptor)
