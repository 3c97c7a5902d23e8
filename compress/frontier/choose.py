"""Which points of a search are worth training: finalists among candidates. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.analysis.pareto import hypervolume
from compress.search.space import Point

NEAR = 0.8  # of the targets: what is better and nearly as fast and small is worth a look
NEAR_SHARE = 3  # one in so many finalists


@dataclass(frozen=True)
class Candidate:
    """A point of the search, and what is known of it before it is trained.

    Attributes:
        net: identifies the sub-net, whatever its runtime and format.
        quality: of the sub-net as the super-net has it, on the validation rows.
        speedup: predicted, at each shape of the benchmark.
        smaller: the teacher's bytes over the predicted ones.
        size_bytes: predicted.
        margin: the least ratio of what is predicted to what is asked for; None without targets.
        layers: of the sub-net.
        at_best: the margin, if predictions err to the disadvantage of the sub-net.
    """

    point: Point
    net: str
    quality: float
    speedup: tuple[float, ...]
    smaller: float
    size_bytes: float
    margin: float | None
    layers: int
    at_best: float | None = None


def choose(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """At most `count` finalists, the most promising one first.

    With targets: every sub-net that meets them, in the runtime and format in which it has the most
    margin, by quality, and then those that meet them within the error of predictions, by margin;
    of these the first of each number of layers before the second of any. Up to a third are
    sub-nets that nearly meet the targets and are better than all that do. Where none meets them,
    those that come closest. Without targets: those that add most to the hypervolume of quality,
    speed and size, one after the other.

    A super-net ranks sub-nets of one depth well. Across depths and widths it does not: on SST-2 the
    deepest and narrowest was the worst in it, and the best once it was trained by itself.
    """
    if any(each.margin is None for each in candidates):
        return _by_volume(candidates, count)
    best: dict[str, Candidate] = {}
    for each in sorted(candidates, key=_certainty, reverse=True):
        best.setdefault(each.net, each)
    ranked = sorted(best.values(), key=lambda each: (-each.quality, -_margin(each)))
    sure = [each for each in ranked if _margin(each) >= 1]
    likely = [each for each in ranked if _margin(each) < 1 <= (each.at_best or 0.0)]
    likely.sort(key=_margin, reverse=True)
    meeting = _depths_first([*sure, *likely])
    if not meeting:
        return sorted(ranked, key=_margin, reverse=True)[:count]
    best_quality = max(each.quality for each in meeting)
    near = [
        each
        for each in ranked
        if NEAR <= _margin(each) < 1 and each not in likely and each.quality > best_quality
    ]
    extra = near[: count // NEAR_SHARE]
    return [*meeting[: count - len(extra)], *extra]


def _depths_first(ranked: Sequence[Candidate]) -> list[Candidate]:
    """The first of each number of layers, then the others, both in their order."""
    firsts: dict[int, Candidate] = {}
    for each in ranked:
        firsts.setdefault(each.layers, each)
    return [*firsts.values(), *(each for each in ranked if firsts[each.layers] is not each)]


def _certainty(candidate: Candidate) -> tuple[bool, float]:
    """Orders the runtimes and formats of a sub-net: how surely it meets the targets in one."""
    margin = _margin(candidate)
    return margin >= 1, margin if margin >= 1 else candidate.at_best or margin


def _margin(candidate: Candidate) -> float:
    assert candidate.margin is not None, "without targets there is no margin"
    return candidate.margin


def _by_volume(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Greedy: each adds the most to the volume of those before it."""
    best = max(each.quality for each in candidates)
    shares = np.array([_shares(each, best) for each in candidates])
    kept: list[int] = []
    while len(kept) < min(count, len(candidates)):
        volumes = [
            -1.0 if i in kept else hypervolume(shares[[*kept, i]]) for i in range(len(candidates))
        ]
        kept.append(int(np.argmax(volumes)))
    return [candidates[i] for i in kept]


def _shares(candidate: Candidate, best: float) -> tuple[float, float, float]:
    """Quality kept of the best, and time and bytes saved, as shares; see `Goals.volume`."""
    quality = candidate.quality
    return (
        # That of a language model is the negative logarithm of its perplexity.
        max(quality / best, 0.0) if best > 0 else math.exp(quality - best),
        max(1 - 1 / candidate.speedup[0], 0.0),
        max(1 - 1 / candidate.smaller, 0.0),
    )
