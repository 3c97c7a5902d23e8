"""How many times faster one model is than another, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000

# Of each round, the logarithm of the baseline's time over the candidate's.
LogRatios = Float[np.ndarray, " rounds"]


def speedup_interval(restarts: Sequence[LogRatios], seed: int) -> tuple[float, float, float]:
    """The speed-up and its 95 % interval, of rounds in several pairs of processes.

    The median of a restart's rounds is not moved by those in which something else had the
    processor. Restarts differ for good, by where memory happens to lie, so they are averaged, and
    the bootstrap draws restarts first and then rounds in each that it drew (Davison and Hinkley,
    "Bootstrap Methods and their Application", 1997, section 3.8).

    Args:
        restarts: one or more, each of one round or more.
        seed: of the bootstrap.

    Returns:
        Ratio, lower and upper end.
    """
    rng = np.random.default_rng(seed)
    center = np.mean([np.median(rounds) for rounds in restarts])
    medians = np.stack([_resampled_medians(rounds, len(restarts), rng) for rounds in restarts])
    drawn = rng.integers(0, len(restarts), size=(len(restarts), RESAMPLES))
    # A restart that is drawn twice has its rounds drawn anew.
    copies = np.arange(len(restarts))[:, None]
    means = medians[drawn, copies, np.arange(RESAMPLES)].mean(axis=0)
    # The spread of n restarts drawn from n is too small by √((n − 1) / n).
    count = len(restarts)
    means = center + (means - center) * np.sqrt(count / max(1, count - 1))
    low, high = np.percentile(means, [2.5, 97.5])
    # With few rounds the median can lie outside its own bootstrap's percentiles.
    low, high = min(low, center), max(high, center)
    return float(np.exp(center)), float(np.exp(low)), float(np.exp(high))


def relative_width(interval: tuple[float, float, float]) -> float:
    """Both sides of an interval together, as a share of the ratio."""
    ratio, low, high = interval
    return (high - low) / ratio


def noise_floor(interval: tuple[float, float, float]) -> float:
    """How far from 1, at most, a model's speed-up over itself may be: >= 1."""
    _, low, high = interval
    return max(high, 1 / low)


def _resampled_medians(
    rounds: LogRatios, copies: int, rng: np.random.Generator
) -> Float[np.ndarray, "copies resamples"]:
    picks = rng.integers(0, len(rounds), size=(copies, RESAMPLES, len(rounds)))
    medians: Float[np.ndarray, "copies resamples"] = np.median(rounds[picks], axis=2)
    return medians
