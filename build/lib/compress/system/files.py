"""Files and folders that are either whole or not there, and locks that end with their process.

Everything unfinished has a name like `.new-model-1f0c9a3e` and is locked by the process that writes
it, so that what a killed process left can be told from what is still being written. Locks belong to
the operating system (`flock`); children that are started by `exec` do not inherit them.
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
    """Writes a file so that a reader sees the old one or the new one, never half of one.

    Args:
        path: of the file.
        content: text is written as UTF-8.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("xb") as file:
            _mark_in_use(file.fileno())
            file.write(_encoded(content))
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _encoded(content: str | bytes) -> bytes:
    """What is no text, such as half a character in the name of a file, is written as an escape."""
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


def temporary_name(path: Path) -> Path:
    """A new name beside a path for what is not finished yet."""
    return path.with_name(f".new-{path.name}-{secrets.token_hex(4)}")


def sync(path: Path) -> None:
    """Waits until a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """An empty folder under a temporary name beside a path; deleted at the end if still there."""
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
    """A temporary folder that becomes `folder` when its content is whole.

    Args:
        folder: absent or empty.
        equal: whether a folder of that name has the same content whoever made it, so that it does
            not matter which of two processes comes first.

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
    """An empty folder in the system's place for temporary files, private to the user.

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
    """Gives each file below a folder the permissions that a new file gets there.

    safetensors writes files that only their owner can read, whatever the umask. Files with a second
    name are left: they are also part of another folder, which was finished earlier.
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
    """Locks an open file or folder until it is closed; whether no other process holds it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file or folder, or may do so.

    It may where the file system has no locks, or where this user cannot open the file.
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
    """The URL of an SQLite database, whatever characters its path has; made if it is not there.

    Made here, as SQLite would make it so that its group cannot write to it, whatever the umask.
    """
    from sqlalchemy import URL

    path.touch()
    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


def _mark_in_use(descriptor: int) -> None:
    # Without locks nobody can tell that the process has died, so nothing of it is ever pruned.
    with suppress(OSError):
        try_lock(descriptor)
