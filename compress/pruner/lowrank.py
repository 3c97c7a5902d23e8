"""Low-rank factorization: a Linear becomes two thin ones, W ≈ U·V, where that takes fewer weights.

The truncated SVD is the nearest matrix of its rank (Eckart & Young 1936), in the plain norm or in
one that knows the data (`components/weighting.py`); before the cut, singular values that are noise
can be dropped or shrunk (`components/denoise.py`). Those two modules say the papers and the
deviations from them.

`standardize` divides each column by its root mean square before the SVD and multiplies V by it
after: the norm changes, and at full rank the product is still W. Columns are not centered: a mean
would cost one more rank to add back, and trained weights have next to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from compress.config.errors import ConfigError, UserError
from compress.config.fields import OpenFraction
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.pruner.components.denoise import Denoise
from compress.pruner.components.rank import RankRule, break_even, reason, saves
from compress.pruner.components.weighting import (
    WEIGHTINGS,
    Norm,
    Weighting,
    linear_named,
    standardizing_norm,
)
from compress.transformer.blocks import scoped_linears, shape_of, weight_matrix
from compress.transformer.stacks import Linear, find_stack
from compress.transformer.stored_modules import LowRankLinear
from compress.transformer.surgery import replace_linear_

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@final
@dataclass(frozen=True, kw_only=True)
class LowRank(BasePruner):
    """Factorizes Linear layers of the blocks; the bias stays with U.

    A layer for which the rank would save nothing, or whose singular values are all noise, stays
    whole: `notes` has the rank of every layer in scope, null for whole ones, and why.

    Attributes:
        sparsity: fraction of a layer's weights to remove if `rank.by` is "sparsity".
        scope: which Linear layers: "all" (of the blocks), "attention", "ffn", or a pattern of
            names such as "*.0.*".
        layers: indices of the blocks, in ascending order; null for all.
        rank: the rule that chooses each layer's rank.
        denoise: which singular values go as noise, before the rank is chosen.
        standardize: whether columns are divided by their root mean square for the SVD, and
            multiplied by it afterwards.
        weighting: whose errors count.
    """

    version = 3  # every layer is called with its own masks and positions

    sparsity: OpenFraction
    scope: str
    layers: tuple[int, ...] | None
    rank: RankRule
    denoise: Denoise
    standardize: bool
    weighting: Weighting

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.layers is not None:
            listed = list(self.layers)
            if not listed or listed != sorted(set(listed)) or listed[0] < 0:
                raise ConfigError(
                    f"LowRank.layers must list blocks in ascending order, got {listed}"
                )
        weighting, denoise = self.weighting.method, self.denoise.method
        if weighting != "none" and denoise != "none":
            raise ConfigError(
                "LowRank.denoise.method must be none with a weighting, for weighted noise does not "
                f"follow the law that it rests on; got {denoise} with weighting.method={weighting}"
            )
        if weighting != "none" and self.standardize:
            raise ConfigError(
                "LowRank.standardize must be false with a weighting: both say which columns count; "
                f"got weighting.method={weighting}"
            )

    def foresees_shapes(self) -> bool:
        """Whether ranks do not depend on singular values."""
        return self.rank.by != "energy" and self.denoise.method == "none"

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The skeleton with its layers factorized.

        Ranks that depend on weights are taken to be the largest that save any.

        Raises:
            ConfigError: a layer in scope is factorized already, or none would save anything.
        """
        linears = self._linears(skeleton)
        shapes = {name: shape_of(linear) for name, linear in linears.items()}
        ranks = {name: self.rank.rank(shape, self.sparsity, None) for name, shape in shapes.items()}
        saving = {name: rank for name, rank in ranks.items() if saves(rank, shapes[name])}
        if not saving:
            raise ConfigError(self._nothing_saved(ranks, shapes))
        for name, rank in saving.items():
            outputs, inputs = shapes[name]
            with torch.device("meta"):
                thin = LowRankLinear(inputs, rank, outputs, linears[name].bias is not None)
            replace_linear_(skeleton, name, linears[name], thin)
        return skeleton

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Factorizes the layers in scope, first to last.

        Raises:
            UserError: no layer would save anything; or a weighting lacks data.
        """
        # Names and shapes, not layers: each is to be freed as soon as it is replaced.
        shapes = {name: shape_of(part) for name, part in self._linears(work.module).items()}
        ranks: dict[str, int] = {}

        def use(name: str, norm: Norm) -> None:
            ranks[name] = self._factorize_(work, name, norm)

        WEIGHTINGS[self.weighting.method](work, shapes, ctx, self.weighting.damping, use)
        whole = {name: rank for name, rank in ranks.items() if not saves(rank, shapes[name])}
        if len(whole) == len(shapes):
            raise UserError(self._nothing_saved(ranks, shapes))
        work.notes["ranks"] = {n: None if n in whole else rank for n, rank in ranks.items()}
        work.notes["left_whole"] = {name: reason(r, shapes[name]) for name, r in whole.items()}

    @torch.no_grad()
    def _factorize_(self, work: PruningState, name: str, norm: Norm) -> int:
        """Replaces a layer if that saves weights; returns its rank in either case."""
        linear = linear_named(work.module, name)
        weight = weight_matrix(linear)
        if self.standardize:
            norm = standardizing_norm(weight)
        left, singular, right = torch.linalg.svd(norm.applied(weight.double()), full_matrices=False)
        shape = shape_of(linear)
        singular = self.denoise.left(singular, min(shape) / max(shape))
        rank = self.rank.rank(shape, self.sparsity, singular)
        if saves(rank, shape):
            up, down = norm.undone(*balanced(left[:, :rank], singular[:rank], right[:rank]))
            gone = {f"{name}.{leaf}": None for leaf, _ in linear.named_parameters()}
            thin = thin_linear(up.to(weight.dtype), down.to(weight.dtype), linear.bias)
            replace_linear_(work.module, name, linear, thin)
            work.shapes.update(gone)
            work.expect_shapes([name])
        return rank

    def _linears(self, module: PreTrainedModel) -> dict[str, Linear]:
        """The layers in scope."""
        linears = scoped_linears(module, self.scope)
        if self.layers is not None:
            stack, listed = find_stack(module), list(self.layers)
            last = len(stack.blocks) - 1
            if listed[-1] > last:
                raise ConfigError(f"LowRank.layers must be indices from 0 to {last}, got {listed}")
            starts = tuple(f"{stack.name}.{index}." for index in listed)
            linears = {name: part for name, part in linears.items() if name.startswith(starts)}
            if not linears:
                raise ConfigError(
                    f"LowRank.scope={self.scope} matches no Linear layer in layers {listed}"
                )
        for name in linears:
            whole = name.rpartition(".")[0]
            if isinstance(module.get_submodule(whole), LowRankLinear):
                raise ConfigError(
                    f"LowRank.scope={self.scope} has {whole}, which is factorized already; "
                    "expected a scope or layers without it"
                )
        return linears

    def _nothing_saved(self, ranks: dict[str, int], shapes: Mapping[str, tuple[int, int]]) -> str:
        name, shape = next(iter(shapes.items()))
        by = self.rank.by
        if ranks[name] == 0:
            change = f"set pruner.denoise.method=none, got {self.denoise.method}"
        else:
            knob = "raise pruner.sparsity" if by == "sparsity" else f"lower pruner.rank.{by}"
            change = (
                f"expected at most {break_even(shape)}: {knob}, or lower "
                f"pruner.rank.min={self.rank.min}"
            )
        return (
            f"LowRank with rank.by={by} would leave all {len(shapes)} layers in scope whole; "
            f"{name}: {reason(ranks[name], shape)}; {change}"
        )


def balanced(
    left: Float[Tensor, "out rank"],
    singular: Float[Tensor, " rank"],
    right: Float[Tensor, "rank in"],
) -> tuple[Float[Tensor, "out rank"], Float[Tensor, "rank in"]]:
    """Left·√Σ and √Σ·Right: two factors of the same size, which train alike."""
    root = singular.sqrt()
    return left * root, root[:, None] * right


def thin_linear(
    up: Float[Tensor, "out rank"], down: Float[Tensor, "rank in"], bias: Tensor | None
) -> LowRankLinear:
    """The layer U·V with a bias."""
    # On meta, so that no initial weights are drawn from the run's random numbers.
    with torch.device("meta"):
        layer = LowRankLinear(down.shape[1], len(down), len(up), bias is not None)
    layer.up.weight, layer.down.weight = (nn.Parameter(f.contiguous()) for f in (up, down))
    if bias is not None:
        layer.up.bias = nn.Parameter(bias.detach().clone())
    return layer
