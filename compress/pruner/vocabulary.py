"""Vocabulary trimming: drop the tokens that the task does not use, with their embeddings.

The papers, and how this deviates from them, are in `compress/shaping/vocabulary.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, first_line
from compress.config.fields import NotNegativeInt, PositiveInt
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.shaping.vocabulary import Kept, check_vocabulary, shrink_vocabulary_
from compress.system.digests import file_digest
from compress.transformer.stacks import token_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SETTING = "pruner=vocabulary"


@dataclass(frozen=True, kw_only=True)
class Vocabulary(BasePruner):
    """Keeps the tokens that the rows use, and shrinks tokenizer and embeddings to them.

    Attributes:
        min_count: tokens with at least this many occurrences in train and transfer rows stay.
        size: of these, only the most frequent are kept, so that there are at most so many tokens in
            all; null for no limit.
        general: number of the first entries of the vocabulary to keep as well. BPE lists its tokens
            in the order in which it learned them, WordPiece and Unigram by frequency, after special
            and (in BERT: 994) unused ones.
        words: path of a text file with one word per line, whose tokens are kept as well; null for
            none.
    """

    min_count: PositiveInt
    size: PositiveInt | None
    general: NotNegativeInt
    words: str | None

    def content_digest(self) -> str:
        """Digest of the list of words."""
        return "" if self.words is None else file_digest(Path(self.words))

    def foresees_shapes(self) -> bool:
        """No: the task's rows say which tokens are kept."""
        return False

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The same skeleton: which tokens stay is known once the rows are read.

        Raises:
            ConfigError: the model reads no tokens, or predicts them, has fewer than `general` or
                `size`, or the list of words cannot be read or is empty.
        """
        counts = {"Vocabulary.general": self.general, "Vocabulary.size": self.size}
        check_vocabulary(skeleton, SETTING, counts)
        self._listed_words()
        return skeleton

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Drops tokens from the tokenizer and their rows from the embeddings.

        Raises:
            UserError: the tokenizer is of a kind that cannot be shrunk, or needs more than `size`.
        """
        kept = Kept(self.min_count, self.size, self.general, self._listed_words())
        work.tokenizer, notes = shrink_vocabulary_(
            work.module, work.tokenizer, ctx.data.learned, SETTING, kept
        )
        work.notes |= notes
        table = token_table(work.module)
        work.expect_shapes([next(n for n, part in work.module.named_modules() if part is table)])

    def _listed_words(self) -> list[str]:
        if self.words is None:
            return []
        where = f"Vocabulary.words must be a text file with one word per line, got {self.words}"
        try:
            lines = Path(self.words).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: {first_line(error)}") from error
        words = [line.strip() for line in lines if line.strip()]
        if not words:
            raise ConfigError(f"{where}: it has none")
        return words
