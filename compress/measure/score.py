"""Quality on the evaluation split, its sampling error, and whether it differs from another's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from compress.interfaces import Runnable, Split
from compress.records import Comparison, Score

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def score(
    logits: Float[Tensor, "rows classes"],
    split: Split,
    batch_size: int,
    metrics: Sequence[str] = (),
) -> Score:
    """Accuracy with its Wilson interval, macro F1, and what else the task is judged by.

    Args:
        logits: of every row of the split, in its order, as `predict_all` gives them.
        split: has the labels.
        batch_size: that the logits were computed at, for the record.
        metrics: names in `OTHERS`.
    """
    # Imported here: scikit-learn takes seconds, and config errors should not.
    from sklearn.metrics import f1_score

    predicted = logits.argmax(dim=-1).tolist()
    labels = list(split.labels)
    correct = sum(p == y for p, y in zip(predicted, labels, strict=True))
    low, high = wilson_interval(correct, len(labels))
    return Score(
        accuracy=correct / len(labels),
        accuracy_low=low,
        accuracy_high=high,
        f1_macro=float(f1_score(labels, predicted, average="macro")),
        samples=len(labels),
        batch_size=batch_size,
        split=split.name,
        others={name: OTHERS[name](logits, torch.tensor(labels)) for name in metrics},
    )


def positive_f1(logits: Float[Tensor, "rows 2"], labels: Int[Tensor, " rows"]) -> float:
    """F1 of the second of two classes; 0 where no row is of it and none is taken for it."""
    from sklearn.metrics import f1_score

    predicted = logits.argmax(dim=-1)
    return float(f1_score(labels, predicted, pos_label=1, average="binary", zero_division=0.0))


def matthews(logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> float:
    """Matthews correlation of predictions and labels (Biochim. Biophys. Acta 405:442, 1975).

    In [-1, 1]; 0 where it is undefined because all rows are of one class, or taken for one.
    """
    from sklearn.metrics import matthews_corrcoef

    predicted = logits.argmax(dim=-1)
    if (labels == labels[0]).all() or (predicted == predicted[0]).all():
        return 0.0
    return float(matthews_corrcoef(labels, predicted))


def top5(logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> float:
    """Share of the rows whose class is among the five with the largest logits."""
    likely = logits.topk(5, dim=-1).indices
    return float((likely == labels[:, None]).any(dim=-1).double().mean())


# What a task can be judged by beside accuracy and macro F1; by the names in `compress.metrics`.
OTHERS: Mapping[str, Callable[[Tensor, Tensor], float]] = {
    "f1": positive_f1,
    "matthews": matthews,
    "top5": top5,
}


def predict_all(model: Runnable, split: Split, batch_size: int) -> Float[Tensor, "rows classes"]:
    """Logits of every row in the split's order, computed in batches of similar length."""
    order, logits = [], []
    for rows, batch in _batches(model, split, batch_size):
        order += rows
        logits.append(model.predict(batch).float().cpu())
    return torch.cat(logits)[torch.tensor(order).argsort()]


def wilson_interval(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Confidence interval of a share, after Wilson 1927 (J. Am. Stat. Assoc. 22:209).

    Args:
        correct: how many of `total` > 0.
        total: the sample size.
        z: quantile of the normal distribution; 95 % by default.
    """
    share = correct / total
    centre = share + z**2 / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def compare(
    candidate: Float[Tensor, "rows classes"],
    baseline: Float[Tensor, "rows classes"],
    labels: Sequence[int],
) -> Comparison:
    """Two models' predictions on the same rows.

    Args:
        candidate: logits of every row, in the order of the labels.
        baseline: likewise.
        labels: the right classes.
    """
    ours, theirs = candidate.argmax(dim=-1), baseline.argmax(dim=-1)
    right = torch.tensor(list(labels))
    lost = int(((theirs == right) & (ours != right)).sum())
    won = int(((ours == right) & (theirs != right)).sum())
    agreement = float((ours == theirs).double().mean())
    return Comparison(agreement, lost, won, mcnemar_p_value(lost, won))


def mcnemar_p_value(lost: int, won: int) -> float:
    """McNemar's two-sided test (Psychometrika 12:153, 1947), exact: no normal distribution in it.

    The probability that of `lost + won` tosses of a fair coin at most as few as the smaller of the
    two, or at least as many as the larger, show heads; 1 where no row tells the models apart.

    Args:
        lost: rows that only the one model has right.
        won: rows that only the other has right.
    """
    tosses = lost + won
    tail = sum(math.comb(tosses, heads) for heads in range(min(lost, won) + 1))
    both: float = 2 * tail / 2**tosses
    return min(1.0, both)  # the middle counts twice where the two are equal


def _batches(
    model: Runnable, split: Split, batch_size: int
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Row numbers and padded inputs, rows sorted by length so that little is padded."""
    encoded = split.encode(model.tokenizer)
    lengths: list[int] = encoded["length"][:]
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    columns = encoded.remove_columns("length")
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield rows, split.collate(model.tokenizer, [columns[row] for row in rows])
