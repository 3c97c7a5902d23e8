"""The copy of the baseline in a sweep's folder, so that it can be measured again elsewhere.

Files are hard links to the stage cache, which take no space. Files of a finished model folder are
never written in place, so a cache entry cannot change through its links.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from compress.config.errors import UserError
from compress.interfaces import CompressedModel
from compress.serve.folder import read_manifest
from compress.system.files import folder_files, temporary_name, whole_folder

log = logging.getLogger(__name__)

DIGEST_LETTERS = 8


def keep_baseline(model: CompressedModel, shared: Path) -> Path:
    """The stored baseline's `<shared>/baseline-<digest>`, created if it does not exist."""
    assert model.folder is not None, "every stage's model is stored"
    kept = shared / f"baseline-{model.digest[:DIGEST_LETTERS]}"
    files = folder_files(model.folder)
    if not kept.exists():
        with whole_folder(kept, equal=True) as temporary:
            for path in files:
                _put(path, temporary / path.relative_to(model.folder))
        return kept
    try:
        read_manifest(kept)
    except UserError as error:
        log.warning("copying the baseline again: %s", error)
        # File by file: another run may be reading the intact ones.
        for path in files:
            _put(path, kept / path.relative_to(model.folder))
    return kept


def _put(source: Path, target: Path) -> None:
    """Hard-links a file atomically; copies it where the file system has no hard links."""
    target.parent.mkdir(exist_ok=True)
    temporary = temporary_name(target)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)
    # Renaming a hard link onto another link of the same file does nothing.
    temporary.unlink(missing_ok=True)
