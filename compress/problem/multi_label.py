"""Multi-label classification.

Each label is a binary question of its own. The distillation loss: Yang et al., "Multi-Label
Knowledge Distillation", arXiv:2308.06453, their loss of logits (MLD), which is the Kullback-Leibler
divergence of each label's two probabilities. Deviations: its mean over labels, so that it is on the
scale of the loss against labels; a temperature, after Hinton, Vinyals, Dean, "Distilling the
Knowledge in a Neural Network", arXiv:1503.02531; and none of the paper's losses of embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from compress.analysis.resampling import (
    TEST_DRAWS,
    bootstrap_interval,
    paired_standard_error,
    permutation_p_value,
)
from compress.core.problem import Head, Problem, Quality
from compress.problem.classification import head_labels
from compress.records.schema import Comparison

SCORES_OF_LABELS = ("f1_micro", "f1_macro", "f1_weighted", "hamming_loss", "exact_match")
WITH_WEIGHTS = "f1_class_weighted"


@final
@dataclass(frozen=True)
class MultiLabel(Problem):
    """Several labels for each row; evaluated by F1 over all of them at once.

    A model says that a label holds where its logit is above 0: its probability above one half.

    Attributes:
        names: of the labels, in the order of their indices.
        weights: of each label's positive rows in the loss against labels, and of its F1 in
            `f1_class_weighted`; null for equal ones and no such score.
    """

    head: ClassVar[Head] = "classifier"

    names: tuple[str, ...]
    weights: tuple[float, ...] | None = None

    def config(self) -> Mapping[str, Any]:
        """Model config entries with the label names."""
        return {**head_labels(self.names), "problem_type": "multi_label_classification"}

    def loss(
        self,
        logits: Float[Tensor, "B labels"],
        targets: Int[Tensor, "B labels"],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Binary cross entropy, averaged over rows and labels.

        Smoothing spreads its share over yes and no of each label.
        """
        wanted = targets.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
        weights = None if self.weights is None else logits.new_tensor(self.weights)
        return functional.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weights)

    def distillation_loss(
        self,
        student: Float[Tensor, "B labels"],
        teacher: Float[Tensor, "B labels"],
        targets: Int[Tensor, "B labels"],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """T² · KL(teacher ‖ student at temperature T), as a mean over rows and labels."""
        ours, theirs = student / temperature, teacher / temperature
        yes, no = functional.logsigmoid(theirs), functional.logsigmoid(-theirs)
        divergence = yes.exp() * (yes - functional.logsigmoid(ours))
        divergence = divergence + no.exp() * (no - functional.logsigmoid(-ours))
        return temperature**2 * divergence.mean()

    def evaluate(
        self, kept: Float[Tensor, "rows labels"], labels: Int[Tensor, "rows labels"]
    ) -> Quality:
        """All F1 averages, subset accuracy, Hamming loss, and the F1 of each label.

        The F1 of a label is named "f1/" and the label's name. It is 0 if a label has neither rows
        nor predictions.
        """
        said, right = (kept > 0).numpy(), labels.bool().numpy()
        parts = _counts(said, right)
        low, high = bootstrap_interval(_row_counts(parts), _f1)
        each, support = _f1(parts.sum(axis=0)), right.sum(axis=0)
        others = {
            "f1_macro": float(each.mean()),
            "f1_weighted": _mean(each, support),
            "hamming_loss": float((said != right).mean()),
            "exact_match": float((said == right).all(axis=1).mean()),
        }
        if self.weights is not None:
            others[WITH_WEIGHTS] = _mean(each, np.array(self.weights))
        by_name = {f"f1/{name}": float(f1) for name, f1 in zip(self.names, each, strict=True)}
        value = float(_f1(_row_counts(parts).sum(axis=0)))
        return Quality("f1_micro", value, low, high, others | by_name)

    def compare(
        self,
        candidate: Float[Tensor, "rows labels"],
        baseline: Float[Tensor, "rows labels"],
        labels: Int[Tensor, "rows labels"],
    ) -> Comparison:
        """Paired test of F1, and counts of rows whose label set is exactly right.

        The p-value is of F1, not of the rows that only one of the two has exactly right.
        """
        right = labels.bool().numpy()
        ours, theirs = (candidate > 0).numpy(), (baseline > 0).numpy()
        parts, their_parts = (_row_counts(_counts(said, right)) for said in (ours, theirs))
        exact, their_exact = ((said == right).all(axis=1) for said in (ours, theirs))
        return Comparison(
            agreement=float((ours == theirs).all(axis=1).mean()),
            n_regressed=int((their_exact & ~exact).sum()),
            n_improved=int((exact & ~their_exact).sum()),
            p_value=permutation_p_value(parts, their_parts, _f1),
            test=f"paired permutation test of micro F1, {TEST_DRAWS:,} draws",
            standard_error=paired_standard_error(parts, their_parts, _f1),
        )

    def answers(self, kept: Float[Tensor, "rows labels"]) -> list[str]:
        """The labels that a model gives each row: "a, b", "none"."""
        return self.right_answers(kept > 0)

    def right_answers(self, labels: Shaped[Tensor, "rows labels"]) -> list[str]:
        """The labels of each row."""
        chosen = ([n for n, yes in zip(self.names, row, strict=True) if yes] for row in labels)
        return [", ".join(names) or "none" for names in chosen]


def _counts(
    said: Bool[np.ndarray, "rows labels"], right: Bool[np.ndarray, "rows labels"]
) -> Float[np.ndarray, "rows labels 2"]:
    """True positives and errors of each row and label."""
    return np.stack([said & right, said ^ right], axis=-1).astype(float)


def _row_counts(parts: Float[np.ndarray, "rows labels 2"]) -> Float[np.ndarray, "rows 2"]:
    sums: np.ndarray = parts.sum(axis=1)
    return sums


def _f1(sums: Float[np.ndarray, "*some 2"]) -> Float[np.ndarray, "*some"]:
    """F1 = 2 · hits / (2 · hits + errors); 0 if there are neither."""
    whole = 2 * sums[..., 0] + sums[..., 1]
    found: np.ndarray = np.zeros_like(whole)
    np.divide(2 * sums[..., 0], whole, out=found, where=whole > 0)
    return found


def _mean(values: Float[np.ndarray, " labels"], weights: Float[np.ndarray, " labels"]) -> float:
    """Weighted mean; 0 if all weights are 0, for which np.average raises."""
    return float(np.average(values, weights=weights)) if weights.any() else 0.0
