"""From importance scores to masks, for all mask pruners.

A mask is True where a weight stays. Scores and masks are shaped as a Linear's weight: [out, in].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def keep_highest_per_row(score: Float[Tensor, "out in"], sparsity: float) -> Bool[Tensor, "out in"]:
    """Drops the lowest `sparsity` of each row, to the nearest whole weight; ties by place."""
    return _drop_lowest(score, round(sparsity * score.shape[1]))


def keep_highest(score: Float[Tensor, ...], sparsity: float) -> Bool[Tensor, ...]:
    """Drops the lowest `sparsity` of all entries together, ties by place."""
    return _drop_lowest(score.reshape(1, -1), round(sparsity * score.numel())).view(score.shape)


def keep_pattern(score: Float[Tensor, "out in"], kept: int, group: int) -> Bool[Tensor, "out in"]:
    """Keeps the highest `kept` of every `group` consecutive weights in a row."""
    groups = score.reshape(-1, group)
    return _drop_lowest(groups, group - kept).view(score.shape)


def masks_together(
    scores: Mapping[str, Float[Tensor, "out in"]],
    threshold: str,
    keep: Callable[[Float[Tensor, ...]], Bool[Tensor, ...]],
) -> dict[str, Bool[Tensor, "out in"]]:
    """Each layer's mask: `keep` of its own scores, or under threshold "global" of all scores."""
    if threshold == "layer":
        return {name: keep(score) for name, score in scores.items()}
    flat = [score.flatten() for score in scores.values()]
    masks = torch.split(keep(torch.cat(flat)), [len(part) for part in flat])
    return {n: m.view_as(s) for (n, s), m in zip(scores.items(), masks, strict=True)}


def _drop_lowest(rows: Float[Tensor, "rows n"], count: int) -> Bool[Tensor, "rows n"]:
    """True but for the `count` lowest entries of each row."""
    mask = torch.ones_like(rows, dtype=torch.bool)
    lowest = rows.sort(dim=1, stable=True).indices[:, :count]
    return mask.scatter_(1, lowest, False)
