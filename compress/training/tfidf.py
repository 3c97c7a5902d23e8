"""A linear model over TF-IDF features: what a transformer must beat on labeled texts.

Bags of words and bigrams under a linear classifier: Wang & Manning, "Baselines and Bigrams: Simple,
Good Sentiment and Topic Classification", ACL 2012. Deviations: TF-IDF in place of their log-count
ratios, and logistic regression. The settings are fixed for all tasks and chosen on no rows:

- features: word 1- and 2-grams in lower case that are in at least 2 train rows, 1 + log(count)
  times the smoothed inverse document frequency, each row scaled to unit length. A word is a run of
  letters, digits, underscores and combining marks: without the marks, scripts such as Bengali would
  break up; texts without spaces between words remain whole. Each text of a pair has features of its
  own. Texts are not truncated to the task's `max_length`.
- classes: multinomial logistic regression; several labels: one logistic regression for each;
  numbers: ridge regression. All with scikit-learn's penalty, C = 1 and alpha = 1, and with the
  problem's own weights of classes or labels.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from compress.config.errors import UserError
from compress.interfaces import Problem, Split
from compress.problem.classification import Classification
from compress.problem.multi_label import MultiLabel
from compress.problem.regression import Regression
from compress.task.components.text import TextSplit

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

LINEAR = {
    Classification: "logistic regression",
    MultiLabel: "logistic regression",
    Regression: "ridge regression",
}
RECIPE = (
    "word 1- and 2-grams of at least 2 train rows, sublinear term frequency, unit length, default "
    "penalty; size: of its float32 arrays and its n-grams"
)
LONGEST_GRAM, LEAST_ROWS = 2, 2
INVERSE_PENALTY, PENALTY = 1.0, 1.0  # scikit-learn's defaults, C and alpha
MOST_STEPS = 1000
PLANE = range(0x10000)  # where the combining marks of living scripts are


@dataclass(frozen=True)
class Tfidf:
    """A fitted model.

    Attributes:
        features: of each text of a row.
        weight: float32, as `bias`; one row for two classes, else one for each of `outputs`.
        outputs: which logits there are rows for; classes without train rows have none.
        width: number of logits.
    """

    features: tuple[TfidfVectorizer, ...]
    weight: Float[np.ndarray, "found features"]
    bias: Float[np.ndarray, " found"]
    outputs: tuple[int, ...]
    width: int

    def predict(self, rows: Split) -> Float[Tensor, "rows width"]:
        """Logits; minus infinity for a class without train rows."""
        columns = _texts(rows)
        parts = [each.transform(texts) for each, texts in zip(self.features, columns, strict=True)]
        found = torch.from_numpy(_beside(parts) @ self.weight.T + self.bias)
        if len(self.bias) < len(self.outputs):  # of two classes, the second against the first
            found = torch.cat([torch.zeros_like(found), found], dim=1)
        logits = found.new_full((len(found), self.width), -torch.inf)
        logits[:, list(self.outputs)] = found
        return logits

    def arrays(self) -> dict[str, Float[np.ndarray, ...]]:
        """All numbers that predictions need, in float32."""
        frequencies = {f"idf.{i}": each.idf_ for i, each in enumerate(self.features)}
        return {**frequencies, "weight": self.weight, "bias": self.bias}

    def size_bytes(self) -> int:
        """Bytes of the arrays as a safetensors file, and of the n-grams as UTF-8, one a line."""
        from safetensors.numpy import save

        grams = (gram for each in self.features for gram in each.get_feature_names_out())
        return len(save(self.arrays())) + sum(len(gram.encode()) + 1 for gram in grams)


def fit_tfidf(rows: Split, problem: Problem) -> Tfidf:
    """Fits the model on train rows; deterministic.

    Raises:
        UserError: the rows are not labeled texts, repeat no word, or are all of one class.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    columns, kind = _texts(rows), type(problem)
    if kind not in LINEAR:
        raise UserError(f"it needs classes or numbers, not a problem of {kind.__name__}")
    features, parts = [], []
    for texts in columns:
        made = TfidfVectorizer(
            token_pattern=_word_pattern(), ngram_range=(1, LONGEST_GRAM), min_df=LEAST_ROWS,
            sublinear_tf=True, dtype=np.float32,
        )  # fmt: skip
        try:
            parts.append(made.fit_transform(texts))
        except ValueError as error:  # an empty vocabulary has no other type
            raise UserError(f"no word is in {LEAST_ROWS} of the train rows") from error
        features.append(made)
    weight, bias, outputs, width = _fitted(_beside(parts), rows.labels.numpy(), problem)
    return Tfidf(tuple(features), weight, bias, outputs, width)


def linear_name(problem: Problem) -> str:
    """The linear model of a problem: "logistic regression"."""
    return LINEAR.get(type(problem), "linear model")


def _fitted(
    features: csr_matrix, labels: np.ndarray, problem: Problem
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], int]:
    """Weight, bias, outputs and width of a `Tfidf`."""
    match problem:
        case Classification(names=names, weights=weights):
            found = np.unique(labels)
            if len(found) < 2:
                raise UserError("the train rows are all of one class")
            balance = None if weights is None else {each: weights[each] for each in found.tolist()}
            return *_logistic(features, labels, balance), tuple(found.tolist()), len(names)
        case MultiLabel(names=names, weights=weights):
            each = [
                _one_label(features, column, weight)
                for column, weight in zip(labels.T, weights or (1.0,) * len(names), strict=True)
            ]
            weight, bias = (np.concatenate(parts) for parts in zip(*each, strict=True))
            return weight, bias, tuple(range(len(names))), len(names)
        case _:
            from sklearn.linear_model import Ridge

            made = Ridge(alpha=PENALTY).fit(features, labels.astype(np.float32))
            return made.coef_[None], np.array([made.intercept_], dtype=np.float32), (0,), 1


def _one_label(
    features: csr_matrix, labels: np.ndarray, positive_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of one label; of one that all train rows have, or none, the bias alone."""
    if len(np.unique(labels)) < 2:
        bias = np.array([1.0 if labels[0] else -1.0], dtype=np.float32)
        return np.zeros((1, features.shape[1]), dtype=np.float32), bias
    return _logistic(features, labels, {0: 1.0, 1: positive_weight})


def _logistic(
    features: csr_matrix, labels: np.ndarray, balance: dict[int, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    made = LogisticRegression(C=INVERSE_PENALTY, max_iter=MOST_STEPS, class_weight=balance)
    made.fit(features, labels)
    return made.coef_, made.intercept_


def _texts(rows: Split) -> list[list[str]]:
    if not isinstance(rows, TextSplit):
        raise UserError("it needs rows of labeled texts")
    return rows.columns


def _beside(parts: Sequence[Any]) -> csr_matrix:
    from scipy.sparse import hstack

    return parts[0] if len(parts) == 1 else hstack(parts, format="csr")


def _word_pattern() -> str:
    marks = "".join(mark for mark in map(chr, PLANE) if unicodedata.category(mark)[0] == "M")
    return rf"[\w{marks}]+"
