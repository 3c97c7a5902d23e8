"""Training of a super-net: many sub-nets of shared weights learn in one training.

In each step the largest sub-net, which is the super-net, the smallest, and some others drawn at
random learn from the same rows: the sandwich rule of Yu & Huang, "Universally Slimmable Networks",
arXiv:1903.05134, section 4.1, and Yu et al., "BigNAS", arXiv:2003.11142, section 3. Their gradients
add up to one step of the optimizer. Deviations: the mean of the losses instead of their sum, so
that one sub-net alone would be trained as an ordinary student; and the others are drawn from all
shapes without repetition, where the papers draw each size by itself.

What the sub-nets learn from: the largest's logits, detached, in place (both papers, which have no
teacher), or the teacher's own. BERT's super-nets learn from a fixed teacher: all of AutoTinyBERT's
(Yin et al., arXiv:2107.13686, section 3.2), and DynaBERT's (Hou et al., arXiv:2004.04037, section
2), of adaptive width from the fine-tuned model and of adaptive depth from a finished super-net.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from compress.config.fields import NotNegativeInt
from compress.core.problem import model_inputs
from compress.interfaces import StageContext
from compress.shaping.subnets import Subnets
from compress.shaping.subshape import SubShape
from compress.training.distillation import (
    Distillation,
    Targets,
    distillation_row_loss,
    teacher_outputs,
)
from compress.training.teachers import training_precision
from compress.training.train import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Sandwich(Distillation):
    """The training of a super-net.

    Attributes:
        sampled: sub-nets drawn at random in each step, beside the largest and the smallest.
        targets: whose logits the smaller sub-nets learn from: "teacher", or "largest" for those of
            the super-net in the same step. The super-net itself learns from the teacher.
    """

    sampled: NotNegativeInt
    targets: Literal["teacher", "largest"]


def drawn(shapes: Sequence[SubShape], count: int, seed: int, step: int) -> tuple[SubShape, ...]:
    """The sub-nets that learn in a step beside the largest.

    Args:
        shapes: all of them, the largest first and the smallest last.
        count: how many to draw between these two; all, if there are fewer.
        seed: of the run.
        step: of the optimizer, from 0.

    Returns:
        The smallest, and the drawn ones.
    """
    between = shapes[1:-1]
    generator = np.random.default_rng([seed, step])
    chosen = generator.choice(len(between), min(count, len(between)), replace=False)
    return (shapes[-1], *(between[number] for number in chosen))


def sandwich_objective(
    module: PreTrainedModel, shapes: Sequence[SubShape], settings: Sandwich, ctx: StageContext
) -> Objective:
    """The mean loss of the sub-nets that learn in a step.

    Args:
        module: the super-net, which no trainer has changed yet.
        shapes: of all sub-nets, the largest first and the smallest last.
        settings: of the training.
        ctx: with the rows to learn from, and the teacher.
    """
    subnets = Subnets(module)
    teacher = _once(teacher_outputs(ctx, settings.teachers or ())) if settings.alpha else None
    from_teacher = distillation_row_loss(settings, ctx, teacher)
    step = 0

    def begin(number: int, _: int) -> None:
        nonlocal step
        step = number

    def loss(model: nn.Module, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
        read = model_inputs(inputs)
        largest = model(**read).logits.float()
        smaller = from_teacher
        if settings.targets == "largest":
            smaller = distillation_row_loss(
                settings, ctx, _always(ctx.data.problem.outputs(largest.detach(), inputs))
            )
        losses = [from_teacher(largest, inputs, rows)]
        for shape in drawn(shapes, settings.sampled, ctx.seed, step):
            with training_precision(ctx.device):
                logits = subnets.run(shape, read).logits
            losses.append(smaller(logits.float(), inputs, rows))
        return sum(losses[1:], losses[0]) / len(losses)

    return Objective(loss, before_step=begin, scored=False)


def _once(targets: Targets) -> Targets:
    """Asks once for each batch: rows that are augmented are others whenever they are read."""
    asked: Tensor | None = None
    known: Tensor

    def remembered(inputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        nonlocal asked, known
        if rows is not asked:
            asked, known = rows, targets(inputs, rows)
        return known

    return remembered


def _always(logits: Tensor) -> Targets:
    return lambda _, __: logits
