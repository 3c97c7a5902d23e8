"""Heads and neurons: how many each layer keeps, which, and in what order.

Scores of different layers do not compare, so `global` divides each layer's by its ℓ2 norm first, as
Michel et al. (arXiv:1905.10650, section 4.1, after Molchanov et al., arXiv:1611.06440) do; it then
does so for every importance. Deviations from Michel et al.: one cut instead of 10 % of the heads at
a time, and no layer loses all its units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from compress.config.errors import ConfigError
from compress.shaping.importance import Scores, Sites
from compress.transformer.blocks import Block, Units, known_blocks

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def head_units(block: Block) -> Units:
    """The heads of a block; a ConfigError if all blocks share one position bias per head."""
    if block.layout.shared_positions:
        raise ConfigError(
            f"heads of {block.layout.families} cannot be cut: its blocks share one position bias "
            "per head, so heads cannot be removed from one block; expected an architecture "
            "without shared position biases, or fewer neurons"
        )
    return block.head_units()


KINDS: dict[str, Callable[[Block], Units]] = {
    "heads": head_units,
    "neurons": Block.neuron_units,
}


def unit_sites(module: PreTrainedModel, kind: str) -> Sites:
    """Every block with its units of one of `KINDS`.

    Raises:
        ConfigError: the blocks are unknown, or their units cannot be removed.
    """
    return [(block, KINDS[kind](block)) for block in known_blocks(module)]


def uniform_kept(counts: Sequence[int], sparsity: float, round_to: int) -> list[int]:
    """How many of its units each layer keeps when all lose the same fraction.

    The multiple of `round_to` nearest to (1 - sparsity) · count (half-way: the even multiple), but
    at least `round_to`, and no more than there are. A sparsity of 0 keeps all, multiple or not.
    """
    if sparsity == 0:
        return list(counts)
    return [
        round_to * min(max(round((1 - sparsity) * count / round_to), 1), count // round_to)
        for count in counts
    ]


def global_kept(scores: Scores, sparsity: float, round_to: int) -> list[int]:
    """How many of its units each layer keeps when those of all layers compete.

    Each layer's scores are divided by their ℓ2 norm. Its units, best first, form groups of
    `round_to`; those left over at the end go. The first group of every layer stays. Then the groups
    of highest mean score stay, of any layer (ties: the earlier layer's), until the number of groups
    is the one nearest to (1 - sparsity) · units / round_to. A sparsity of 0 keeps all.
    """
    counts = [len(score) for score in scores]
    if sparsity == 0:
        return counts
    tiny = torch.finfo(torch.float32).tiny  # a layer of zeros keeps them
    alike = [functional.normalize(score, dim=0, eps=tiny) for score in scores]
    # Past each layer's first group, which does not compete.
    worths = [_group_means(score, round_to)[1:] for score in alike]
    wanted = round((1 - sparsity) * sum(counts) / round_to)
    more = max(wanted - len(counts), 0)
    owners = torch.cat([torch.full((len(w),), layer) for layer, w in enumerate(worths)])
    best = torch.cat(worths).sort(descending=True, stable=True).indices[:more]
    groups = 1 + owners[best].bincount(minlength=len(counts))
    kept: list[int] = (groups * round_to).tolist()
    return kept


ALLOCATIONS: dict[str, Callable[[Scores, float, int], list[int]]] = {
    "uniform": lambda scores, *rest: uniform_kept([len(score) for score in scores], *rest),
    "global": global_kept,
}


def ranked(score: Float[Tensor, " units"]) -> Int[Tensor, " units"]:
    """Indices from the highest score to the lowest; of equal ones the earlier comes first."""
    return score.sort(descending=True, stable=True).indices


def highest(score: Float[Tensor, " units"], count: int) -> Int[Tensor, " kept"]:
    """Indices of the `count` highest scores, in order of place; of equal ones the earlier."""
    return ranked(score)[:count].sort().values


def _group_means(score: Float[Tensor, " units"], size: int) -> Float[Tensor, " groups"]:
    """The mean score of the best `size` units, of the next best, and so on."""
    ranked = score.sort(descending=True).values
    return ranked[: len(ranked) // size * size].view(-1, size).mean(dim=1)
