"""Transfer text: texts without labels that a student learns from beside the train rows.

Turc et al., "Well-Read Students Learn Better", arXiv:1908.08962, section 3.3: the teacher's logits
on unlabeled text of the task's domain are most of what a small student gains. Only distillation can
learn from it; the teacher is fine-tuned on labeled rows alone.

Texts that hold a row of the validation or evaluation split are dropped, see `leaks.py`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.config.fields import PositiveInt
from compress.config.settings import Settings
from compress.records.schema import TransferText
from compress.task.components.leaks import HeldOut, keys, normalized
from compress.task.components.text import text_columns

HELD_OUT = ("evaluation", "validation")  # a text that is in both counts for the first
KEY = "task.transfer"


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Transfer text, and how it was gathered: see `TransferText`."""

    source: str
    rows: pd.DataFrame
    read: int
    dropped: Mapping[str, int]

    def described(self, digest: str) -> TransferText:
        """The entry of the record."""
        return TransferText(
            source=self.source,
            read=self.read,
            rows=len(self.rows),
            other_lengths=self.dropped["length"],
            duplicates=self.dropped["duplicate"],
            leaks={role: self.dropped[role] for role in HELD_OUT},
            digest=digest,
        )


@dataclass(frozen=True, kw_only=True)
class Transfer(Settings, ABC):
    """Texts without labels that students and recovery trainings learn from beside train."""

    @abstractmethod
    def check(self, texts_per_row: int) -> None:
        """Raises a UserError if they cannot be read, or are no texts or pairs as the task's."""

    @abstractmethod
    def gather(self, splits: Mapping[str, pd.DataFrame], seed: int) -> Gathered | None:
        """The texts, without those of the labeled splits; None if there are none."""


@final
@dataclass(frozen=True, kw_only=True)
class NoTransfer(Transfer):
    """No transfer text."""

    def check(self, texts_per_row: int) -> None:
        """Nothing to check."""

    def gather(self, splits: Mapping[str, pd.DataFrame], seed: int) -> None:
        """None."""


@dataclass(frozen=True, kw_only=True)
class TextSource(Transfer, ABC):
    """A source of texts or text pairs.

    Attributes:
        limit: maximum number of texts, a seeded sample; null for all. A larger limit adds texts to
            those of a smaller one.
        min_words: texts with fewer words are dropped; in pairs, each text counts by itself.
        max_words: texts with more words are dropped; null for no maximum.
    """

    limit: PositiveInt | None
    min_words: PositiveInt
    max_words: PositiveInt | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.max_words is not None and self.max_words < self.min_words:
            raise ConfigError(
                f"{type(self).__name__}.max_words must be at least min_words={self.min_words} or "
                f"null, got {self.max_words}"
            )

    @property
    @abstractmethod
    def texts_per_row(self) -> int:
        """1, or 2 for text pairs."""

    @abstractmethod
    def check_source(self) -> None:
        """Raises a UserError if the source cannot be read, without reading all of it."""

    @abstractmethod
    def read(self) -> tuple[pd.DataFrame, str]:
        """All texts in the columns `text` and, of pairs, `second`; and where they are from."""

    @final
    def check(self, texts_per_row: int) -> None:
        """Raises a UserError if the source cannot be read, or has not the task's kind of rows."""
        if self.texts_per_row != texts_per_row:
            kinds = {1: "single texts", 2: "text pairs"}
            raise ConfigError(
                f"{KEY} must be {kinds[texts_per_row]} as the task's rows are, got "
                f"{kinds[self.texts_per_row]}; csv and hub have {KEY}.text for one column or two"
            )
        self.check_source()

    @final
    def gather(self, splits: Mapping[str, pd.DataFrame], seed: int) -> Gathered:
        """Draws texts in a seeded order until there are `limit` that can be learned from.

        Raises:
            UserError: none can.
        """
        rows, source = self.read()
        words = f"{self.min_words} to {self.max_words}" if self.max_words else f"{self.min_words}"
        source += f", {words} words{'' if self.max_words else ' or more'}"
        columns: list[list[str]] = [rows[column].tolist() for column in text_columns(rows)]
        held = HeldOut({role: splits[role] for role in HELD_OUT})
        seen = set(keys(splits["train"]))
        dropped: Counter[str] = Counter()
        taken: list[int] = []
        for place in np.random.default_rng(seed).permutation(len(rows)).tolist():
            if len(taken) == self.limit:
                break
            texts = [column[place] for column in columns]
            key = tuple(sorted(map(normalized, texts)))
            why = self._fault(texts) or held.split_of(key) or ("duplicate" if key in seen else "")
            if why:
                dropped[why] += 1
            else:
                seen.add(key)
                taken.append(place)
        if not taken:
            raise UserError(f"{KEY}: no text is left of {len(rows):,} ({source})")
        read = len(taken) + dropped.total()
        return Gathered(source, rows.iloc[taken].reset_index(drop=True), read, dropped)

    def _fault(self, texts: Sequence[str]) -> str:
        """Why texts are not used, whatever the rows; "" if nothing is wrong."""
        longest = self.max_words or np.inf
        fitting = all(self.min_words <= len(text.split()) <= longest for text in texts)
        return "" if fitting else "length"
