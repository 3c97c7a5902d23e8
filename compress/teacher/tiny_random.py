"""A tiny transformer with random weights: for tests and for trying a config, never for results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
import transformers
from pydantic.dataclasses import dataclass
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from compress.config.errors import ConfigError, UserError
from compress.config.fields import OneOf, PositiveInt
from compress.core.monitor import UNWATCHED, Monitor
from compress.interfaces import CompressedModel, Device, Head, Step, Teacher, TrainingData
from compress.teacher.components.finetune import finetuned
from compress.training.train import Training
from compress.transformer.building import new_module
from compress.transformer.pretrained import auto_class

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
}
DECODERS = ("gpt2", "llama", "opt", "gpt_neox")
ARCHITECTURES = ("bert", "distilbert", "roberta", "electra", "mpnet", *DECODERS)
# Some configs give the feed-forward width a name of their own.
WIDTHS = {"distilbert": "hidden_dim", "gpt2": "n_inner", "opt": "ffn_dim"}
VOCABULARY = 1000
POSITIONS = 512


@dataclass(frozen=True, kw_only=True)
class TinyRandomTeacher(Teacher):
    """A transformer that trains in seconds.

    Attributes:
        architecture: the transformers model type.
        layers: transformer layers.
        hidden: width of the residual stream, half of the feed-forward's.
        heads: attention heads; two of them share a key in a llama.
        finetune: training on the task; `epochs=0` leaves the weights random.
    """

    version: ClassVar[int] = 2

    architecture: Annotated[str, OneOf(ARCHITECTURES)]
    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt
    finetune: Training

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        if self.hidden % self.heads:
            raise ConfigError(
                f"TinyRandomTeacher.heads must divide hidden={self.hidden}, got {self.heads}"
            )
        if self.architecture == "llama" and self.heads % 2:
            raise ConfigError(f"TinyRandomTeacher.heads must be even for llama, got {self.heads}")

    def check(self) -> None:
        """Nothing can be missing."""

    def skeleton(self, head: Head) -> PreTrainedModel:
        """The modules on the meta device.

        Raises:
            ConfigError: the architecture has no such head.
        """
        with torch.device("meta"):
            return self._module(head, {})

    def untrained(self, data: TrainingData) -> CompressedModel:
        """Random weights and a word-piece tokenizer of the train split's texts."""
        module = self._module(data.problem.head, data.problem.config()).eval()
        return CompressedModel(module, _tokenizer(data), (Step("teacher", self.describe()),))

    def load(
        self, data: TrainingData, device: Device, seed: int, monitor: Monitor = UNWATCHED
    ) -> CompressedModel:
        """The untrained model, fine-tuned."""
        begun, how = self.untrained(data), self.finetune
        return finetuned(self, begun.module, begun.tokenizer, how, data, device, seed, monitor)

    def _module(self, head: Head, labels: Mapping[str, Any]) -> PreTrainedModel:
        if head == "language_model" and self.architecture not in DECODERS:
            raise ConfigError(
                f"TinyRandomTeacher.architecture must be one of {', '.join(DECODERS)} for a "
                f"language model, got {self.architecture}"
            )
        sizes: dict[str, Any] = {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": POSITIONS,
            **labels,
            "pad_token_id": 0,
        }
        if self.architecture == "llama":
            sizes["num_key_value_heads"] = self.heads // 2
        if self.architecture == "opt":
            sizes["word_embed_proj_dim"] = self.hidden
        width = WIDTHS.get(self.architecture, "intermediate_size")
        config = transformers.AutoConfig.for_model(
            self.architecture, **sizes, **{width: 2 * self.hidden}
        )
        return new_module(auto_class(config, head).from_config, config)


def _tokenizer(data: TrainingData) -> PreTrainedTokenizerFast:
    """A word-piece tokenizer of the words in the train split."""
    if not data.train.columns:
        raise UserError("teacher=tiny_random reads texts; this task has none")
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in chain(*data.train.columns):
        pieces = splitter.pre_tokenize_str(normalizer.normalize_str(text))
        counts.update(word for word, _ in pieces)
    vocabulary = _vocabulary(counts)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
        **SPECIAL_TOKENS,
    )


def _vocabulary(counts: Counter[str]) -> dict[str, int]:
    """Special tokens, every character alone and inside a word, then the most frequent words.

    The tokenizers library could train one, but breaks ties by hash order: another vocabulary in
    every process.
    """
    characters = sorted({character for word in counts for character in word})
    words = sorted(counts, key=lambda word: (-counts[word], word))
    pieces = [*SPECIAL_TOKENS.values(), *characters, *(f"##{c}" for c in characters), *words]
    unique = list(dict.fromkeys(pieces))[:VOCABULARY]
    return {piece: index for index, piece in enumerate(unique)}
