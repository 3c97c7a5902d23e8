"""Causal language modeling: perplexity on windows of a text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Int
from torch import Tensor

from compress.analysis.intervals import mean_interval, paired_t_p_value
from compress.core.problem import Quality
from compress.problem.next_token import CHOSEN, GUESS, HIT, NLL, NextToken
from compress.records.schema import Comparison


@final
@dataclass(frozen=True)
class LanguageModeling(NextToken):
    """The next token of a text; evaluated by perplexity, with a t-interval over windows.

    Rows are windows of a text, all equally long. Their labels are bytes: how long the text is that
    a window's scored tokens stand for, in UTF-8. Nothing is learned from them.

    Attributes:
        scored: tokens at the end of each window that count in an evaluation, at most all but the
            first, which nothing predicts; null for these. Training uses all of them.
    """

    scored: int | None = None

    def evaluate(self, kept: Float[Tensor, "rows L-1 4"], labels: Int[Tensor, " rows"]) -> Quality:
        """Perplexity, bits per byte, top-1 token accuracy and choice accuracy."""
        counted = self._counted(kept)
        tokens = int(_real(counted).sum())
        lost, chosen = counted[..., NLL].double(), counted[..., CHOSEN]
        mean = float(lost.sum()) / tokens
        low, high = mean_interval(window_means(counted).tolist())
        others = {
            "bits_per_byte": float(lost.sum()) / math.log(2) / int(labels.sum()),
            "token_accuracy": float(counted[..., HIT].double().sum()) / tokens,
            "cloze_accuracy": float(chosen[chosen >= 0].double().mean()),  # NaN without choices
        }
        return Quality("perplexity", math.exp(mean), math.exp(low), math.exp(high), others)

    def compare(
        self,
        candidate: Float[Tensor, "rows L-1 4"],
        baseline: Float[Tensor, "rows L-1 4"],
        labels: Int[Tensor, " rows"],
    ) -> Comparison:
        """Top-1 agreement on tokens, and a paired test of the windows' likelihoods."""
        ours, theirs = self._counted(candidate), self._counted(baseline)
        real = _real(theirs)
        alike = (ours[..., GUESS] == theirs[..., GUESS])[real]
        differences = window_means(ours) - window_means(theirs)
        return Comparison(
            agreement=float(alike.double().mean()),
            n_regressed=None,
            n_improved=None,
            p_value=paired_t_p_value(differences.tolist()),
            test="paired t-test of the log-likelihood over windows",
            standard_error=float(differences.std()) / math.sqrt(len(differences)),
        )

    def _counted(self, kept: Float[Tensor, "rows L-1 4"]) -> Float[Tensor, "rows counted 4"]:
        return kept if self.scored is None else kept[:, -self.scored :]


def window_means(counted: Float[Tensor, "rows counted 4"]) -> Float[Tensor, " rows"]:
    """Mean negative log-likelihood of each window."""
    return counted[..., NLL].double().sum(dim=1) / _real(counted).sum(dim=1)


def _real(counted: Float[Tensor, "rows counted 4"]) -> Tensor:
    """Mask of the tokens that are not padding."""
    return counted[..., GUESS] >= 0
