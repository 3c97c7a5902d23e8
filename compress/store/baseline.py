"""The baseline's folder that travels with a sweep, so that it can be measured again elsewhere.

The stage cache has it already, and hard links take no room. A cache entry must not change through
them: nothing writes into a file of a finished model folder, new content comes under a new file.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.store.manifest import read_manifest
from compress.system.files import temporary_name, whole_folder

log = logging.getLogger(__name__)

DIGEST_LETTERS = 8


def keep_baseline(model: CompressedModel, shared: Path) -> Path:
    """The baseline's folder in a sweep's, made if it is not there yet.

    Args:
        model: a stored one.
        shared: the folder of the sweep.

    Returns:
        `<shared>/baseline-<first letters of the digest>`.
    """
    assert model.folder is not None, "every stage's model is stored"
    kept = shared / f"baseline-{model.digest[:DIGEST_LETTERS]}"
    files = sorted(model.folder.iterdir())
    if not kept.exists():
        with whole_folder(kept, equal=True) as temporary:
            for path in files:
                _put(path, temporary / path.name)
        return kept
    try:
        read_manifest(kept)
    except UserError as error:
        log.warning("copying the baseline again: %s", error)
        # File by file: another run may be reading those that are whole.
        for path in files:
            _put(path, kept / path.name)
    return kept


def _put(source: Path, target: Path) -> None:
    """Gives a file a second name, at once; a copy where the file system has no second names."""
    temporary = temporary_name(target)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)
    # To replace one name of a file by another of the same file does nothing at all.
    temporary.unlink(missing_ok=True)
