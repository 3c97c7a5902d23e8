"""Published datasets from the hub or its local cache, checked against a task's requirements.

A dataset is what its owner put there: a card may disagree with the files, and these with what the
task was written for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from compress.config.errors import ConfigError, UserError, first_line
from compress.system import sources

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(frozen=True)
class Column:
    """Kind of a column's values, and the range that numbers are in."""

    kind: Literal["text", "number", "image"]
    low: float = 0
    high: float = 0


TEXTS, IMAGES = Column("text"), Column("image")
COMMIT = re.compile(r"/([0-9a-f]{40})/")  # in the path of a file in the local cache
Needed = Mapping[str, Mapping[str, Column]]


def load_hub_dataset(
    name: str,
    configuration: str | None,
    offline: str,
    needed: Needed,
    revision: str | None = None,
) -> DatasetDict:
    """A dataset from the hub, or from its local cache with HF_HUB_OFFLINE=1.

    Args:
        name: hub id.
        configuration: such as "sst2" of GLUE.
        offline: what the user can do without a hub, for the error message.
        needed: by split, what its columns must hold.
        revision: branch, tag or commit; null for the newest.

    Raises:
        UserError: it cannot be loaded, or is not what is needed.
    """
    import datasets

    alone = os.environ.get("HF_HUB_OFFLINE", "") in {"1", "true", "True"}
    if not alone and not sources.hub_answers():
        raise UserError(f"dataset {name}: the hub cannot be reached; {offline}")
    try:
        found = datasets.load_dataset(name, configuration, revision=revision)
    # The library has a dozen kinds of error for it, beside those of what it reads files with.
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"dataset {name}: {reason}; {offline}") from error
    for split, columns in needed.items():
        if split not in found:
            raise UserError(f"dataset {name} has no split {split}, got {', '.join(found)}")
        for column, what in columns.items():
            _check_column(f"dataset {name}, split {split}", found[split], column, what)
    return found


def check_revision(revision: str | None, from_hub: bool, expected: str) -> None:
    """Refuses a revision of what does not come from the hub.

    Args:
        revision: as set, null for none.
        from_hub: whether the rows come from there.
        expected: the setting that would have them come from there.

    Raises:
        ConfigError: there is a revision that nothing would read.
    """
    if revision is not None and not from_hub:
        raise ConfigError(f"task.revision is of a dataset on the hub: set {expected}, or leave it")


def source_words(name: str, configuration: str | None, found: Mapping[str, Any]) -> str:
    """Name of a dataset, and the commit that was read, as far as the library knows it."""
    words = " ".join(filter(None, (name, configuration)))
    commits = {
        commit
        for rows in found.values()
        for file in getattr(rows, "cache_files", ())
        for commit in COMMIT.findall(Path(file["filename"]).as_posix())
    }
    return f"{words} at {', '.join(sorted(commits))}" if commits else words


def _check_column(where: str, rows: Dataset, column: str, what: Column) -> None:
    if column not in rows.features:
        raise UserError(f"{where} has columns {', '.join(rows.features)}; expected {column}")
    kind = _kind(rows.features[column])
    if kind != what.kind:
        raise UserError(f"{where}: {column} must be of kind {what.kind}, got {kind}")
    if not len(rows):
        raise UserError(f"{where} has no rows")
    values = rows.data.column(column)
    if values.null_count:
        raise UserError(f"{where}: {values.null_count} rows have no {column}")
    if kind == "number":
        numbers = values.to_numpy()  # pyarrow.compute's extremes skip NaN, numpy's do not
        least, most = float(numbers.min()), float(numbers.max())
        if not what.low <= least <= most <= what.high:
            raise UserError(
                f"{where}: {column} goes from {least:g} to {most:g}, expected numbers from "
                f"{what.low:g} to {what.high:g}"
            )


def _kind(feature: Any) -> str:
    """The kind of a column in terms of `Column`, or the library's name of its type."""
    import datasets
    import pyarrow

    if isinstance(feature, datasets.Image):
        return "image"
    if not isinstance(feature, datasets.Value | datasets.ClassLabel):
        return type(feature).__name__
    held = feature.pa_type
    if pyarrow.types.is_string(held) or pyarrow.types.is_large_string(held):
        return "text"
    number = pyarrow.types.is_integer(held) or pyarrow.types.is_floating(held)
    return "number" if number else str(feature.dtype)
