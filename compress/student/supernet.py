"""A sub-net of a super-net: one training for many depths and widths.

Hou et al., "DynaBERT", arXiv:2004.04037; Yin et al., "AutoTinyBERT", arXiv:2107.13686; the training
is that of `components/sandwich.py`, with its papers. The super-net is a student in a shape of its
own, whose most important channels, heads and neurons come first, as in DynaBERT's rewired network;
a sub-net has the first ones of each (`compress/shaping/subshape.py`). Deviations: DynaBERT trains
adaptive widths first and adaptive depths after that, matches embeddings and hidden states too, and
drops layers of its own choice; AutoTinyBERT's super-net is pre-trained on general text.

The super-net is stored by itself, so that runs whose sub-nets differ train it once. The sub-net may
then be trained on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.settings import Settings
from compress.interfaces import CompressedModel, StageContext, Step
from compress.measure.score import predict_all, score
from compress.records.curve import SUPERNET, SUPERNET_CURVE, curve_notes
from compress.records.schema import Score
from compress.shaping.order import sort_by_importance_
from compress.shaping.shape import Shape
from compress.shaping.subshape import (
    Choices,
    SubShape,
    cut_subnet_,
    every_shape,
    kept_layers,
    named_shape,
)
from compress.student.components.augmentation import Augmentation
from compress.student.components.kept_layers import check_kept, shallow, shallow_skeleton
from compress.student.components.sandwich import Sandwich, sandwich_objective
from compress.student.components.shaped import ShapedStudent
from compress.training.train import train_
from compress.transformer.dry_run import check_layers_drop, check_runs
from compress.transformer.rebuilding import check_rebuilds
from compress.transformer.torch_model import TorchModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.interfaces import Processor

CHOICES, SUB = "student.choices", "student.sub"
SCORING_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Supernet(Settings):
    """All settings that a super-net depends on, those of the student of the same names."""

    shape: Shape
    layers: int | tuple[int, ...]
    choices: Choices
    supernet: Sandwich
    augmentation: Augmentation | None


@dataclass(frozen=True, kw_only=True)
class SupernetStudent(ShapedStudent):
    """A sub-net of a super-net, which is trained once for all of its sub-nets.

    Attributes:
        layers: the super-net's layers: a number of the teacher's, evenly spaced from the first to
            the last, or a list of indices in ascending order.
        choices: sizes that sub-nets may have.
        supernet: training of the super-net.
        sub: sizes of this sub-net.
    """

    knobs = ("layers",)

    layers: int | tuple[int, ...]
    choices: Choices
    supernet: Sandwich
    sub: SubShape

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        check_kept("student.layers", self.layers)
        if self.supernet.epochs == 0:
            raise ConfigError(
                f"{self.kind}.supernet.epochs must be > 0, got 0: no sub-net has learned to do "
                "without the parts that it lacks; student=layers takes one shape without training"
            )
        if self.matching.matches_features and self.distillation.epochs == 0:
            raise ConfigError(
                f"{self.kind}.matching.method must be logit where distillation.epochs=0, as the "
                f"super-net learns from logits alone, got {self.matching.method}"
            )

    def whole_skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The teacher's skeleton with fewer layers.

        Raises:
            ConfigError: the teacher has fewer layers, or not exactly one stack.
        """
        return shallow_skeleton("student.layers", self.layers, teacher)

    def largest(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The super-net's skeleton.

        Raises:
            UserError: the super-net cannot be built.
        """
        return super().skeleton(teacher)

    def whole(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """The layers of the super-net; embeddings and head start as the teacher's."""
        module, kept = shallow(ctx.teacher.module, self.layers)
        return module, ctx.teacher.tokenizer, {"teacher_layers": list(kept)}

    def skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The sub-net's skeleton.

        Raises:
            UserError: the super-net cannot be built, or not cut to a shape that is chosen.
        """
        largest = self.largest(teacher)
        sizes = self.choices.sizes(largest, CHOICES)
        shapes, sub = every_shape(sizes), named_shape(self.sub, sizes, SUB)
        for axis, smaller in sizes.items():
            for size in smaller[1:]:
                only = replace(shapes[0], **{axis: size})
                if axis == "depth":
                    check_layers_drop(largest, kept_layers(largest, only), f"{CHOICES}.depths")
                _cut_copy(largest, only, CHOICES)
        for shape, where in ((shapes[-1], CHOICES), (sub, SUB)):
            cut = _cut_copy(largest, shape, where)
            check_runs(cut, where)
            check_rebuilds(cut, where)
        return cut

    def start(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """The sub-net of the trained super-net."""
        net = self.trained(ctx)
        ctx.monitor.resume("student")
        sub = named_shape(self.sub, self.choices.sizes(net.module, CHOICES), SUB)
        notes = dict(net.history[-1].notes)
        layers = notes["teacher_layers"]
        notes["teacher_layers"] = [layers[i] for i in kept_layers(net.module, sub)]
        return _cut_copy(net.module, sub, SUB), net.tokenizer, notes

    def trained(self, ctx: StageContext) -> CompressedModel:
        """The super-net: from the store, or trained now."""
        inputs = {"rows": ctx.data.digest, "teacher": ctx.teacher.digest}
        return ctx.store.model(SUPERNET, self.net_settings(), inputs, lambda: self.train_net(ctx))

    def train_net(self, ctx: StageContext) -> CompressedModel:
        """Trains the super-net; see `trained`, which does so once."""
        module, tokenizer, notes = super().start(ctx)
        module = module.to(ctx.device.torch_device)
        sort_by_importance_(module, tokenizer, ctx, self.shape.importance, self.choices.axes())
        module = module.to("cpu")
        shapes, ctx = every_shape(self.choices.sizes(module, CHOICES)), self.augmented(ctx)
        curve = train_(
            module,
            tokenizer,
            ctx.data,
            self.supernet,
            sandwich_objective(module, shapes, self.supernet, ctx),
            device=ctx.device,
            seed=ctx.seed,
            monitor=ctx.monitor,
        )
        notes |= curve_notes(curve, SUPERNET_CURVE)
        step = Step("student", self.net_settings().describe(), notes=notes)
        return CompressedModel(module, tokenizer, (*ctx.teacher.history, step))

    def net_settings(self) -> Supernet:
        """The settings that the super-net depends on; students with equal ones share it."""
        return Supernet(**{field.name: getattr(self, field.name) for field in fields(Supernet)})

    def evaluate_subnets(
        self, ctx: StageContext, subs: Sequence[SubShape]
    ) -> Iterator[tuple[SubShape, Score]]:
        """Scores sub-nets of the super-net, as they are, on the validation rows.

        Args:
            ctx: of the stage.
            subs: their shapes.

        Returns:
            Each shape with its score, in their order; the first trains the super-net, if need be.

        Raises:
            ConfigError: a shape is none of the choices; at once, before any work.
        """
        largest = self.largest(copy.deepcopy(ctx.teacher.module).to("meta"))
        sizes = self.choices.sizes(largest, CHOICES)
        named = {sub: named_shape(sub, sizes, SUB) for sub in subs}
        return self._evaluated(ctx, named)

    def _evaluated(
        self, ctx: StageContext, named: Mapping[SubShape, SubShape]
    ) -> Iterator[tuple[SubShape, Score]]:
        net = self.trained(ctx)
        rows, problem = ctx.data.validation, ctx.data.problem
        batch_size = rows.fitting_batch(SCORING_BATCH)
        for sub, shape in named.items():
            module = _cut_copy(net.module, shape, SUB)
            model = TorchModel(module, net.tokenizer, ctx.device.torch_device)
            kept = predict_all(model, rows, batch_size, problem.kept)
            yield sub, score(kept, rows, batch_size, problem)


def _cut_copy(largest: PreTrainedModel, shape: SubShape, where: str) -> PreTrainedModel:
    """A sub-net, or its skeleton, with parameters of its own."""
    cut = copy.deepcopy(largest)
    cut_subnet_(cut, shape, where)
    return cut
