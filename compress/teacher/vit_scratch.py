"""A vision transformer of any size, with random weights, trained on the task.

Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929. It needs no hub; trained on
few images it stays far below a pretrained one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import torch
import transformers
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import PositiveInt
from compress.core.monitor import UNWATCHED, Monitor
from compress.core.problem import a_head
from compress.interfaces import CompressedModel, Device, Head, Step, Teacher, TrainingData
from compress.teacher.components.finetune import finetuned
from compress.training.train import Training
from compress.transformer.building import new_module

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@final
@dataclass(frozen=True, kw_only=True)
class ScratchVitTeacher(Teacher):
    """A ViT without dropout; its feed-forward is four times as wide as the residual stream.

    Attributes:
        image_size: height and width that images are resized to, in pixels.
        patch_size: height and width of a patch, in pixels; must divide those of the image.
        layers: transformer layers.
        hidden: width of the residual stream.
        heads: attention heads; must divide the width.
        training: on the task; `epochs=0` leaves the weights random.
    """

    image_size: PositiveInt
    patch_size: PositiveInt
    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt
    training: Training

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        for part, whole in (("patch_size", "image_size"), ("heads", "hidden")):
            if getattr(self, whole) % getattr(self, part):
                raise ConfigError(
                    f"ScratchVitTeacher.{part} must divide {whole}={getattr(self, whole)}, got "
                    f"{getattr(self, part)}"
                )

    def check(self) -> None:
        """Nothing can be missing."""

    def skeleton(self, head: Head) -> PreTrainedModel:
        """The modules on the meta device.

        Raises:
            ConfigError: the task is not a classification.
        """
        if head != "classifier":
            raise ConfigError(
                f"teacher=vit_scratch classifies images, the task needs {a_head(head)}"
            )
        with torch.device("meta"):
            return self._module({})

    def untrained(self, data: TrainingData) -> CompressedModel:
        """Random weights, and a processor that resizes images."""
        module = self._module(data.problem.config()).eval()
        size = {"height": self.image_size, "width": self.image_size}
        processor = transformers.ViTImageProcessorPil(size=size)
        return CompressedModel(module, processor, (Step("teacher", self.describe()),))

    def load(
        self, data: TrainingData, device: Device, seed: int, monitor: Monitor = UNWATCHED
    ) -> CompressedModel:
        """The untrained model, trained on the task's labels."""
        begun, how = self.untrained(data), self.training
        return finetuned(self, begun.module, begun.tokenizer, how, data, device, seed, monitor)

    def _module(self, head: Mapping[str, Any]) -> PreTrainedModel:
        config = transformers.ViTConfig(
            image_size=self.image_size,
            patch_size=self.patch_size,
            num_hidden_layers=self.layers,
            hidden_size=self.hidden,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden,
            **head,
        )
        return new_module(transformers.ViTForImageClassification, config)
