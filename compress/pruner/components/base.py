"""Base class of the pruners: working copy, expected zeros and shapes, peak memory, recovery."""

from __future__ import annotations

import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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
    """The copy of a model that a pruner modifies, and what the reloaded model is checked for.

    Attributes:
        module: the copy, on the run's device.
        tokenizer: may be replaced by another; never modified in place.
        history: of the model before this pruner.
        zeros: expected zeros by weight name: see `Step.expected_zeros`.
        shapes: expected shapes by weight name: see `Step.expected_shapes`.
        patterns: expected patterns by weight name: see `Step.expected_patterns`.
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
        """Zeroes the weights of a Linear where the mask is False, and expects these zeros."""
        weight_matrix(linear).mul_(mask)
        self.zeros[f"{name}.weight"] = int((~mask).sum())

    def expect_shapes(self, names: Sequence[str]) -> None:
        """Expects that these modules' weights keep their present shapes."""
        for name in names:
            for leaf, parameter in self.module.get_submodule(name).named_parameters():
                self.shapes[f"{name}.{leaf}"] = tuple(parameter.shape)


@dataclass(frozen=True, kw_only=True)
class BasePruner(Pruner, ABC):
    """A pruner: removes weights, then trains the pruned model.

    Attributes:
        trains: whether it prunes while it trains. Its peak memory is then that of training, and is
            not counted: counting every operator of every step would take longer than the steps.
        recovery: training after pruning, with masks and shapes held; `epochs=0` for none.
    """

    trains: ClassVar[bool] = False
    recovery: Distillation

    @abstractmethod
    def prune_(self, work: PruningState, ctx: StageContext) -> None:
        """Removes weights of `work.module`, in place, and records the changes in `work`."""

    def promised_patterns(self, module: PreTrainedModel) -> dict[str, tuple[int, int]]:
        """N and M by weight name, for all weights with an N:M pattern in the settings."""
        return {}

    @final
    def parts(self) -> list[tuple[str, Pruner]]:
        """The pruner without recovery, then with it."""
        if self.recovery.epochs == 0:
            return [("pruner", self)]
        bare = dataclasses.replace(self, recovery=dataclasses.replace(self.recovery, epochs=0.0))
        return [("pruner", bare), ("pruner: recovery", self)]

    @final
    def prune(self, model: CompressedModel, ctx: StageContext) -> CompressedModel:
        """The pruned model; its history has a step for the pruning and one for the recovery.

        The first one has the peak memory, without training, and the share of the parameters that
        was changed.
        """
        with nullcontext() if self.trains else LiveTensors() as live:
            shared = {} if self.trains else _embeddings_of(model.module)
            module = copy.deepcopy(model.module, shared).to(ctx.device.torch_device)
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
        return recovered(pruned, self.recovery, self.recovery.describe(), ctx)


def recovered(
    model: CompressedModel, recovery: Distillation, settings: Mapping[str, Any], ctx: StageContext
) -> CompressedModel:
    """The model trained in place, with a step of these settings; as it is with `epochs=0`."""
    if recovery.epochs == 0:
        return model
    notes = curve_notes(distill_(model, recovery, ctx))
    return model.then(model.module, Step("pruner", settings, notes=notes))


def _embeddings_of(module: PreTrainedModel) -> dict[int, Any]:
    """Deepcopy memo that shares the memory of the embeddings.

    Embeddings are half of a small model, and a pruner that resizes them creates new ones: a copy of
    the old ones would waste memory.
    """
    tables = (part.weight for part in module.modules() if isinstance(part, nn.Embedding))
    return {id(table): nn.Parameter(table.detach(), table.requires_grad) for table in tables}


def _own_(module: PreTrainedModel, original: PreTrainedModel) -> None:
    """Copies the embeddings that a copy still shares with the original."""
    theirs = {parameter.data_ptr() for parameter in original.parameters()}
    for parameter in module.parameters():
        if parameter.data_ptr() in theirs:
            parameter.data = parameter.detach().clone()


def _expect_again(work: PruningState) -> None:
    """Updates what earlier stages expect of weights that this one pruned, resized or moved."""
    present = {name: weight.detach() for name, weight in named_weights(work.module)}
    zeros, patterns = live_zeros(work.history), live_patterns(work.history)
    for name in {*zeros, *patterns} if work.shapes else ():
        if name not in present:
            work.shapes[name] = None
        elif name in zeros and name not in work.zeros:
            work.zeros[name] = present[name].numel() - int(present[name].count_nonzero())
    changed = {*work.zeros, *work.shapes}
    for name in patterns:
        anew = name in changed and name in present and name not in work.patterns
        # A resized or masked weight may still have the pattern, such as without whole groups.
        if anew and broken_groups(present[name], *patterns[name]) == 0:
            work.patterns[name] = patterns[name]
    if patterns or work.patterns:
        work.notes["weights_in_pattern"] = len({*patterns} - changed | {*work.patterns})
