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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from compress.blocks import find_blocks
from compress.calibrate import calibration_rows
from compress.interfaces import StageContext
from compress.measure.sparsity import live_patterns, live_zeros
from compress.pruner.reducer import Reducer, Workpiece
from compress.settings import ConfigError, check_choice
from compress.student.layers import evenly_spaced
from compress.surgery import keep_blocks_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor, Split


@dataclass(frozen=True, kw_only=True)
class Layers(Reducer):
    """Drops some of the layers; the embeddings and the head stay.

    Attributes:
        drop: how many layers; or which, as a list of indices in ascending order.
        by: which layers a number drops: "top" (the last ones), "even" (so that the kept ones are
            evenly spaced from the first to the last), or "importance" (those with the least Block
            Influence; of equal ones the later). Not consulted when `drop` is a list.
    """

    drop: int | tuple[int, ...]
    by: str

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be.
        """
        super().__post_init__()
        check_choice(self, "by", tuple(CHOICES))
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
            ConfigError: the model has not got these layers, or none would be left.
        """
        keep_blocks_(skeleton, self._kept([0.0] * skeleton.config.num_hidden_layers))
        return skeleton

    def reduce_(self, work: Workpiece, ctx: StageContext) -> None:
        """Drops the layers, and lets the claims on the others follow them to their new names."""
        influences = [0.0] * work.module.config.num_hidden_layers
        if self.by == "importance" and isinstance(self.drop, int):
            influences = block_influences(work.module, work.tokenizer, ctx.data.calibration)
            work.notes["block_influences"] = influences
        kept = self._kept(influences)
        before = [name for name, _ in work.module.named_parameters()]
        prefix, _ = find_blocks(work.module)
        keep_blocks_(work.module, kept)
        work.notes["kept_layers"] = list(kept)
        work.claim_shapes([f"{prefix}.{index}" for index in range(len(kept))])
        present = {name for name, _ in work.module.named_parameters()}
        work.shapes.update({name: None for name in before if name not in present})
        zeros, patterns = live_zeros(work.history), live_patterns(work.history)
        for new, old in enumerate(kept):
            for name in (*zeros, *patterns):
                if name.startswith(f"{prefix}.{old}."):
                    renamed = name.replace(f"{prefix}.{old}.", f"{prefix}.{new}.", 1)
                    work.zeros.update({renamed: zeros[name]} if name in zeros else {})
                    work.patterns.update({renamed: patterns[name]} if name in patterns else {})

    def _kept(self, influences: Sequence[float]) -> tuple[int, ...]:
        """The layers that stay, given the influence of every one."""
        depth = len(influences)
        count = self.drop if isinstance(self.drop, int) else len(self.drop)
        last = count - 1 if isinstance(self.drop, int) else self.drop[-1]
        if count >= depth or last >= depth:
            asked = self.drop if isinstance(self.drop, int) else list(self.drop)
            raise ConfigError(
                f"Layers.drop={asked}: the model has {depth} layers, 0 to {depth - 1}, and one at "
                "least must stay"
            )
        if isinstance(self.drop, int):
            return CHOICES[self.by](depth - count, influences)
        return tuple(index for index in range(depth) if index not in self.drop)


def token_influence(
    before: Float[Tensor, "... width"], after: Float[Tensor, "... width"]
) -> Float[Tensor, ...]:
    """1 - cos of each token's hidden state before and after a layer (ShortGPT, equation 1)."""
    return 1 - nn.functional.cosine_similarity(before.float(), after.float(), dim=-1)


@torch.no_grad()
def block_influences(module: PreTrainedModel, tokenizer: Processor, rows: Split) -> list[float]:
    """Each layer's Block Influence: the mean of `token_influence` over all tokens of all rows."""
    _, blocks = find_blocks(module)
    totals, tokens = [0.0] * len(blocks), [0] * len(blocks)

    def add(
        index: int, _: nn.Module, positional: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> None:
        before = positional[0] if positional else named["hidden_states"]
        influence = token_influence(before, output[0] if isinstance(output, tuple) else output)
        totals[index] += float(influence.sum())
        tokens[index] += influence.numel()

    handles = [
        block.register_forward_hook(partial(add, index), with_kwargs=True)
        for index, block in enumerate(blocks)
    ]
    try:
        for row in calibration_rows(module, tokenizer, rows):
            module(**row)
    finally:
        for handle in handles:
            handle.remove()
    return [total / count for total, count in zip(totals, tokens, strict=True)]


def _top(count: int, influences: Sequence[float]) -> tuple[int, ...]:
    return tuple(range(count))


def _even(count: int, influences: Sequence[float]) -> tuple[int, ...]:
    return evenly_spaced(count, len(influences))


def _importance(count: int, influences: Sequence[float]) -> tuple[int, ...]:
    ranked = sorted(range(len(influences)), key=lambda index: (-influences[index], index))
    return tuple(sorted(ranked[:count]))


# From how many layers stay, and the influence of each, to which.
CHOICES: dict[str, Callable[[int, Sequence[float]], tuple[int, ...]]] = {
    "top": _top,
    "even": _even,
    "importance": _importance,
}
