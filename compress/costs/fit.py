"""Non-negative least squares on relative errors, and how well it predicts what it has not seen.

Every operation takes some time, none a negative one: with that constraint (Lawson and Hanson,
"Solving Least Squares Problems", 1974, chapter 23) fits of nearly collinear counts predict well
between the points that they were made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

LEAST = 2  # points, so that one can be left out


@dataclass(frozen=True)
class Fit:
    """A sum of non-negative multiples of features.

    Attributes:
        coefficients: one of each feature.
        errors: of each point, the relative error of its prediction by a fit to all the others.
    """

    coefficients: Float[np.ndarray, " features"]
    errors: Float[np.ndarray, " points"]

    def predict(self, features: Float[np.ndarray, " features"], known: float = 0.0) -> float:
        """The value of one point."""
        return float(known + features @ self.coefficients)

    @property
    def median_error(self) -> float:
        """Median size of the relative error of a point that was left out."""
        return float(np.median(np.abs(self.errors)))

    @property
    def worst_error(self) -> float:
        """Largest size of the relative error of a point that was left out."""
        return float(np.abs(self.errors).max())


def fit(
    features: Float[np.ndarray, "points features"],
    values: Float[np.ndarray, " points"],
    known: Float[np.ndarray, " points"] | None = None,
) -> Fit:
    """Fits values, minimizing the sum of squared relative errors.

    Args:
        features: at least two points.
        values: positive.
        known: what is known of each value, so that only the rest is fitted.
    """
    assert len(values) >= LEAST, "leaving one out leaves one"
    given = np.zeros_like(values) if known is None else known
    errors = []
    for left_out in range(len(values)):
        others = np.arange(len(values)) != left_out
        solved = _solved(features[others], values[others], given[others])
        predicted = given[left_out] + features[left_out] @ solved
        errors.append(predicted / values[left_out] - 1)
    return Fit(_solved(features, values, given), np.array(errors))


def _solved(
    features: Float[np.ndarray, "points features"],
    values: Float[np.ndarray, " points"],
    known: Float[np.ndarray, " points"],
) -> Float[np.ndarray, " features"]:
    # Columns of equal size: counts differ by seven orders of magnitude.
    sizes = np.abs(features).max(axis=0)
    sizes[sizes == 0] = 1.0
    scaled, _ = nnls(features / sizes / values[:, None], 1 - known / values)
    solved: Float[np.ndarray, " features"] = scaled / sizes
    return solved
