"""A student of the teacher's architecture in other sizes, with random weights.

TinyBERT (Jiao et al., arXiv:1909.10351) is such a student of BERT: 4 layers of width 312.
Deviation: there the random weights first learn from the teacher on a general corpus; here on
nothing but the task's rows.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.config.fields import PositiveInt
from compress.interfaces import StageContext
from compress.student.components.base import BaseStudent
from compress.transformer.blocks import Block, known_blocks
from compress.transformer.surgery import set_depth_

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from compress.interfaces import Processor


@dataclass(frozen=True, kw_only=True)
class ScratchStudent(BaseStudent):
    """The teacher's architecture, vocabulary and classes, smaller.

    Attributes:
        layers: transformer layers.
        hidden: width of the residual stream.
        heads: attention heads; must divide `hidden`. As many share a key as in the teacher.
        neurons: width of the feed-forward; null for the teacher's ratio to `hidden`.
    """

    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt
    neurons: PositiveInt | None

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.hidden % self.heads:
            raise ConfigError(
                f"ScratchStudent.heads must divide hidden={self.hidden}, got {self.heads}"
            )
        if self.distillation.epochs == 0:
            raise ConfigError(
                "ScratchStudent.distillation.epochs must be > 0, got 0: its weights are random"
            )

    def skeleton(self, teacher: PreTrainedModel) -> PreTrainedModel:
        """The teacher's class in these sizes.

        Raises:
            ConfigError: the architecture cannot have them.
        """
        config = self._config(teacher)
        with torch.device("meta"):
            student = type(teacher)(config)
        for block in known_blocks(student):
            built = (block.width, block.heads, block.neurons)
            asked = (self.hidden, self.heads, self._neurons(known_blocks(teacher)[0]))
            if built != asked:
                raise ConfigError(
                    f"{type(teacher).__name__} cannot be built with hidden, heads and neurons of "
                    f"{asked}: its config makes {built}"
                )
        return student

    def start(self, ctx: StageContext) -> tuple[PreTrainedModel, Processor, dict[str, Any]]:
        """Random weights, drawn from the run's seed as the architecture draws them."""
        config = self._config(ctx.teacher.module)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(ctx.seed)
            module = type(ctx.teacher.module)(config)
        return module.eval(), ctx.teacher.tokenizer, {}

    def _config(self, teacher: PreTrainedModel) -> PretrainedConfig:
        """The teacher's config with every size that follows from ours."""
        block, config = known_blocks(teacher)[0], copy.deepcopy(teacher.config)
        sizes: dict[str, Any] = {
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            block.layout.neurons: self._neurons(block),
        }
        # Decoders say these apart; other configs have no such names.
        if getattr(config, "num_key_value_heads", None) is not None:
            sizes["num_key_value_heads"] = self._key_value_heads(block)
        if getattr(config, "head_dim", None) is not None:
            sizes["head_dim"] = self._rotary_head_size()
        if getattr(config, "layer_types", None) is not None:
            sizes["layer_types"] = self._layer_types(config.layer_types)
        for name, value in sizes.items():
            setattr(config, name, value)
        set_depth_(config, self.layers)
        return config

    def _neurons(self, block: Block) -> int:
        return self.neurons or round(self.hidden * block.neurons / block.width)

    def _key_value_heads(self, block: Block) -> int:
        shared = block.heads // block.key_value_heads
        if self.heads % shared:
            raise ConfigError(
                f"ScratchStudent.heads must be a multiple of {shared}, the teacher's queries per "
                f"key, got {self.heads}"
            )
        return self.heads // shared

    def _rotary_head_size(self) -> int:
        size = self.hidden // self.heads
        if size % 2:
            raise ConfigError(
                f"ScratchStudent.hidden / heads must be even for rotary positions, got {size}"
            )
        return size

    def _layer_types(self, theirs: list[str]) -> list[str]:
        if len(set(theirs)) > 1:
            raise ConfigError(
                f"student=scratch needs a teacher whose layers are all alike, got {theirs}"
            )
        return theirs[:1] * self.layers
