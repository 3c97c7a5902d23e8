"""Augmentation of the train split for distillation.

Wei & Zou, "EDA: Easy Data Augmentation Techniques", arXiv:1901.11196. Deviations: of its four
operations the two that need no thesaurus, random swap and random deletion; every copy gets both,
one after the other, where EDA makes each copy by one operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError, UserError
from compress.config.fields import Fraction, PositiveInt
from compress.config.settings import Settings
from compress.task.components.text import TextSplit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Split


@dataclass(frozen=True, kw_only=True)
class WordNoise(Settings):
    """Adds copies of each text with words swapped and left out, under the label of the text.

    In pairs of texts both are changed, each in itself.

    Attributes:
        copies: number of copies per text.
        swap: number of swaps as a share of a text's words, rounded down but at least one; in
            [0, 1), 0 for none.
        deletion: probability that a word is left out.
    """

    copies: PositiveInt
    swap: Fraction
    deletion: Fraction

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if not (self.swap or self.deletion):
            raise ConfigError("WordNoise needs swap or deletion above 0, got 0 for both")

    def check(self, skeleton: PreTrainedModel) -> None:
        """Raises a ConfigError if a model reads no texts."""
        if skeleton.main_input_name != "input_ids":
            raise ConfigError(
                f"WordNoise augments texts, but {type(skeleton).__name__} reads "
                f"{skeleton.main_input_name}"
            )

    def augment(self, rows: Split, seed: int) -> TextSplit:
        """The texts, then all first copies, then all second ones.

        Raises:
            UserError: the rows are not plain texts.
        """
        if not isinstance(rows, TextSplit):
            raise UserError(f"WordNoise augments texts, got {type(rows).__name__}: {rows.name}")
        generator = torch.Generator().manual_seed(seed)
        columns = [
            [
                " ".join(noisy_words(text.split(), self.swap, self.deletion, generator))
                for _ in range(self.copies)
                for text in column
            ]
            for column in rows.columns
        ]
        name = f"{rows.name}, with {self.copies} noisy copies of each"
        return rows.extended(name, columns, torch.cat([rows.labels] * self.copies))


def noisy_words(
    words: Sequence[str], swap: float, deletion: float, generator: torch.Generator
) -> list[str]:
    """Words with some swapped and some left out; never none, and a word alone stays."""
    noisy = list(words)
    if len(noisy) < 2:
        return noisy
    swaps = max(1, int(swap * len(noisy))) if swap else 0
    for first, second in torch.randint(len(noisy), (swaps, 2), generator=generator).tolist():
        noisy[first], noisy[second] = noisy[second], noisy[first]
    stays = torch.rand(len(noisy), generator=generator) >= deletion
    kept = [word for word, stay in zip(noisy, stays.tolist(), strict=True) if stay]
    # As EDA does: a text from which every word fell keeps one at random.
    return kept or [noisy[int(torch.randint(len(noisy), (1,), generator=generator))]]
