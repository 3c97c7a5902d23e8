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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.config.errors import ConfigError, UserError
from compress.config.settings import (
    check_choice,
    check_fraction,
    check_not_negative,
    check_positive,
)
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.pruner.components.denoise import DENOISERS, denoised
from compress.pruner.components.rank import break_even, energy_rank, ratio_rank, reason, saves
from compress.pruner.components.weighting import WEIGHTINGS, Norm, linear_named, standardizing_norm
from compress.transformer.blocks import scoped_linears, shape_of, weight_matrix
from compress.transformer.stacks import Linear, Stack, find_stack
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
        scope: which Linear layers: "all" (of the blocks), "attention", "ffn", or a pattern of
            names such as "*.0.*".
        layers: indices of the blocks, in ascending order; null for all.
        rank: the rule that chooses each layer's rank: "sparsity", "energy" or "fixed". Of the next
            three settings only the one of that name is consulted.
        sparsity: the share of a layer's weights that goes, in (0, 1): the rank is
            (1 - sparsity) · out · in / (out + in), rounded down.
        energy: the share of Σσ² to keep, in (0, 1], with the fewest singular values; of those that
            the norm and `denoise` leave.
        fixed: the rank itself.
        rank_min: at least this rank, whatever the rule says. `denoise` can leave less.
        denoise_min: so many singular values, the largest, stay whatever "hard" takes for noise.
        rank_max: at most this rank; null for no limit.
        denoise: "none"; "hard" drops the singular values that noise could have made; "shrink"
            also takes the noise's share off the others. It comes before the rank rule.
        standardize: whether columns are brought to one scale for the SVD, and back after.
        weighting: whose errors count: "none", "input", "activation" or "fisher".
        damping: added to the weighting's statistic, as a share of its mean.
    """

    version = 3  # every layer is called with its own masks and positions

    scope: str
    layers: tuple[int, ...] | None
    rank: str
    sparsity: float
    energy: float
    fixed: int
    rank_min: int
    rank_max: int | None
    denoise: str
    denoise_min: int
    standardize: bool
    weighting: str
    damping: float

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be, or two contradict each other.
        """
        super().__post_init__()
        check_choice(self, "rank", tuple(RULES))
        check_fraction(self, "energy", closed=True)
        check_fraction(self, "sparsity")
        check_positive(self, "energy", "sparsity", "fixed", "rank_min", "rank_max")
        check_choice(self, "denoise", tuple(DENOISERS))
        check_choice(self, "weighting", tuple(WEIGHTINGS))
        check_not_negative(self, "damping", "denoise_min")
        self._check_pairs()

    def foresees_shapes(self) -> bool:
        """Not where singular values choose the ranks."""
        return self.rank != "energy" and self.denoise == "none"

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The skeleton with its layers factorized.

        Ranks that depend on weights are taken to be the largest that save any.

        Raises:
            ConfigError: a layer in scope is factorized already, or none would save anything.
        """
        linears = self._linears(skeleton)
        shapes = {name: shape_of(linear) for name, linear in linears.items()}
        ranks = {name: self._rank(shape) for name, shape in shapes.items()}
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
            UserError: no layer would save anything; or a weighting lacks data, and says which.
        """
        # Names and shapes, not layers: each is to be freed as soon as it is replaced.
        shapes = {name: shape_of(part) for name, part in self._linears(work.module).items()}
        ranks: dict[str, int] = {}

        def use(name: str, norm: Norm) -> None:
            ranks[name] = self._factorize_(work, name, norm)

        WEIGHTINGS[self.weighting](work, shapes, ctx, self.damping, use)
        whole = {name: rank for name, rank in ranks.items() if not saves(rank, shapes[name])}
        if len(whole) == len(shapes):
            raise UserError(self._nothing_saved(ranks, shapes))
        work.notes["ranks"] = {n: None if n in whole else rank for n, rank in ranks.items()}
        work.notes["left_whole"] = {name: reason(r, shapes[name]) for name, r in whole.items()}

    @torch.no_grad()
    def _factorize_(self, work: PruningState, name: str, norm: Norm) -> int:
        """Replaces a layer if that saves weights; the rank that it got, or would have got."""
        linear = linear_named(work.module, name)
        weight = weight_matrix(linear)
        if self.standardize:
            norm = standardizing_norm(weight)
        left, singular, right = torch.linalg.svd(norm.applied(weight.double()), full_matrices=False)
        shape = shape_of(linear)
        singular = denoised(singular, min(shape) / max(shape), self.denoise, self.denoise_min)
        rank = self._rank(shape, singular)
        if saves(rank, shape):
            up, down = norm.undone(*balanced(left[:, :rank], singular[:rank], right[:rank]))
            gone = {f"{name}.{leaf}": None for leaf, _ in linear.named_parameters()}
            thin = thin_linear(up.to(weight.dtype), down.to(weight.dtype), linear.bias)
            replace_linear_(work.module, name, linear, thin)
            work.shapes.update(gone)
            work.claim_shapes([name])
        return rank

    def _rank(self, shape: tuple[int, int], singular: Float[Tensor, " n"] | None = None) -> int:
        """The rank of a layer; without singular values, the largest that it can have."""
        limit = min(shape) if singular is None else len(singular)
        rank = max(RULES[self.rank](self, shape, singular), self.rank_min)
        return min(rank, limit, self.rank_max or limit)

    def _linears(self, module: PreTrainedModel) -> dict[str, Linear]:
        """The layers in scope.

        Raises:
            ConfigError: there is none, there are no such blocks, or one is factorized already.
        """
        linears = scoped_linears(module, self.scope)
        if self.layers is not None:
            linears = self._within(find_stack(module), linears, self.layers)
        for name in linears:
            whole = name.rpartition(".")[0]
            if isinstance(module.get_submodule(whole), LowRankLinear):
                raise ConfigError(
                    f"LowRank.scope={self.scope} has {whole}, which is factorized already; "
                    "expected a scope or layers without it"
                )
        return linears

    def _within(
        self, stack: Stack, linears: Mapping[str, Linear], layers: Sequence[int]
    ) -> dict[str, Linear]:
        """Those of the Linear layers that are in these layers of a stack."""
        count = len(stack.blocks)
        if layers[-1] >= count:
            raise ConfigError(
                f"LowRank.layers must be indices from 0 to {count - 1}, got {list(layers)}"
            )
        starts = tuple(f"{stack.name}.{index}." for index in layers)
        found = {name: part for name, part in linears.items() if name.startswith(starts)}
        if not found:
            raise ConfigError(
                f"LowRank.scope={self.scope} names no Linear layer in layers {list(layers)}"
            )
        return found

    def _nothing_saved(self, ranks: dict[str, int], shapes: Mapping[str, tuple[int, int]]) -> str:
        name, shape = next(iter(shapes.items()))
        rank, most = ranks[name], break_even(shape)
        change = f"{'raise' if self.rank == 'sparsity' else 'lower'} pruner.{self.rank}"
        wanted = f"expected at most {most}: {change}, or lower rank_min={self.rank_min}"
        return (
            f"LowRank with rank={self.rank} would leave all {len(shapes)} layers in scope whole; "
            f"{name}: {reason(rank, shape)}; "
            + (wanted if rank else f"set pruner.denoise=none instead of {self.denoise}")
        )

    def _check_pairs(self) -> None:
        if self.layers is not None:
            listed = list(self.layers)
            if not listed or listed != sorted(set(listed)) or listed[0] < 0:
                raise ConfigError(
                    f"LowRank.layers must list blocks in ascending order, got {listed}"
                )
        if self.rank_max is not None and self.rank_max < self.rank_min:
            raise ConfigError(
                f"LowRank.rank_max must be null or at least rank_min={self.rank_min}, "
                f"got {self.rank_max}"
            )
        if self.denoise_min and self.denoise != "hard":
            raise ConfigError(
                "LowRank.denoise_min must be 0 but with denoise=hard, which leaves singular values "
                f"as they are; got denoise_min={self.denoise_min}, denoise={self.denoise}"
            )
        if self.weighting != "none" and self.denoise != "none":
            raise ConfigError(
                "LowRank.denoise must be none with a weighting, for weighted noise does not follow "
                f"the law that it rests on; got denoise={self.denoise}, weighting={self.weighting}"
            )
        if self.weighting != "none" and self.standardize:
            raise ConfigError(
                "LowRank.standardize must be false with a weighting: both say which columns count; "
                f"got weighting={self.weighting}"
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
        made = LowRankLinear(down.shape[1], len(down), len(up), bias is not None)
    made.up.weight, made.down.weight = (nn.Parameter(f.contiguous()) for f in (up, down))
    if bias is not None:
        made.up.bias = nn.Parameter(bias.detach().clone())
    return made


# By name, the rank that a layer's settings, shape and (where known) singular values ask for.
RULES: dict[str, Callable[[LowRank, tuple[int, int], Float[Tensor, " n"] | None], int]] = {
    "sparsity": lambda settings, shape, _: ratio_rank(shape, 1 - settings.sparsity),
    "energy": lambda settings, shape, singular: (
        break_even(shape) if singular is None else energy_rank(singular, settings.energy)
    ),
    "fixed": lambda settings, _, __: settings.fixed,
}
