"""Digests of files."""

from __future__ import annotations

import functools
import hashlib
import time
from pathlib import Path

SETTLED_NS = 100_000_000  # the clocks of file systems tick every 10 ms or faster


def file_digest(path: Path) -> str:
    """SHA-256 of a file, cached for files that have not changed."""
    found = path.stat()
    # Programs can set the modification time back, but not the inode's change time.
    times = (found.st_mtime_ns, found.st_ctime_ns)
    identity = (found.st_dev, found.st_ino, found.st_size, *times)
    # Two writes can share one tick of the file system's clock, which would hide the second one, so
    # a file that was just written is not cached.
    settled = time.time_ns() - max(times) > SETTLED_NS
    return (_digest if settled else _digest.__wrapped__)(path, identity)


@functools.lru_cache(maxsize=1024)
def _digest(path: Path, identity: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
