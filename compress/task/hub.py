"""Any labeled texts on the hub, by their id: `task=hub task.path=owner/name`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.task.components.delimited import listed
from compress.task.components.hub import Needed, load_hub_dataset, source_words
from compress.task.components.labeled_table import LabeledTable
from compress.task.components.splits import HubSplit

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SPLIT = ", split "


@dataclass(frozen=True, kw_only=True)
class Hub(LabeledTable):
    """Labeled texts of a dataset on the hub, or in its local cache with HF_HUB_OFFLINE=1.

    Labels that the dataset names are the classes' names; -1, as in splits whose labels are not
    public, is no label.

    Attributes:
        path: the dataset's id.
        configuration: of the dataset; null for its only one.
        revision: branch, tag or commit; null for the newest.
        split: which of its splits are for what.
    """

    path: str
    configuration: str | None
    revision: str | None
    split: HubSplit

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if not self.path or self.path.startswith((".", "/", "~")) or self.path.count("/") > 1:
            raise ConfigError(
                f"Hub.path must be a dataset's id, such as owner/name, got {self.path!r}; files "
                "are read by task=csv"
            )

    @property
    def source(self) -> str:
        """The split to train on."""
        return f"{self.path}{SPLIT}{self.split.train}"

    @property
    def sources(self) -> Mapping[str, str]:
        """The other splits of the dataset that are used."""
        return {role: f"{self.path}{SPLIT}{name}" for role, name in self.split.others.items()}

    def check_rows(self) -> None:
        """Raises a UserError if it cannot be loaded, or lacks a split or a column."""
        for source in (self.source, *self.sources.values()):
            self._rows(source, self.columns)

    def read_source(self, source: str, columns: tuple[str, ...]) -> tuple[pd.DataFrame, str]:
        """These columns of a split.

        Raises:
            UserError: it lacks one, or has no rows.
        """
        rows = self._rows(source, columns)
        if not len(rows):
            raise UserError(f"{source} has no rows")
        found = {column: _named(rows, column) for column in columns}
        table = pd.DataFrame(found, index=range(1, len(rows) + 1), dtype=object)
        words = source_words(self.path, self.configuration, self._published)
        return table, words

    def shown(self, source: str) -> str:
        """The split."""
        return f"the published {source.rpartition(SPLIT)[2]} split"

    @cached_property
    def _published(self) -> DatasetDict:
        names = (self.split.train, *self.split.others.values())
        advice = "download it and take task=csv task.path=<a file>"
        needed: Needed = {name: {} for name in names}
        return load_hub_dataset(self.path, self.configuration, advice, needed, self.revision)

    def _rows(self, source: str, columns: tuple[str, ...]) -> Dataset:
        rows = self._published[source.rpartition(SPLIT)[2]]
        for column in columns:
            if column not in rows.features:
                raise UserError(
                    f"{source}: column {column!r} is not among its columns: "
                    f"{listed(list(rows.features))}"
                )
        return rows


def _named(rows: Dataset, column: str) -> list[object]:
    """The values of a column, classes by their names; None for no label."""
    import datasets

    feature, values = rows.features[column], rows[column][:]
    if not isinstance(feature, datasets.ClassLabel):
        return list(values)
    names = feature.names
    return [None if each is None or each < 0 else names[each] for each in values]
