"""Base classes of pruners that set weights to zero: a method only defines its score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, final

import torch
from jaxtyping import Bool, Float
from pydantic.dataclasses import dataclass
from torch import Tensor

from compress.config.errors import ConfigError
from compress.config.fields import Fraction, OneOf
from compress.config.settings import parse_pattern
from compress.interfaces import StageContext
from compress.pruner.components.base import BasePruner, PruningState
from compress.pruner.components.masks import (
    keep_highest,
    keep_highest_per_row,
    keep_pattern,
    masks_together,
)
from compress.transformer.blocks import scoped_linears, shape_of, weight_matrix
from compress.transformer.calibration import calibrate_linears, input_norms
from compress.transformer.stacks import Linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROW, LAYER, GLOBAL = "row", "layer", "global"


@dataclass(frozen=True, kw_only=True)
class SparsePruner(BasePruner, ABC):
    """A pruner that sets weights of the transformer's Linear layers to zero.

    Attributes:
        sparsity: fraction of the weights in scope set to zero.
        scope: which Linear layers: "all" (of the blocks), "attention", "ffn", or a pattern of
            names such as "*.0.*".
        pattern: N:M, such as "2:4": keeps the N best of every M consecutive weights of a row;
            `sparsity` must be 1 - N/M. Null for none.
    """

    knobs = ("sparsity", "pattern")

    sparsity: Fraction
    scope: str
    pattern: str | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if (groups := self.groups()) is None:
            return
        kept, group = groups
        implied = 1 - kept / group
        if abs(implied - self.sparsity) > 1e-9:
            raise ConfigError(
                f"{type(self).__name__}.pattern={self.pattern} means sparsity {implied:g}, got "
                f"sparsity={self.sparsity:g}; set pruner.sparsity={implied:g}"
            )

    def zeroes(self) -> bool:
        """It does."""
        return True

    def groups(self) -> tuple[int, int] | None:
        """N and M of the pattern."""
        if self.pattern is None:
            return None
        return parse_pattern(f"{type(self).__name__}.pattern", self.pattern)

    def sparsities(
        self, work: PruningState, ctx: StageContext, linears: Mapping[str, Linear]
    ) -> dict[str, float]:
        """Of each Linear in scope, by name; by default `sparsity` for all."""
        return dict.fromkeys(linears, self.sparsity)

    def kept(self, score: Float[Tensor, ...], sparsity: float) -> Bool[Tensor, ...]:
        """True where a weight with such scores stays."""
        groups = self.groups()
        return keep_pattern(score, *groups) if groups else keep_highest(score, sparsity)

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The unchanged skeleton; raises a ConfigError if scope or pattern do not fit it."""
        _, group = self.groups() or (1, 1)
        for name, linear in scoped_linears(skeleton, self.scope).items():
            _, columns = shape_of(linear)
            if columns % group:
                raise ConfigError(
                    f"pruner.pattern={self.pattern}: {name} has rows of {columns} weights, "
                    f"expected a multiple of {group}"
                )
        return skeleton

    @final
    def promised_patterns(self, module: PreTrainedModel) -> dict[str, tuple[int, int]]:
        """The pattern for every layer in scope."""
        if (groups := self.groups()) is None:
            return {}
        return {f"{name}.weight": groups for name in scoped_linears(module, self.scope)}


@dataclass(frozen=True, kw_only=True)
class MaskPruner(SparsePruner, ABC):
    """A method that is one formula: the weights with the lowest scores go.

    Attributes:
        threshold: whether the fraction applies to each "row" of a weight, each "layer", or all
            layers in scope together ("global", with all scores in memory).
        calibrated: whether `score` reads the norms of a layer's inputs. Layers are then pruned in
            order, each on the outputs of the pruned ones before it: there is no global threshold.
    """

    calibrated: ClassVar[bool] = False
    threshold: Annotated[str, OneOf((ROW, LAYER, GLOBAL))]

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        name = type(self).__name__
        if self.threshold == GLOBAL and self.calibrated:
            raise ConfigError(f"{name}.threshold must be one of {ROW}, {LAYER}; got {GLOBAL}")
        if self.threshold == GLOBAL and self.pattern:
            raise ConfigError(f"{name}.pattern requires threshold=layer, got threshold=global")

    @abstractmethod
    def score(
        self, weight: Float[Tensor, "out in"], input_norm: Float[Tensor, " in"]
    ) -> Float[Tensor, "out in"]:
        """The importance of each weight of a Linear.

        Args:
            weight: of the Linear.
            input_norm: ‖X_j‖₂ of each input over the calibration tokens; ones unless `calibrated`.
        """

    def kept(self, score: Float[Tensor, ...], sparsity: float) -> Bool[Tensor, ...]:
        """True where a weight with such scores stays."""
        if self.threshold == ROW and self.pattern is None:
            return keep_highest_per_row(score, sparsity)
        return super().kept(score, sparsity)

    @final
    @torch.no_grad()
    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Masks every layer in scope."""
        linears = scoped_linears(work.module, self.scope)
        sparsities = self.sparsities(work, ctx, linears)

        def score(name: str, norm: Float[Tensor, " in"] | None = None) -> Float[Tensor, "out in"]:
            weight = weight_matrix(linears[name])
            return self.score(weight, torch.ones_like(weight[0]) if norm is None else norm)

        def mask_(name: str, norm: Float[Tensor, " in"] | None = None) -> None:
            kept = self.kept(score(name, norm), sparsities[name])
            work.mask_(name, linears[name], kept)

        if self.calibrated:
            rows = ctx.data.calibration
            calibrate_linears(work.module, work.tokenizer, rows, linears, input_norms, mask_)
        elif self.threshold == GLOBAL:
            keep = partial(self.kept, sparsity=self.sparsity)
            masks = masks_together({name: score(name) for name in linears}, GLOBAL, keep)
            for name, mask in masks.items():
                work.mask_(name, linears[name], mask)
        else:
            for name in linears:
                mask_(name)
