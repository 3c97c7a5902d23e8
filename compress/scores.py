"""What rows can be judged by, by name: units, directions, and what a loss of 1 % means for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal


def _itself(value: float) -> float:
    return value


def _negative(value: float) -> float:
    return -value


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
    quality: Callable[[float], float] = _itself


SCORES: Mapping[str, ScoreKind] = {
    "accuracy": ScoreKind(
        "accuracy", "fraction", "higher", "share of the evaluation rows that the model has right"
    ),
    "f1_macro": ScoreKind(
        "macro F1", "fraction", "higher", "F1 averaged over the classes with equal weight"
    ),
    "f1": ScoreKind(
        "F1", "fraction", "higher", "F1 of the second class, where the task is judged by it"
    ),
    "matthews": ScoreKind(
        "Matthews correlation", "correlation", "higher",
        "Matthews correlation, where the task is judged by it",
    ),
    "top5": ScoreKind(
        "top-5 accuracy", "fraction", "higher",
        "share of images whose class is among the five likeliest",
    ),
}  # fmt: skip
