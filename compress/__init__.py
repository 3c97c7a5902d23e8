"""Transformer compression: stages that compress, one place that measures, a sweep over both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from compress.interfaces import Runnable

__all__ = ["load"]


def load(folder: str | Path) -> Runnable:
    """Loads a compressed model from its artifact folder, after checking every file's checksum.

    Args:
        folder: the folder that a run wrote (`<run>/model`).

    Returns:
        The model, ready for `predict(batch)`.

    Raises:
        UserError: the folder is no artifact, or a file of it is missing or damaged.
    """
    # Imported here so that `import compress` does not cost a torch import.
    from compress.store.artifact import load as load_artifact

    return load_artifact(folder)
