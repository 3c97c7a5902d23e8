"""Words with a tag each, such as named entities: CoNLL columns, or JSON lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import pandas as pd
from pydantic.dataclasses import dataclass

from compress.config.fields import PositiveInt
from compress.interfaces import Head, TaskData
from compress.problem.token_classification import SCORES_OF_TAGS, TokenClassification
from compress.serve.words import OUTSIDE
from compress.task.components.folds import FoldedTask
from compress.task.components.leaks import disjoint
from compress.task.components.sampling import LABEL, check_reads_tokens
from compress.task.components.splits import FileSplit
from compress.task.components.tagged_file import (
    Request,
    Sentence,
    check_file,
    check_known,
    read_sentences,
    tag_names,
)
from compress.task.components.tagged_rows import TaggedRow, TaggedSplit
from compress.task.components.text import TEXT
from compress.task.components.text_task import ROLES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WORDS, TAGS = "words", "tags"


@final
@dataclass(frozen=True, kw_only=True)
class Conll(FoldedTask):
    """Sentences with a tag for each word.

    No sentence is in two splits: evaluation keeps it, then validation.

    Attributes:
        path: the file: CoNLL columns, with blank lines between sentences, or JSON lines.
        columns: the numbers of the columns of words and of tags, from 0; -1 is the last one.
        fields: the names of the lists of words and of tags, in JSON lines.
        split: the sentences for validation and evaluation.
        max_length: tokens of a row; a longer sentence becomes several, which overlap.
    """

    head: ClassVar[Head] = "token_classifier"

    path: str
    columns: tuple[int, int]
    fields: tuple[str, str]
    split: FileSplit
    max_length: PositiveInt

    def check(self) -> None:
        """Raises a UserError if a file is absent, empty, or of no known kind."""
        for path in (self.path, *self.split.paths.values()):
            check_file(self._request(path))

    def check_model(self, model: PreTrainedModel) -> None:
        """Raises a ConfigError if a model does not read text, or not `max_length` tokens."""
        check_reads_tokens(self, model, max_length=self.max_length)

    def scores(self) -> tuple[str, ...]:
        """F1 over entities, precision, recall, and the share of right tags."""
        return SCORES_OF_TAGS

    def load(self) -> TaskData:
        """Reads the sentences and splits off the splits without a file."""
        found, words = read_sentences(self._request(self.path))
        names, sources = tag_names(Path(self.path), found), [self._told(self.path, words)]
        given = {}
        for role, path in self.split.paths.items():
            sentences, words = read_sentences(self._request(path))
            check_known(Path(path), sentences, names)
            given[role] = (Path(path).name, _table(sentences, names))
            sources.append(self._told(path, words))
        shares = {role: at for role, at in self.split.shares.items() if role not in given}
        rows = _table(found, names)
        units = rows.groupby(TEXT, sort=False).ngroup().to_numpy()
        whole = Path(self.path).name
        named = {**given, **self.split_off(self.path, whole, rows, shares, (), units)}
        return self.assemble(named, TokenClassification(names), "; ".join(sources))

    def separated(
        self, splits: Mapping[str, pd.DataFrame]
    ) -> tuple[Mapping[str, pd.DataFrame], str]:
        """The splits without sentences in common, and what was dropped, in words."""
        return disjoint({role: splits[role] for role in ROLES}, f"{self.path}: ")

    def make_split(self, role: str, name: str, rows: pd.DataFrame) -> TaggedSplit:
        """A split of sentences."""
        pairs = zip(rows[WORDS], rows[TAGS], strict=True)
        made = [TaggedRow(number, *pair) for number, pair in enumerate(pairs)]
        return TaggedSplit(name, made, self.max_length)

    def _request(self, path: str) -> Request:
        return Request(Path(path), self.columns, self.fields)

    def _told(self, path: str, words: str) -> str:
        return f"{Path(path).name} ({words})"


def _table(sentences: Sequence[Sentence], names: Sequence[str]) -> pd.DataFrame:
    """Sentences as rows, and whether each has an entity."""
    numbers = {name: number for number, name in enumerate(names)}
    rows = [
        (
            " ".join(each.words), each.words, tuple(numbers[tag] for tag in each.tags),
            int(any(tag != OUTSIDE for tag in each.tags)),
        )
        for each in sentences
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=[TEXT, WORDS, TAGS, LABEL])
