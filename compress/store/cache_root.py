"""The folder of a stage cache: how it is recognized, and how entries are deleted.

It is marked by a `CACHEDIR.TAG` (bford.info/cachedir) with its own text. Only entries below such a
folder, named like a key, are deleted.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from compress.config.errors import UserError
from compress.serve.folder import read_manifest
from compress.system.digests import file_digest
from compress.system.files import TEMPORARY, temporary_name, write_atomically

KEY_LETTERS = 32
KEY = re.compile(rf"[0-9a-f]{{{KEY_LETTERS}}}")
TENSORS, CHECKSUM = "tensors.safetensors", "sha256"
LOCK = ".lock-{}"
OWN_FOLDER = "stages"  # in the folder of a run without a cache
TAG = "CACHEDIR.TAG"
TAG_CONTENT = """Signature: 8a477f597d28d172789f06886806bc55
# A stage cache of compress. Entries that are deleted are made again when a run needs them.
"""


def is_root(folder: Path) -> bool:
    """Whether a folder is marked as a cache."""
    try:
        return (folder / TAG).read_text(encoding="utf-8") == TAG_CONTENT
    except (OSError, UnicodeDecodeError):
        return False


def check_root(folder: Path) -> None:
    """Checks that a folder is a cache, or can become one because it is absent or empty.

    Raises:
        UserError: it is not.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} cannot be a stage cache (cache.dir): it is not a directory")
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise UserError(
            f"{folder} cannot be a stage cache (cache.dir): nothing can be written to {there}"
        )
    if is_root(folder) or not folder.exists():
        return
    foreign = [path.name for path in folder.iterdir() if not TEMPORARY.fullmatch(path.name)]
    # Checked again: another run may have just created it.
    if foreign and not is_root(folder):
        raise UserError(
            f"{folder} cannot be a stage cache (cache.dir): it holds {min(foreign)} and no {TAG} "
            "of compress; choose a new or an empty folder"
        )


def open_root(folder: Path) -> None:
    """Creates and marks the folder of a cache if it does not exist.

    Raises:
        UserError: it is not.
    """
    check_root(folder)
    if not is_root(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / TAG, TAG_CONTENT)


def delete_root(folder: Path) -> None:
    """Deletes a whole cache; does nothing if the folder is not one."""
    if is_root(folder) and not folder.is_symlink():
        # Renamed first: if this process is killed, the rest is recognized as a leftover.
        gone = folder.rename(temporary_name(folder))
        shutil.rmtree(gone)


def is_entry(folder: Path) -> bool:
    """Whether a folder is a cache entry by its place and name."""
    named = KEY.fullmatch(folder.name) is not None and not folder.parent.name.startswith(".")
    real = not (folder.is_symlink() or folder.parent.is_symlink()) and folder.is_dir()
    return named and real and is_root(folder.parent.parent)


def delete_entry(folder: Path) -> None:
    """Deletes a cache entry.

    Raises:
        UserError: it is not.
    """
    if not is_entry(folder):
        raise UserError(f"{folder} is not a stage cache entry")
    shutil.rmtree(folder)


def lock_of(folder: Path) -> Path:
    """The file that is locked while an entry is written or deleted."""
    return folder.with_name(LOCK.format(folder.name))


def entry_damage(folder: Path) -> str | None:
    """Why an entry cannot be used; None if it is intact."""
    if (folder / TENSORS).exists() or (folder / CHECKSUM).exists():
        return None if whole_tensors(folder) else f"{folder} does not match its checksum"
    try:
        read_manifest(folder)
    except UserError as error:
        return str(error)
    return None


def whole_tensors(folder: Path) -> bool:
    """Whether the tensors of an entry match their checksum."""
    try:
        return (folder / CHECKSUM).read_text() == file_digest(folder / TENSORS)
    except OSError:
        return False
