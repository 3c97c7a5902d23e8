"""Augmentation by swapping and leaving out words.

Wei & Zou, "EDA: Easy Data Augmentation Techniques", arXiv:1901.11196. Deviations: of its four
operations the two that need no thesaurus, random swap and random deletion; every copy gets both,
one after the other, where EDA makes each copy by one operation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import Fraction
from compress.interfaces import CompressedModel
from compress.student.components.augmentation import Augmentation


@dataclass(frozen=True, kw_only=True)
class WordNoise(Augmentation):
    """Adds copies of each text with words swapped and left out, under the label of the text.

    Attributes:
        swap: number of swaps as a share of a text's words, rounded down but at least one; in
            [0, 1), 0 for none.
        deletion: probability that a word is left out.
    """

    swap: Fraction
    deletion: Fraction

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if not (self.swap or self.deletion):
            raise ConfigError("WordNoise needs swap or deletion above 0, got 0 for both")

    def changed(
        self, texts: Sequence[str], teacher: CompressedModel, generator: torch.Generator
    ) -> list[str]:
        """Copies with noise; needs nothing of the teacher."""
        return [
            " ".join(noisy_words(text.split(), self.swap, self.deletion, generator))
            for _ in range(self.copies)
            for text in texts
        ]


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
