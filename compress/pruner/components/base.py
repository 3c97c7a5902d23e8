"""What all pruners share: a private copy to work on, history, peak memory, recovery."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from jaxtyping import Bool
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from compress.interfaces import CompressedModel, Pruner, StageContext, Step
from compress.measure.memory import LiveTensors
from compress.measure.sparsity import broken_groups, live_patterns, live_zeros
from compress.records.curve import curve_notes
from compress.training.distillation import Distillation, distill_
from compress.training.masks import held_masks
from compress.transformer.blocks import weight_matrix
from compress.transformer.coverage import coverage
from compress.transformer.stored_modules import named_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor
    from compress.transformer.blocks import Linear

PEAK_MEMORY = "peak_memory_bytes"


@dataclasses.dataclass
class PruningState:
    """A private copy of a model, to be changed in place, and what is expected of it.

    Attributes:
        module: the copy, on the run's device.
        tokenizer: may be replaced by another; never changed in place.
        history: of the model so far.
        zeros: expected, by weight name: see `Step.expected_zeros`.
        shapes: expected, by weight name: see `Step.expected_shapes`.
        patterns: expected, by weight name: see `Step.expected_patterns`.
        notes: facts for the record.
    """

    module: PreTrainedModel
    tokenizer: Processor
    history: tuple[Step, ...]
    zeros: dict[str, int] = dataclasses.field(default_factory=dict)
    shapes: dict[str, tuple[int, ...] | None] = dataclasses.field(default_factory=dict)
    patterns: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @torch.no_grad()
    def mask_(self, name: str, linear: Linear, mask: Bool[Tensor, "out in"]) -> None:
        """Zeroes the weights of a Linear where the mask is False; records the zeros in the history.

        Args:
            name: of the Linear in the model.
            linear: the Linear.
            mask: True where a weight stays.
        """
        weight_matrix(linear).mul_(mask)
        self.zeros[f"{name}.weight"] = int((~mask).sum())

    def expect_shapes(self, names: Sequence[str]) -> None:
        """Claims that these modules' weights keep the shapes that they have now."""
        for name in names:
            for leaf, parameter in self.module.get_submodule(name).named_parameters():
                self.shapes[f"{name}.{leaf}"] = tuple(parameter.shape)


@dataclass(frozen=True, kw_only=True)
class BasePruner(Pruner, ABC):
    """A pruner: takes weights away, then trains what is left.

    Attributes:
        trains: whether it prunes while it trains. Its peak memory is then that of training, and is
            not counted: counting every operator of every step would take longer than the steps.
        recovery: training after pruning, with masks and shapes held; `epochs=0` for none.
    """

    trains: ClassVar[bool] = False
    recovery: Distillation

    @abstractmethod
    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Takes weights away from `work.module`, in place, and says in `work` what was done."""

    def promised_patterns(self, module: PreTrainedModel) -> dict[str, tuple[int, int]]:
        """N and M by weight name, of all weights that the settings want in an N:M pattern."""
        return {}

    @final
    def parts(self) -> list[tuple[str, Pruner]]:
        """Itself without recovery, then itself."""
        if self.recovery.epochs == 0:
            return [("pruner", self)]
        bare = dataclasses.replace(self, recovery=dataclasses.replace(self.recovery, epochs=0.0))
        return [("pruner", bare), ("pruner: recovery", self)]

    @final
    def prune(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The pruned model; its history has a step for the pruning and one for the recovery.

        The first one has the peak memory of everything but the training, and which share of the
        parameters was covered by what is expected.
        """
        with nullcontext() if self.trains else LiveTensors() as live:
            module = copy.deepcopy(
                model.module, {} if self.trains else _embeddings_of(model.module)
            ).to(ctx.device.torch_device)
            work = PruningState(module, model.tokenizer, model.history)
            sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
            self.prune_(work, ctx)
            _own_(module, model.module)
        work.notes |= coverage(sizes, {*work.zeros, *work.shapes})
        work.patterns |= self.promised_patterns(work.module)
        if live is not None:
            work.notes[PEAK_MEMORY] = live.peak
        _expect_again(work)
        step = Step("pruner", self.describe(), work.zeros, work.shapes, work.patterns, work.notes)
        pruned = dataclasses.replace(
            model.then(work.module.to("cpu"), step), tokenizer=work.tokenizer
        )
        if self.recovery.epochs == 0:
            return pruned
        curve = distill_(pruned.module, pruned.tokenizer, self.recovery, ctx, held_masks(pruned))
        recovered = Step("pruner", self.recovery.describe(), notes=curve_notes(curve))
        return pruned.then(pruned.module, recovered)


def _embeddings_of(module: PreTrainedModel) -> dict[int, Any]:
    """What stands for each embedding in a copy that does not have its own yet, by its identity.

    Embeddings are half a small model, and a pruner that cuts them makes new ones: a copy of the
    old ones would only take memory.
    """
    tables = (part.weight for part in module.modules() if isinstance(part, nn.Embedding))
    return {id(table): nn.Parameter(table.detach(), table.requires_grad) for table in tables}


def _own_(module: PreTrainedModel, original: PreTrainedModel) -> None:
    """Gives a copy its own of the embeddings that it still has in common with the original."""
    theirs = {parameter.data_ptr() for parameter in original.parameters()}
    for parameter in module.parameters():
        if parameter.data_ptr() in theirs:
            parameter.data = parameter.detach().clone()


def _expect_again(work: PruningState) -> None:
    """Counts again the zeros and shapes of weights that this stage pruned, resized or moved."""
    present = {name: weight.detach() for name, weight in named_weights(work.module)}
    zeros, patterns = live_zeros(work.history), live_patterns(work.history)
    for name in {**zeros, **patterns} if work.shapes else ():
        if name not in present:
            work.shapes[name] = None
        elif name in zeros and name not in work.zeros:
            work.zeros[name] = present[name].numel() - int(present[name].count_nonzero())
    changed = {*work.zeros, *work.shapes}
    for name in patterns:
        anew = name in changed and name in present and name not in work.patterns
        # What was cut or masked anew may still be in the pattern, such as with whole groups out.
        if anew and broken_groups(present[name], *patterns[name]) == 0:
            work.patterns[name] = patterns[name]
    if patterns or work.patterns:
        kept = {*(name for name in patterns if name not in changed), *work.patterns}
        work.notes["weights_in_pattern"] = len(kept)
