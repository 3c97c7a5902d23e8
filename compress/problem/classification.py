"""Single-label classification.

The distillation loss: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network",
arXiv:1503.02531, section 2, scaled by T² so that its gradients keep their size as T changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from compress.analysis.intervals import mcnemar_p_value, wilson_interval
from compress.core.problem import Head, Problem, Quality
from compress.problem.probabilities import detail, fit_temperature
from compress.records.probabilities import Detail
from compress.records.schema import Comparison


@final
@dataclass(frozen=True)
class Classification(Problem):
    """One class of several for each row; evaluated by accuracy, with its Wilson interval.

    Attributes:
        names: of the classes, in the order of their indices.
        others: metrics beside accuracy: names in `OTHERS`.
        weights: of the classes in the loss against labels; null for equal ones.
    """

    head: ClassVar[Head] = "classifier"

    names: tuple[str, ...]
    others: tuple[str, ...] = ("f1_macro",)
    weights: tuple[float, ...] | None = None

    def config(self) -> Mapping[str, Any]:
        """Model config entries with the class names."""
        return {**head_labels(self.names), "problem_type": "single_label_classification"}

    def loss(
        self,
        logits: Float[Tensor, "B classes"],
        targets: Int[Tensor, " B"],
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Cross entropy."""
        weights = None if self.weights is None else logits.new_tensor(self.weights)
        return functional.cross_entropy(
            logits, targets, weight=weights, label_smoothing=label_smoothing
        )

    def distillation_loss(
        self,
        student: Float[Tensor, "B classes"],
        teacher: Float[Tensor, "B classes"],
        targets: Int[Tensor, " B"],
        temperature: float,
    ) -> Float[Tensor, ""]:
        """T² · KL(teacher ‖ student at temperature T)."""
        return softened_divergence(student, teacher, temperature)

    def evaluate(
        self, kept: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]
    ) -> Quality:
        """Accuracy and the configured secondary metrics."""
        correct, total = int((kept.argmax(dim=-1) == labels).sum()), len(labels)
        low, high = wilson_interval(correct, total)
        others = {name: OTHERS[name](kept, labels) for name in self.others}
        return Quality("accuracy", correct / total, low, high, others)

    def compare(
        self,
        candidate: Float[Tensor, "rows classes"],
        baseline: Float[Tensor, "rows classes"],
        labels: Int[Tensor, " rows"],
    ) -> Comparison:
        """Compares the rows that only one of two models has right, by McNemar's test."""
        return compare_answers(candidate.argmax(dim=-1), baseline.argmax(dim=-1), labels)

    def temperature(
        self, kept: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]
    ) -> float | None:
        """The temperature that makes the labels likeliest; null if a logit is not finite."""
        return fit_temperature(kept, labels) if kept.isfinite().all() else None

    def detail(
        self,
        kept: Float[Tensor, "rows classes"],
        labels: Int[Tensor, " rows"],
        temperature: float | None,
    ) -> Detail:
        """Calibration, precision and recall of each class, and the confusion matrix."""
        return detail(kept, labels, self.names, temperature)

    def answers(self, kept: Float[Tensor, "rows classes"]) -> list[str]:
        """The most likely class of each row."""
        return self.right_answers(kept.argmax(dim=-1))

    def right_answers(self, labels: Int[Tensor, " rows"]) -> list[str]:
        """The class of each row."""
        return [self.names[label] for label in labels.tolist()]


def compare_answers(
    ours: Int[Tensor, " rows"], theirs: Int[Tensor, " rows"], right: Int[Tensor, " rows"]
) -> Comparison:
    """Compares the rows that only one of two models has right, by McNemar's test."""
    n_regressed = int(((theirs == right) & (ours != right)).sum())
    n_improved = int(((ours == right) & (theirs != right)).sum())
    agreement = float((ours == theirs).double().mean())
    return Comparison(agreement, n_regressed, n_improved, mcnemar_p_value(n_regressed, n_improved))


def softened_divergence(
    student: Float[Tensor, "rows classes"],
    teacher: Float[Tensor, "rows classes"],
    temperature: float,
) -> Float[Tensor, ""]:
    """T² · KL(teacher ‖ student at temperature T), as a mean over rows."""
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student / temperature, dim=-1),
        functional.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )


def head_labels(names: tuple[str, ...]) -> dict[str, Any]:
    """Model config entries of a head with an output for each name."""
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }


def macro_f1(logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> float:
    """F1 averaged over the classes with equal weight."""
    # Imported here and below: scikit-learn takes seconds, and config errors should not.
    from sklearn.metrics import f1_score

    return float(f1_score(labels, logits.argmax(dim=-1), average="macro"))


def positive_f1(logits: Float[Tensor, "rows 2"], labels: Int[Tensor, " rows"]) -> float:
    """F1 of the second of two classes; 0 if it has neither rows nor predictions."""
    from sklearn.metrics import f1_score

    predicted = logits.argmax(dim=-1)
    return float(f1_score(labels, predicted, pos_label=1, average="binary", zero_division=0.0))


def mcc(logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> float:
    """Matthews correlation of predictions and labels (Biochim. Biophys. Acta 405:442, 1975).

    In [-1, 1]; 0 where it is undefined because all rows are of one class, or taken for one.
    """
    from sklearn.metrics import matthews_corrcoef

    predicted = logits.argmax(dim=-1)
    if (labels == labels[0]).all() or (predicted == predicted[0]).all():
        return 0.0
    return float(matthews_corrcoef(labels, predicted))


def top5(logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> float:
    """Top-5 accuracy."""
    likely = logits.topk(5, dim=-1).indices
    return float((likely == labels[:, None]).any(dim=-1).double().mean())


# By the names in `compress.records.scores`.
OTHERS: Mapping[str, Callable[[Tensor, Tensor], float]] = {
    "f1_macro": macro_f1,
    "f1": positive_f1,
    "mcc": mcc,
    "top5": top5,
}
