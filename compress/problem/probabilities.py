"""How far a classifier's probabilities can be trusted, and how it does on each class.

Temperature scaling and the expected calibration error: Guo et al., "On Calibration of Modern Neural
Networks", arXiv:1706.04599, sections 2 and 4.2. Score of squared errors: Brier, "Verification of
forecasts expressed in terms of probability", Monthly Weather Review 78:1, 1950.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from compress.records.probabilities import Calibration, ClassScore, Detail, Reliability

BINS = 15
LOWEST, HIGHEST = 0.05, 20.0  # of a temperature: rows that are all right would take it to 0
LARGEST_TABLE = 50  # classes


def fit_temperature(logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> float:
    """The temperature that makes the labels likeliest (section 4.2)."""
    from scipy.optimize import minimize_scalar

    scores = logits.double()

    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(scores / math.exp(log_temperature), labels))

    # Convex in the inverse of the temperature, so with one minimum in its logarithm.
    found = minimize_scalar(loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded")
    return math.exp(float(found.x))


def reliability(logits: Float[Tensor, "rows classes"], labels: Int[Tensor, " rows"]) -> Reliability:
    """Likelihood, squared error and calibration error of the probabilities."""
    scores = logits.double()
    likely = scores.softmax(dim=-1)
    right = functional.one_hot(labels, logits.shape[-1])
    confidence, said = likely.max(dim=-1)
    return Reliability(
        nll=float(functional.cross_entropy(scores, labels)),
        brier=float(((likely - right) ** 2).sum(dim=-1).mean()),
        ece=calibration_error(confidence, said == labels),
    )


def calibration_error(confidence: Float[Tensor, " rows"], correct: Tensor) -> float:
    """Mean over rows of the distance of accuracy and confidence in each row's bin (equation 3)."""
    places = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.double)
    gaps.index_add_(0, places, correct.double() - confidence.double())
    return min(1.0, float(gaps.abs().sum()) / len(confidence))


def detail(
    logits: Float[Tensor, "rows classes"],
    labels: Int[Tensor, " rows"],
    names: Sequence[str],
    temperature: float | None,
) -> Detail:
    """Probabilities with and without the temperature, each class, and the confusion matrix.

    Without a temperature, or where a logit is not finite, there are no probabilities.
    """
    count = logits.shape[-1]
    said = logits.argmax(dim=-1)
    table = torch.bincount(labels * count + said, minlength=count**2).reshape(count, count)
    hits, support, taken = table.diagonal(), table.sum(dim=1), table.sum(dim=0)
    classes = tuple(
        ClassScore(name, int(rows), _share(hit, all_said), _share(hit, rows))
        for name, hit, rows, all_said in zip(names, hits, support, taken, strict=True)
    )
    shown = count <= LARGEST_TABLE
    calibration = None
    if temperature is not None and logits.isfinite().all():
        scaled, plain = (reliability(each, labels) for each in (logits / temperature, logits))
        calibration = Calibration(temperature, scaled, plain)
    return Detail(
        calibration,
        classes if shown else (),
        tuple(tuple(map(int, row)) for row in table) if shown else (),
    )


def _share(part: Tensor, whole: Tensor) -> float | None:
    return float(part / whole) if whole else None
