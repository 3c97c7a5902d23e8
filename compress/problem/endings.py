"""Endings of texts: which of several is right, or whether a model writes the only one.

Scored as EleutherAI's evaluation harness scores tasks of type multiple_choice and loglikelihood: by
the sum of the log-likelihoods of an ending's tokens after its text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from compress.analysis.intervals import wilson_interval
from compress.core.problem import Quality
from compress.problem.classification import compare_answers
from compress.problem.next_token import HIT, NLL, NextToken
from compress.records.schema import Comparison

# What the labels say of an ending: the predictions of a row that are its tokens, from `BEGIN` to
# before `END`; its length; and whether it is right. An ending that a question lacks has zeros.
BEGIN, END, CHARACTERS, RIGHT = range(4)


@final
@dataclass(frozen=True)
class Endings(NextToken):
    """Texts with endings; evaluated by accuracy, with its Wilson interval over texts.

    Of several endings the likeliest is a model's answer. An only one is right if greedy decoding
    writes it. The endings of all texts, one after the other, are the rows that a model reads.

    Attributes:
        several: whether texts have more than one.
    """

    several: bool

    def evaluate(
        self, kept: Float[Tensor, "rows L-1 4"], labels: Int[Tensor, "texts endings 4"]
    ) -> Quality:
        """Accuracy; by likelihood per character too, or the perplexity of only endings.

        `accuracy_by_length` divides an ending's log-likelihood by its characters. The perplexity of
        an ending is that of all of its tokens together, averaged geometrically over texts.
        """
        likelihoods, _ = _read(kept, labels)
        right = self._said(kept, labels) == self._right(labels)
        correct, total = int(right.sum()), len(labels)
        low, high = wilson_interval(correct, total)
        if self.several:
            each = likelihoods / labels[..., CHARACTERS].clamp(min=1)
            hits = each.argmax(dim=1) == self._right(labels)
            others = {"accuracy_by_length": float(hits.double().mean())}
        else:
            others = {"ending_perplexity": math.exp(-float(likelihoods.mean()))}
        return Quality("accuracy", correct / total, low, high, others)

    def compare(
        self,
        candidate: Float[Tensor, "rows L-1 4"],
        baseline: Float[Tensor, "rows L-1 4"],
        labels: Int[Tensor, "texts endings 4"],
    ) -> Comparison:
        """McNemar's test of the texts that only one of two models has right."""
        ours, theirs = self._said(candidate, labels), self._said(baseline, labels)
        return compare_answers(ours, theirs, self._right(labels))

    def _right(self, labels: Int[Tensor, "texts endings 4"]) -> Int[Tensor, " texts"]:
        """The right ending; that greedy decoding writes it, if there is but one."""
        return labels[..., RIGHT].argmax(dim=1) if self.several else labels[:, 0, RIGHT]

    def _said(
        self, kept: Float[Tensor, "rows L-1 4"], labels: Int[Tensor, "texts endings 4"]
    ) -> Int[Tensor, " texts"]:
        """The likeliest ending; whether greedy decoding writes it, if there is but one."""
        likelihoods, greedy = _read(kept, labels)
        return likelihoods.argmax(dim=1) if self.several else greedy[:, 0].long()


def _read(
    kept: Float[Tensor, "rows L-1 4"], labels: Int[Tensor, "texts endings 4"]
) -> tuple[Float[Tensor, "texts endings"], Bool[Tensor, "texts endings"]]:
    """Log-likelihood of each ending, -inf where there is none; and whether it is greedy."""
    there = labels[..., END] > 0
    of_rows = labels[there]
    places = torch.arange(kept.shape[1])
    inside = (places >= of_rows[:, BEGIN, None]) & (places < of_rows[:, END, None])

    def table(values: Shaped[Tensor, " rows"], missing: float) -> Tensor:
        whole = torch.full(there.shape, missing, dtype=values.dtype)
        return whole.masked_scatter(there, values)

    lost = torch.where(inside, kept[..., NLL].double(), 0.0).sum(dim=1)
    written = ((kept[..., HIT] > 0) | ~inside).all(dim=1)
    return table(-lost, -math.inf), table(written, False)
