"""Metrics by name: unit, direction, and what a loss of 1 % means for each."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

INDEX_BYTES = "index_bytes"
ROUNDING = 1e-9  # the end of an interval may lie a little outside
# By unit; values of others begin at 0 and have no end. A perplexity has a logarithm.
RANGES: Mapping[str, tuple[float, float]] = {
    "fraction": (-ROUNDING, 1 + ROUNDING),
    "correlation": (-1 - ROUNDING, 1 + ROUNDING),
    "per token": (1e-300, math.inf),
}


def _log_likelihood(perplexity: float) -> float:
    """Mean log-likelihood of a token, in nats: one per cent of perplexity is 0.01 of it."""
    return -math.log(perplexity)


@dataclass(frozen=True)
class ScoreKind:
    """One kind of score.

    Attributes:
        words: its name in a sentence or on an axis.
        meaning: in one line.
        quality: of a value: higher is better, and a budget of 1 % is a change by 0.01.
    """

    words: str
    unit: str
    better: Literal["higher", "lower"]
    meaning: str
    quality: Callable[[float], float] = operator.pos

    @property
    def relative(self) -> bool:
        """Whether qualities are logarithms, so that a change is told as a share of the value."""
        return self.quality is _log_likelihood

    @property
    def range(self) -> tuple[float, float]:
        """The least and the most that a value can be."""
        return RANGES.get(self.unit, (0.0, math.inf))

    def moved(self, value: float, change: float) -> float:
        """What a value becomes when its quality changes by so much."""
        if self.relative:
            return value * math.exp(-change)
        return value + change if self.better == "higher" else value - change


SCORES: Mapping[str, ScoreKind] = {
    "accuracy": ScoreKind(
        "accuracy", "fraction", "higher", "fraction of the evaluation rows predicted correctly"
    ),
    "f1_macro": ScoreKind(
        "macro F1", "fraction", "higher", "F1 averaged over the classes or labels with equal weight"
    ),
    "f1": ScoreKind(
        "F1", "fraction", "higher", "F1 of the second class, where it is a metric of the task"
    ),
    "mcc": ScoreKind(
        "Matthews correlation", "correlation", "higher",
        "Matthews correlation, where it is a metric of the task",
    ),
    "top5": ScoreKind(
        "top-5 accuracy", "fraction", "higher",
        "fraction of images whose class is among the five most likely",
    ),
    "spearman": ScoreKind(
        "Spearman correlation", "correlation", "higher",
        "rank correlation of predictions and labels",
    ),
    "pearson": ScoreKind(
        "Pearson correlation", "correlation", "higher",
        "linear correlation of predictions and labels",
    ),
    "rmse": ScoreKind(
        "root mean squared error", "as labels", "lower",
        "root mean squared error of the predictions", operator.neg,
    ),
    "f1_micro": ScoreKind(
        "micro F1", "fraction", "higher", "F1 over all labels of all rows at once"
    ),
    "f1_weighted": ScoreKind(
        "weighted F1", "fraction", "higher",
        "F1 averaged over the labels, weighted by their numbers of rows",
    ),
    "f1_class_weighted": ScoreKind(
        "F1 by label weight", "fraction", "higher",
        "F1 averaged over the labels, weighted as in the loss",
    ),
    "hamming_loss": ScoreKind(
        "Hamming loss", "fraction", "lower",
        "fraction of wrong predictions, one for each row and label", operator.neg,
    ),
    "exact_match": ScoreKind(
        "exact match", "fraction", "higher", "fraction of rows with all labels predicted correctly"
    ),
    "perplexity": ScoreKind(
        "perplexity", "per token", "lower",
        "exp of the mean negative log-likelihood per token; comparable with one tokenizer only",
        _log_likelihood,
    ),
    "bits_per_byte": ScoreKind(
        "bits per byte", "bits", "lower",
        "negative log-likelihood per UTF-8 byte; comparable between tokenizers", operator.neg,
    ),
    "token_accuracy": ScoreKind(
        "token accuracy", "fraction", "higher",
        "fraction of tokens that are the model's most likely prediction",
    ),
    "accuracy_by_length": ScoreKind(
        "accuracy by length", "fraction", "higher",
        "fraction of texts whose right ending has the highest likelihood per character",
    ),
    "ending_perplexity": ScoreKind(
        "perplexity of endings", "per token", "lower",
        "exp of the mean negative log-likelihood of the whole ending of a text",
        _log_likelihood,
    ),
    "entity_f1": ScoreKind(
        "entity F1", "fraction", "higher",
        "F1 over entities; one counts if its type and its words are right",
    ),
    "entity_precision": ScoreKind(
        "entity precision", "fraction", "higher", "fraction of predicted entities that are right"
    ),
    "entity_recall": ScoreKind(
        "entity recall", "fraction", "higher", "fraction of entities that are predicted"
    ),
    "tag_accuracy": ScoreKind(
        "tag accuracy", "fraction", "higher", "fraction of words with the right tag"
    ),
    "ndcg_at_10": ScoreKind(
        "nDCG@10", "fraction", "higher",
        "discounted gain of the first ten documents, as a share of the largest possible one",
    ),
    "mrr_at_10": ScoreKind(
        "MRR@10", "fraction", "higher",
        "1 / rank of the first relevant document, 0 beyond the first ten",
    ),
    "recall_at_100": ScoreKind(
        "recall@100", "fraction", "higher",
        "fraction of the relevant documents that are among the first hundred",
    ),
    INDEX_BYTES: ScoreKind(
        "index bytes a document", "bytes", "lower", "bytes of a document's vector in an index",
        operator.neg,
    ),
    "cloze_accuracy": ScoreKind(
        "cloze accuracy", "fraction", "higher",
        "fraction of tokens predicted as more likely than three others of the window",
    ),
}  # fmt: skip
