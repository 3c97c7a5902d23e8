"""A student with some of the teacher's layers, distilled from the teacher.

Sanh et al., "DistilBERT", arXiv:1910.01108, section 3: the student starts from every other layer.
Here any number of layers, evenly spaced or listed. Deviations from the paper: the task's own rows,
without the masked-LM and the cosine loss; hidden states and attention are matched if asked.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.interfaces import StageContext
from compress.student.components.shaped import ShapedStudent
from compress.transformer.dry_run import check_layers_drop
from compress.transformer.stacks import evenly_spaced, find_stack
from compress.transformer.surgery import keep_blocks_

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor


@dataclass(frozen=True, kw_only=True)
class LayersStudent(ShapedStudent):
    """Keeps some of the teacher's layers.

    Attributes:
        keep: number of layers, evenly spaced from the first to the last, or a list of indices in
            ascending order.
    """

    knobs = ("keep",)

    keep: int | tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if isinstance(self.keep, int):
            if self.keep < 1:
                raise ConfigError(f"student.keep must be at least 1 layer, got {self.keep}")
        elif not self.keep or list(self.keep) != sorted(set(self.keep)) or self.keep[0] < 0:
            listed = list(self.keep)
            raise ConfigError(f"student.keep must list layers in ascending order, got {listed}")

    def whole_skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The teacher's skeleton with fewer layers.

        Raises:
            ConfigError: the teacher has fewer layers, or not exactly one stack.
        """
        depth = find_stack(teacher).depth
        wanted = self.keep if isinstance(self.keep, int) else self.keep[-1] + 1
        if wanted > depth:
            asked = self.keep if isinstance(self.keep, int) else list(self.keep)
            raise ConfigError(f"student.keep={asked}: the teacher has only {depth} layers")
        kept = self._kept(depth)
        check_layers_drop(teacher, kept, "student.keep")
        student = copy.deepcopy(teacher)
        keep_blocks_(student, kept)
        return student

    def whole(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """The layers that are kept; embeddings and head start as the teacher's."""
        module = copy.deepcopy(ctx.teacher.module)
        kept = self._kept(find_stack(module).depth)
        keep_blocks_(module, kept)
        return module, ctx.teacher.tokenizer, {"teacher_layers": list(kept)}

    def _kept(self, depth: int) -> tuple[int, ...]:
        return evenly_spaced(self.keep, depth) if isinstance(self.keep, int) else self.keep
