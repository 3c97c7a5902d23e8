"""Layers: drop whole transformer layers.

Sajjad et al., "On the Effect of Dropping Layers of Pre-trained Transformer Models",
arXiv:2004.03844: of several ways to choose, dropping the top layers works best, followed by
fine-tuning (here `recovery`). Men et al., "ShortGPT: Layers in Large Language Models are More
Redundant Than You Expect", arXiv:2403.03853, section 3: the layers with the least Block Influence
go, BI = 1 - E[cos(x, y)] of a layer's input x and output y, all measured once, in the whole model.
Deviations: BI is measured on the task's calibration rows, without padding, and used for encoders
too; that paper drops layers of decoders without training.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import torch
from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from compress.config.errors import ConfigError, first_line
from compress.config.fields import OneOf, OpenFraction
from compress.interfaces import StageContext
from compress.measure.sparsity import live_patterns, live_zeros
from compress.pruner.components.base import BasePruner, PruningState
from compress.transformer.calibration import calibration_rows
from compress.transformer.dry_run import any_batch, check_layers_drop, weightless
from compress.transformer.rebuilding import check_rebuilds
from compress.transformer.stacks import evenly_spaced, find_stack
from compress.transformer.surgery import keep_blocks_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor, Split


@dataclass(frozen=True, kw_only=True)
class Layers(BasePruner):
    """Drops some of the layers; the embeddings and the head stay.

    Attributes:
        sparsity: fraction of the layers to drop, in (0, 1), to the nearest whole number of them and
            one at least.
        drop: number of layers, or a list of indices in ascending order; null to use `sparsity`.
        by: which layers a number drops: "top" (the last ones), "even" (so that the kept ones are
            evenly spaced from the first to the last), or "importance" (those with the least Block
            Influence; of equal ones the later). Not consulted when `drop` is a list.
    """

    sparsity: OpenFraction
    drop: int | tuple[int, ...] | None
    by: Annotated[str, OneOf(CHOICES)]

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.drop is None:
            return
        if isinstance(self.drop, int):
            if self.drop < 1:
                raise ConfigError(
                    f"Layers.drop must be at least 1 layer, got {self.drop}; pruner=none drops none"
                )
        elif not self.drop or list(self.drop) != sorted(set(self.drop)) or self.drop[0] < 0:
            raise ConfigError(
                "Layers.drop must list one or more layers in ascending order, each once, from 0 "
                f"on, got {list(self.drop)}"
            )

    def check(self, skeleton: PreTrainedModel) -> PreTrainedModel:
        """The skeleton without as many layers; for "importance", the top ones stand in.

        Raises:
            ConfigError: the model does not have these layers, or not exactly one stack, or no
                layer would remain.
        """
        depth = find_stack(skeleton).depth
        kept = self._kept([0.0] * depth)
        check_layers_drop(skeleton, kept, "pruner.sparsity" if self.drop is None else "pruner.drop")
        if self.by == "importance" and not isinstance(self.drop, tuple):
            self._check_importance(skeleton, range(depth - len(kept), depth))
        keep_blocks_(skeleton, kept)
        return skeleton

    def _check_importance(self, skeleton: PreTrainedModel, last: Sequence[int]) -> None:
        """Checks that influences can be measured and that any layers can be dropped."""
        check_layers_drop(skeleton, last, "pruner.by=importance")
        dry, smaller = weightless(skeleton), copy.deepcopy(skeleton)
        try:
            _influences(dry, [any_batch(dry)])
        except Exception as error:  # whatever a model's own code raises
            raise ConfigError(
                f"pruner.by=importance cannot watch the layers of {type(skeleton).__name__}: "
                f"{first_line(error)}; take by=top or by=even"
            ) from error
        keep_blocks_(smaller, last)
        check_rebuilds(smaller, "pruner.by=importance")

    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Drops the layers; expected zeros and patterns of the others follow to their new names."""
        stack = find_stack(work.module)
        influences = [0.0] * stack.depth
        if self.by == "importance" and not isinstance(self.drop, tuple):
            influences = block_influences(work.module, work.tokenizer, ctx.data.calibration)
            work.notes["block_influences"] = influences
        kept = self._kept(influences)
        before = [name for name, _ in work.module.named_parameters()]
        keep_blocks_(work.module, kept)
        work.notes["kept_layers"] = list(kept)
        blocks = find_stack(work.module).blocks
        work.expect_shapes([f"{stack.name}.{index}" for index in range(len(blocks))])
        present = {name for name, _ in work.module.named_parameters()}
        work.shapes.update({name: None for name in before if name not in present})
        zeros, patterns = live_zeros(work.history), live_patterns(work.history)
        for new, old in enumerate((0,) if stack.shared else kept):
            for name in (*zeros, *patterns):
                if name.startswith(f"{stack.name}.{old}."):
                    moved = f"{stack.name}.{new}."
                    renamed = name.replace(f"{stack.name}.{old}.", moved, 1)
                    work.zeros.update({renamed: zeros[name]} if name in zeros else {})
                    work.patterns.update({renamed: patterns[name]} if name in patterns else {})

    def _kept(self, influences: Sequence[float]) -> tuple[int, ...]:
        """The layers that stay, given the influence of every one."""
        depth = len(influences)
        drop = self.drop
        if drop is None:
            asked = f"sparsity={self.sparsity:g}"
            count = max(1, math.floor(self.sparsity * depth + 0.5))
        elif isinstance(drop, int):
            asked, count = f"drop={drop}", drop
        else:
            asked, count = f"drop={list(drop)}", len(drop)
        if count >= depth or (isinstance(drop, tuple) and drop[-1] >= depth):
            raise ConfigError(
                f"Layers.{asked}: the model has {depth} layers, 0 to {depth - 1}, and one at "
                "least must stay"
            )
        if isinstance(drop, tuple):
            return tuple(index for index in range(depth) if index not in drop)
        return CHOICES[self.by](depth - count, influences)


def token_influence(
    before: Float[Tensor, "... width"], after: Float[Tensor, "... width"]
) -> Float[Tensor, ...]:
    """1 - cos of each token's hidden state before and after a layer (ShortGPT, equation 1)."""
    return 1 - nn.functional.cosine_similarity(before.float(), after.float(), dim=-1)


def block_influences(module: PreTrainedModel, tokenizer: Processor, rows: Split) -> list[float]:
    """Each layer's Block Influence: the mean of `token_influence` over all tokens of all rows.

    A layer that is shared by all has one for each of its executions.
    """
    return _influences(module, calibration_rows(module, tokenizer, rows))


@torch.no_grad()
def _influences(module: PreTrainedModel, batches: Iterable[dict[str, Tensor]]) -> list[float]:
    stack = find_stack(module)
    totals, tokens = [0.0] * stack.depth, [0] * stack.depth
    runs = 0

    def add(_: nn.Module, positional: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        nonlocal runs
        before = positional[0] if positional else named["hidden_states"]
        influence = token_influence(
            before, output[0] if isinstance(output, (tuple, list)) else output
        )
        totals[runs % stack.depth] += float(influence.sum())
        tokens[runs % stack.depth] += influence.numel()
        runs += 1

    with ExitStack() as hooks:
        for block in stack.blocks:
            hooks.enter_context(block.register_forward_hook(add, with_kwargs=True))
        for batch in batches:
            module(**batch)
    return [total / count for total, count in zip(totals, tokens, strict=True)]


def _importance(count: int, influences: Sequence[float]) -> tuple[int, ...]:
    ranked = sorted(range(len(influences)), key=lambda index: (-influences[index], index))
    return tuple(sorted(ranked[:count]))


# Number of kept layers, and the influence of each layer → the kept layers.
CHOICES: dict[str, Callable[[int, Sequence[float]], tuple[int, ...]]] = {
    "top": lambda count, influences: tuple(range(count)),
    "even": lambda count, influences: evenly_spaced(count, len(influences)),
    "importance": _importance,
}
