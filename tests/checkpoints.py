"""Small checkpoints of many architectures, with tokenizers, as others would save them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

NAMES = ("sad", "glad")  # of the classes of the fixture `data`
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
NUMBERS = tuple(str(number) for number in range(24))
WORDS = ("a", "sad", "dull", "film", "glad", "bright", "with", "good", "end", "number", *NUMBERS)
E = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 64,
}  # fmt: skip
D = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
     "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}  # fmt: skip
# What a config of the architecture has beside numbers of tokens.
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": E,
    "albert": {**E, "embedding_size": 8},
    "bart": {**D, "max_position_embeddings": 64},
    "convbert": {**E, "embedding_size": 16, "conv_kernel_size": 3},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {**E, "embedding_size": 8},
    "fnet": {k: v for k, v in E.items() if k != "num_attention_heads"},
    "funnel": {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [2, 2]},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gpt_neox": E,
    "llama": E,
    "mobilebert": {**E, "embedding_size": 16, "intra_bottleneck_size": 16},
    "modernbert": {**E, "local_attention": 8},
    "mpnet": E,
    "nystromformer": {**E, "num_landmarks": 8, "segment_means_seq_len": 64},
    "roberta": E,
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
}
DECODERS = ("gpt2", "gpt_neox", "llama")


def small_tokenizer(
    *,
    special: Sequence[str] = SPECIAL,
    frame: bool = True,
    types: bool = False,
    pad: str | None = "[PAD]",
    **settings: Any,
) -> PreTrainedTokenizerFast:
    """Words alone.

    Args:
        special: first in the vocabulary.
        frame: whether [CLS] and [SEP] stand around a text.
        types: whether the second text of a pair is of type 1.
        pad: the token for padding.
        settings: more of the tokenizer's.
    """
    vocabulary = {token: number for number, token in enumerate((*special, *WORDS))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"unk_token": "[UNK]", "pad_token": pad}
    if frame:
        second = "$B:1 [SEP]:1" if types else "$B [SEP]"
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair=f"[CLS] $A [SEP] {second}",
            special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
        )
        named |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    given = {"model_input_names": inputs, "eos_token": "[SEP]", **named, **settings}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, **{name: value for name, value in given.items() if value}
    )


def save_checkpoint(
    folder: Path,
    architecture: str = "bert",
    *,
    names: Sequence[str] | None = NAMES,
    tokenizer: PreTrainedTokenizerFast | None = None,
    **config: Any,
) -> PreTrainedModel:
    """Writes a classifier with lively random weights; returns it.

    Args:
        folder: where to.
        architecture: a key of `CONFIGS`.
        names: of its classes; None for those that transformers gives.
        tokenizer: that belongs to it; None for one that fits.
        config: over `CONFIGS`.
    """
    tokenizer = tokenizer or small_tokenizer(frame=architecture not in DECODERS)
    head = {} if names is None else {
        "id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}
    }  # fmt: skip
    numbers = {
        "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.cls_token_id, "decoder_start_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    made = transformers.AutoConfig.for_model(
        architecture,
        **{"vocab_size": len(tokenizer), **CONFIGS[architecture], **numbers, **head, **config},
    )
    transformers.set_seed(0)
    module: PreTrainedModel = transformers.AutoModelForSequenceClassification.from_config(made)
    lively_(module)
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return module.eval()


@torch.no_grad()
def lively_(module: torch.nn.Module) -> None:
    """Gives a model weights with which its outputs vary from row to row."""
    for name, parameter in module.named_parameters():
        if "norm" not in name.lower():
            fan_in = parameter[0].numel() if parameter.dim() > 1 and "embed" not in name else 4
            parameter.normal_(0.0, 1.5 * fan_in**-0.5)


@torch.no_grad()
def logits_alone(
    module: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Sequence[str]]
) -> torch.Tensor:
    """Logits of plain transformers for each row alone, in its own order of classes."""
    batches = (tokenizer(*row, return_tensors="pt") for row in rows)
    return torch.cat([module(**batch).logits for batch in batches])
