"""From importance scores to masks, for all mask pruners.

A mask is True where a weight stays. Scores and masks are shaped as a Linear's weight: [out, in].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from compress.config.errors import ConfigError
from compress.config.settings import parse_pattern
from compress.interfaces import Pruner
from compress.transformer.blocks import Linear, shape_of


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


def check_pattern(pruner: Pruner, pattern: str | None, sparsity: float) -> None:
    """Checks that an N:M pattern is valid and has the sparsity of the settings.

    Raises:
        ConfigError: it is not a pattern, or has another sparsity.
    """
    if pattern is None:
        return
    name = type(pruner).__name__
    kept, group = parse_pattern(f"{name}.pattern", pattern)
    implied = 1 - kept / group
    if abs(implied - sparsity) > 1e-9:
        raise ConfigError(
            f"{name}.pattern={pattern} means sparsity {implied:g}, got sparsity={sparsity:g}; "
            f"set pruner.sparsity={implied:g}"
        )


def check_pattern_fits(pattern: str | None, linears: Mapping[str, Linear]) -> None:
    """Checks that the rows of every layer divide into the pattern's groups.

    Raises:
        ConfigError: those of one layer do not.
    """
    if pattern is None:
        return
    _, group = parse_pattern("pattern", pattern)
    for name, linear in linears.items():
        _, columns = shape_of(linear)
        if columns % group:
            raise ConfigError(
                f"pruner.pattern={pattern}: {name} has rows of {columns} weights, "
                f"expected a multiple of {group}"
            )


def _drop_lowest(rows: Float[Tensor, "rows n"], count: int) -> Bool[Tensor, "rows n"]:
    """True but for the `count` lowest entries of each row."""
    mask = torch.ones_like(rows, dtype=torch.bool)
    lowest = rows.sort(dim=1, stable=True).indices[:, :count]
    return mask.scatter_(1, lowest, False)
