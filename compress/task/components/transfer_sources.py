"""Where transfer text comes from: one class for each file in conf/task/transfer."""

from __future__ import annotations

import functools
from abc import ABC
from pathlib import Path
from typing import Annotated, final

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.config.fields import OneOf
from compress.system.sources import MOVIE_REVIEWS
from compress.task.components.cleaning import check_fields, is_missing
from compress.task.components.delimited import read_text
from compress.task.components.hub import TEXTS, load_hub_dataset, source_words
from compress.task.components.movie_reviews import CORPORA, check_package, published_reviews
from compress.task.components.rows import Request, check_columns, read_rows
from compress.task.components.sentences import sentences
from compress.task.components.text import SECOND, TEXT
from compress.task.components.text_format import TextFormat
from compress.task.components.transfer import KEY, TextSource

ENCODING = "utf-8"


@final
@dataclass(frozen=True, kw_only=True)
class ReviewSentences(TextSource):
    """Sentences of movie reviews, from the offline package.

    Attributes:
        corpus: rotten_tomatoes or imdb.
    """

    corpus: Annotated[str, OneOf(CORPORA)]

    @property
    def texts_per_row(self) -> int:
        """One."""
        return 1

    def check_source(self) -> None:
        """Raises a UserError if the package is not installed."""
        check_package("task/transfer=reviews", "take another source")

    def read(self) -> tuple[pd.DataFrame, str]:
        """All sentences, review by review."""
        texts = pd.DataFrame({TEXT: _review_sentences(self.corpus)})
        return texts, f"sentences of {self.corpus} from {MOVIE_REVIEWS.requirement}"


@functools.lru_cache(maxsize=1)
def _review_sentences(corpus: str) -> list[str]:
    """The sentences of a corpus; kept, as the runs of a sweep ask for them one after the other."""
    return [each for review in published_reviews(corpus)[TEXT] for each in sentences(review)]


@final
@dataclass(frozen=True, kw_only=True)
class TextLines(TextSource):
    """Lines of a text file in UTF-8, one text each.

    Attributes:
        path: the file.
    """

    path: str

    @property
    def texts_per_row(self) -> int:
        """One."""
        return 1

    def check_source(self) -> None:
        """Raises a UserError if the file is absent."""
        if not Path(self.path).is_file():
            raise UserError(f"{KEY}.path: {self.path} does not exist or is not a file")

    def read(self) -> tuple[pd.DataFrame, str]:
        """Every line that is not blank."""
        path = Path(self.path)
        lines = (line.strip() for line in read_text(path, ENCODING).split("\n"))
        return pd.DataFrame({TEXT: [line for line in lines if line]}), f"lines of {path.name}"


@dataclass(frozen=True, kw_only=True)
class Columns(TextSource, ABC):
    """Columns of a table.

    Attributes:
        text: the column of the texts, or the two columns of pairs.
    """

    text: str | tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if not 1 <= len(set(self._names)) == len(self._names) <= 2:
            raise ConfigError(
                f"{type(self).__name__}.text must be one or two columns, got "
                f"{', '.join(self._names) or 'none'}"
            )

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    @final
    def texts_per_row(self) -> int:
        """1, or 2 for text pairs."""
        return len(self._names)

    @final
    def _named(self, table: pd.DataFrame) -> pd.DataFrame:
        """The columns of texts under the names that rows have."""
        return table[list(self._names)].set_axis((TEXT, SECOND)[: len(self._names)], axis="columns")


@final
@dataclass(frozen=True, kw_only=True)
class TextColumns(Columns):
    """Texts in a CSV, TSV, JSON lines or Parquet file; rows without a text are dropped.

    Attributes:
        path: the file, with a header.
        format: of the file.
    """

    path: str
    format: TextFormat

    @property
    def _request(self) -> Request:
        form = self.format
        return Request(Path(self.path), self._names, form.character, form.encoding, KEY)

    def check_source(self) -> None:
        """Raises a UserError if the file is absent or lacks a column."""
        check_columns(self._request)

    def read(self) -> tuple[pd.DataFrame, str]:
        """All rows; missing texts are empty ones.

        Raises:
            UserError: a field is not text.
        """
        found, how = read_rows(self._request)
        rows = self._named(found)
        for column in rows:
            check_fields(self.path, rows[column])
        texts = rows.map(lambda field: "" if is_missing(field) else field)
        return texts, f"{', '.join(self._names)} of {Path(self.path).name} ({how})"


@final
@dataclass(frozen=True, kw_only=True)
class HubColumns(Columns):
    """Texts of a dataset from the hub.

    Attributes:
        dataset: hub id.
        configuration: of the dataset; null for its only one.
        revision: branch, tag or commit; null for the newest.
        split: of the dataset.
    """

    dataset: str
    configuration: str | None
    revision: str | None
    split: str

    def check_source(self) -> None:
        """Nothing to check: what the dataset has is known once it is loaded."""

    def read(self) -> tuple[pd.DataFrame, str]:
        """All rows of the split.

        Raises:
            UserError: the dataset cannot be loaded, or lacks the split, a column or a text.
        """
        needed = {self.split: dict.fromkeys(self._names, TEXTS)}
        advice = "take another task/transfer"
        found = load_hub_dataset(self.dataset, self.configuration, advice, needed, self.revision)
        name = source_words(self.dataset, self.configuration, {self.split: found[self.split]})
        rows = self._named(found[self.split].to_pandas())
        return rows, f"{', '.join(self._names)} of {name}, split {self.split}"
