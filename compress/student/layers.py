"""A student with some of the teacher's layers, distilled from the teacher.

Sanh et al., "DistilBERT", arXiv:1910.01108, section 3: the student starts from every other layer.
Here any number of layers, evenly spaced or listed. Deviations from the paper: the task's own rows,
without the masked-LM and the cosine loss; hidden states and attention are matched if asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from compress.interfaces import StageContext
from compress.student.components.kept_layers import check_kept, shallow, shallow_skeleton
from compress.student.components.shaped import ShapedStudent

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
        check_kept("student.keep", self.keep)

    def whole_skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The teacher's skeleton with fewer layers.

        Raises:
            ConfigError: the teacher has fewer layers, or not exactly one stack.
        """
        return shallow_skeleton("student.keep", self.keep, teacher)

    def whole(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """The layers that are kept; embeddings and head start as the teacher's."""
        module, kept = shallow(ctx.teacher.module, self.keep)
        return module, ctx.teacher.tokenizer, {"teacher_layers": list(kept)}
