"""Base classes of pruners that set weights to zero: a method only defines its score."""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    check_pattern,
    check_pattern_fits,
    keep_highest,
    keep_highest_per_row,
    keep_pattern,
    masks_together,
)
from compress.transformer.blocks import scoped_linears, weight_matrix
from compress.transformer.calibration import calibrate_linears, input_norms

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
        pattern: N:M, such as "2:4": the N best of every M consecutive weights of a row stay. Null
            for none; with one, `sparsity` must be 1 - N/M.
    """

    knobs = ("sparsity", "pattern")

    sparsity: Fraction
    scope: str
    pattern: str | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        check_pattern(self, self.pattern, self.sparsity)

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The unchanged skeleton; raises a ConfigError if scope or pattern do not fit it."""
        check_pattern_fits(self.pattern, scoped_linears(skeleton, self.scope))
        return skeleton

    @final
    def promised_patterns(self, module: PreTrainedModel) -> dict[str, tuple[int, int]]:
        """The pattern for every layer in scope."""
        if self.pattern is None:
            return {}
        pattern = parse_pattern(f"{type(self).__name__}.pattern", self.pattern)
        return {f"{name}.weight": pattern for name in scoped_linears(module, self.scope)}


@dataclass(frozen=True, kw_only=True)
class MaskPruner(SparsePruner, ABC):
    """A method that is one formula: the weights with the lowest scores go.

    Attributes:
        threshold: what the asked fraction is taken of: every "row" of a weight, every "layer", or
            all layers in scope together ("global", with all their scores in memory).
        calibrated: whether `score` reads the norms of a layer's inputs. Layers are then pruned in
            order, each on the outputs of the pruned ones before it: there is no global threshold.
    """

    calibrated: ClassVar[bool] = False
    threshold: Annotated[str, OneOf((ROW, LAYER, GLOBAL))]

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.calibrated and self.threshold == GLOBAL:
            name = type(self).__name__
            raise ConfigError(f"{name}.threshold must be one of {ROW}, {LAYER}; got {GLOBAL}")
        if self.pattern and self.threshold == GLOBAL:
            name = type(self).__name__
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

    @final
    @torch.no_grad()
    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Masks every layer in scope."""
        linears = scoped_linears(work.module, self.scope)

        def mask_(name: str, norm: Float[Tensor, " in"]) -> None:
            score = self.score(weight_matrix(linears[name]), norm)
            work.mask_(name, linears[name], self._kept(score))

        if self.calibrated:
            rows = ctx.data.calibration
            calibrate_linears(work.module, work.tokenizer, rows, linears, input_norms, mask_)
            return
        ones = {name: torch.ones_like(weight_matrix(part)[0]) for name, part in linears.items()}
        if self.threshold == GLOBAL:
            scores = {n: self.score(weight_matrix(part), ones[n]) for n, part in linears.items()}
            for name, mask in masks_together(scores, GLOBAL, self._kept).items():
                work.mask_(name, linears[name], mask)
            return
        for name, norm in ones.items():
            mask_(name, norm)

    def _kept(self, score: Float[Tensor, ...]) -> Bool[Tensor, ...]:
        if self.pattern is not None:
            return keep_pattern(score, *parse_pattern("pattern", self.pattern))
        keep = keep_highest_per_row if self.threshold == ROW else keep_highest
        return keep(score, self.sparsity)
