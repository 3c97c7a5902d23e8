"""Regression with one output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from compress.analysis.correlation import (
    correlation,
    correlation_of_sums,
    correlation_parts,
    ranks,
    spearman_interval,
    spearman_standard_error,
)
from compress.analysis.resampling import TEST_DRAWS, permutation_p_value
from compress.config.errors import UserError
from compress.core.problem import Head, Problem, Quality
from compress.problem.classification import head_labels
from compress.records.schema import Comparison

SCORES_OF_NUMBERS = ("spearman", "pearson", "rmse")


@final
@dataclass(frozen=True)
class Regression(Problem):
    """One real number for each row; evaluated by Spearman's correlation.

    Numbers are learned as they are, on their own scale.
    """

    head: ClassVar[Head] = "classifier"

    name: str = "score"

    def config(self) -> Mapping[str, Any]:
        """Model config entries of one output and its name."""
        return {**head_labels((self.name,)), "problem_type": "regression"}

    def loss(
        self,
        logits: Float[Tensor, "B 1"],
        targets: Float[Tensor, " B"],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Mean squared error.

        Raises:
            UserError: labels are to be smoothed, and there are no classes to spread them over.
        """
        if label_smoothing:
            raise UserError(f"label_smoothing must be 0 for numbers, got {label_smoothing}")
        return functional.mse_loss(logits.squeeze(-1), targets)

    def distillation_loss(
        self,
        student: Float[Tensor, "B 1"],
        teacher: Float[Tensor, "B 1"],
        targets: Float[Tensor, " B"],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """Mean squared error against the teacher's output; the temperature has no effect.

        At large temperatures Hinton's loss is such a distance (arXiv:1503.02531, section 2.1).
        """
        return functional.mse_loss(student, teacher)

    def evaluate(self, kept: Float[Tensor, "rows 1"], labels: Float[Tensor, " rows"]) -> Quality:
        """Spearman and Pearson correlations, 0 for constant outputs, and the RMSE."""
        ours, right = _values(kept), _values(labels)
        value = correlation(ranks(ours), ranks(right))
        low, high = spearman_interval(value, len(right))
        others = {
            "pearson": correlation(ours, right),
            "rmse": float(np.sqrt(((ours - right) ** 2).mean())),
        }
        return Quality("spearman", value, low, high, others)

    def compare(
        self,
        candidate: Float[Tensor, "rows 1"],
        baseline: Float[Tensor, "rows 1"],
        labels: Float[Tensor, " rows"],
    ) -> Comparison:
        """Paired permutation test of the rank correlations.

        Ranks are swapped between the models, and not given anew in each draw.
        """
        right = ranks(_values(labels))
        ours, theirs = (
            correlation_parts(ranks(_values(kept)), right) for kept in (candidate, baseline)
        )
        found = permutation_p_value(ours, theirs, partial(correlation_of_sums, right=right))
        test = f"paired permutation test of Spearman's correlation, {TEST_DRAWS:,} draws"
        values = (_values(each) for each in (candidate, baseline, labels))
        return Comparison(
            agreement=None,
            n_regressed=None,
            n_improved=None,
            p_value=found,
            test=test,
            standard_error=spearman_standard_error(*values),
        )


def _values(numbers: Float[Tensor, "rows ..."]) -> Float[np.ndarray, " rows"]:
    found: np.ndarray = numbers.reshape(-1).double().numpy()
    return found
