"""Which singular values are signal and which are noise, by the law of random matrices.

A matrix Y = X + σ·Z, m × n with m ≤ n, β = m / n, X of low rank and Z of independent entries with
variance 1: the singular values of the noise alone fill [(1 - √β)·σ√n, (1 + √β)·σ√n] and follow the
Marčenko–Pastur law. What the papers call y is a singular value over the noise level σ√n, which is
estimated as median(singular values) / √μ_β, with μ_β the median of that law.

- Gavish & Donoho, "The Optimal Hard Threshold for Singular Values is 4/√3", arXiv:1305.5870.
- Gavish & Donoho, "Optimal Shrinkage of Singular Values", arXiv:1405.7511, section 4.1 (Frobenius
  norm).

Deviation: none in the formulas. That the weights of a layer are such a Y is an assumption, and is
nearer to the truth when all columns have one scale (`LowRank.standardize`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import numpy as np
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import ConfigError
from compress.config.fields import NotNegativeInt, OneOf
from compress.config.settings import Settings

GRID = 2**14  # of the trapezoid rule: the median is right to 1e-7


def marchenko_pastur_median(beta: float) -> float:
    """μ_β, the median of the Marčenko–Pastur law of ratio β in (0, 1] and variance 1.

    With x = 1 + β + 2√β·cos φ the density √((b - x)(x - a)) / (2πβx) dx becomes
    2 sin²φ / (πx) dφ, which is smooth up to both ends, also for β = 1 where the former has a pole.
    """
    angle = np.linspace(np.pi, 0, GRID + 1)
    value = 1 + beta + 2 * math.sqrt(beta) * np.cos(angle)
    # At β = 1 and φ = π both are zero; the limit of sin²φ / (2 + 2 cos φ) there is 1.
    density = np.divide(np.sin(angle) ** 2, value, out=np.ones_like(angle), where=value > 1e-12)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    # φ is even in its steps and x is not, so the crossing is found in φ.
    middle = float(np.interp(mass[-1] / 2, mass, -angle))
    return 1 + beta + 2 * math.sqrt(beta) * math.cos(middle)


def known_noise_threshold(beta: float) -> float:
    """λ(β): the optimal hard threshold in units of a known noise level σ√n; 4/√3 for β = 1."""
    root = math.sqrt(beta**2 + 14 * beta + 1)
    return math.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root))


def unknown_noise_threshold(beta: float) -> float:
    """ω(β) = λ(β) / √μ_β: the same threshold in units of the median singular value."""
    return known_noise_threshold(beta) / math.sqrt(marchenko_pastur_median(beta))


def noise_level(singular: Float[Tensor, " n"], beta: float) -> float:
    """σ√n, estimated from all singular values of a matrix."""
    return float(singular.quantile(0.5)) / math.sqrt(marchenko_pastur_median(beta))


def hard_threshold(singular: Float[Tensor, " n"], beta: float) -> Float[Tensor, " kept"]:
    """The singular values from ω(β) · median on, as they are."""
    return singular[singular >= unknown_noise_threshold(beta) * singular.quantile(0.5)]


def shrink(singular: Float[Tensor, " n"], beta: float) -> Float[Tensor, " kept"]:
    """The singular values above the noise's edge, each brought down to what its signal was.

    η(y) = √((y² - β - 1)² - 4β) / y for y > 1 + √β, in units of the noise level.
    """
    noise = noise_level(singular, beta)
    kept = singular[singular > (1 + math.sqrt(beta)) * noise]
    # η(σ / noise) · noise, multiplied out: a noise of zero then changes nothing.
    inner = (kept**2 - (beta + 1) * noise**2) ** 2 - 4 * beta * noise**4
    return inner.clamp(min=0).sqrt() / kept


# All singular values of a matrix, descending, and its short side over its long → those that stay.
DENOISERS: dict[str, Callable[[Float[Tensor, " n"], float], Float[Tensor, " kept"]]] = {
    "none": lambda singular, beta: singular,
    "hard": hard_threshold,
    "shrink": shrink,
}


@dataclass(frozen=True, kw_only=True)
class Denoise(Settings):
    """Which singular values are dropped as noise before the rank is chosen.

    Attributes:
        method: "none"; "hard" drops singular values within the noise; "shrink" also reduces the
            others by the noise.
        min: number of the largest singular values that "hard" always keeps.
    """

    method: Annotated[str, OneOf(DENOISERS)]
    min: NotNegativeInt

    def __post_init__(self) -> None:
        """Checks that the values go together."""
        super().__post_init__()
        if self.min and self.method != "hard":
            raise ConfigError(
                "Denoise.min must be 0 but with method=hard, which leaves singular values as they "
                f"are; got min={self.min}, method={self.method}"
            )

    def left(self, singular: Float[Tensor, " n"], beta: float) -> Float[Tensor, " kept"]:
        """The singular values that are not noise; see `DENOISERS`."""
        kept = DENOISERS[self.method](singular, beta)
        return kept if len(kept) >= self.min else singular[: self.min]
