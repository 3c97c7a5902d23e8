"""Some fifty tiny architectures with real tokenizers, their weights drawn from a seed.

Each is 32 wide with 4 layers and outputs that vary from row to row, so that a part left out or put
in the wrong place shows in its logits. Folders are written by plain transformers.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from tests.vocabularies import CLASSIFIER, SEQUENCE_END, WORDS, Ends, make_tokenizer

IDS = ("input_ids", "attention_mask")
TYPED = ("input_ids", "token_type_ids", "attention_mask")
CLASSES, DIGITS = ("neg", "pos"), tuple("0123456789")
GAIN = 1.3  # of a random matrix: what goes through four layers neither dies nor explodes
SPREAD = 0.2  # of what is not a matrix, around the value that the architecture starts it at


@dataclass(frozen=True)
class Architecture:
    """One row of the matrix.

    Attributes:
        kind: its model type in transformers.
        sizes: of its config.
        pieces: how its tokenizer cuts words: wordpiece, bytes or unigram; empty for images.
        ends: what the tokenizer puts around a text.
        inputs: what the tokenizer makes of a text.
        pads: whether the tokenizer has a token for padding.
        side: on which the tokenizer pads.
        start: the special token that its decoder begins with; empty for none.
    """

    kind: str
    sizes: Mapping[str, Any]
    pieces: str = ""
    ends: Ends = CLASSIFIER
    inputs: tuple[str, ...] = IDS
    pads: bool = True
    side: str = "right"
    start: str = ""

    @property
    def sees(self) -> bool:
        """Whether it reads images."""
        return not self.pieces


ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
}
ONE_TYPE = {**ENCODER, "type_vocab_size": 1}
FACTORED = {**ENCODER, "embedding_size": 16}
WIDE = {**ENCODER, "embedding_size": 32}
DISENTANGLED = {
    **ENCODER,
    "type_vocab_size": 0,
    "relative_attention": True,
    "max_relative_positions": -1,
    "pos_att_type": ["p2c", "c2p"],
    "pooler_hidden_size": 32,
}
DECODER = {**ENCODER, "max_position_embeddings": 256}
GROUPED = {**DECODER, "num_key_value_heads": 2}
SLIDING = {**GROUPED, "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 4, "num_heads": 4}
GPT2 = {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 130}
BART = {
    "d_model": 32,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 130,
}
IMAGES = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}


def causal(kind: str, sizes: Mapping[str, Any], *, pads: bool = True) -> Architecture:
    """A decoder: nothing is put around its texts."""
    return Architecture(kind, sizes, "bytes", Ends(), pads=pads)


ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture("bert", ENCODER, "wordpiece", inputs=TYPED),
    "roberta": Architecture("roberta", ONE_TYPE, "bytes"),
    "xlm_roberta": Architecture("xlm-roberta", ONE_TYPE, "unigram"),
    "camembert": Architecture("camembert", ONE_TYPE, "unigram"),
    "distilbert": Architecture(
        "distilbert",
        {
            "dim": 32,
            "n_layers": 4,
            "n_heads": 4,
            "hidden_dim": 64,
            "max_position_embeddings": 130,
        },
        "wordpiece",
    ),
    "electra": Architecture("electra", FACTORED, "wordpiece", inputs=TYPED),
    "mpnet": Architecture("mpnet", ENCODER, "wordpiece"),
    "albert": Architecture("albert", FACTORED, "unigram", inputs=TYPED),
    "deberta": Architecture("deberta", DISENTANGLED, "bytes"),
    "deberta_v2": Architecture(
        "deberta-v2",
        {
            **DISENTANGLED,
            "position_buckets": 16,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        },
        "unigram",
        inputs=TYPED,
    ),
    "modernbert": Architecture(
        "modernbert", {**DECODER, "local_attention": 8, "global_attn_every_n_layers": 3}, "bytes"
    ),
    "mobilebert": Architecture(
        "mobilebert",
        {**FACTORED, "intra_bottleneck_size": 16},
        "wordpiece",
        inputs=TYPED,
    ),
    "big_bird": Architecture(
        "big_bird", {**ENCODER, "block_size": 8, "num_random_blocks": 1}, "unigram"
    ),
    "longformer": Architecture("longformer", {**ONE_TYPE, "attention_window": [8] * 4}, "bytes"),
    "convbert": Architecture(
        "convbert", {**WIDE, "conv_kernel_size": 3}, "wordpiece", inputs=TYPED
    ),
    "squeezebert": Architecture("squeezebert", WIDE, "wordpiece", inputs=TYPED),
    "roformer": Architecture("roformer", WIDE, "wordpiece", inputs=TYPED),
    "xlnet": Architecture(
        "xlnet",
        {"d_model": 32, "n_layer": 4, "n_head": 4, "d_inner": 64},
        "unigram",
        Ends(last=("sep", "cls")),
        side="left",
    ),
    "funnel": Architecture(
        "funnel",
        {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [2, 2]},
        "wordpiece",
        inputs=TYPED,
    ),
    "fnet": Architecture(
        "fnet",
        {key: value for key, value in ENCODER.items() if key != "num_attention_heads"},
        "unigram",
        inputs=("input_ids", "token_type_ids"),
    ),
    "nystromformer": Architecture(
        "nystromformer", {**ENCODER, "num_landmarks": 64, "segment_means_seq_len": 64}, "bytes"
    ),
    "t5": Architecture("t5", T5, "unigram", SEQUENCE_END, start="pad"),
    "t5_uneven": Architecture(
        "t5", {**T5, "num_decoder_layers": 2}, "unigram", SEQUENCE_END, start="pad"
    ),
    "bart": Architecture("bart", BART, "bytes", start="sep"),
    "bart_uneven": Architecture("bart", {**BART, "decoder_layers": 2}, "bytes", start="sep"),
    "gpt2": causal("gpt2", GPT2),
    "gpt2_unpadded": causal("gpt2", GPT2, pads=False),
    "gpt_neox": causal("gpt_neox", DECODER),
    "opt": causal(
        "opt",
        {
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "max_position_embeddings": 130,
            "word_embed_proj_dim": 32,
        },
    ),
    "llama": causal("llama", GROUPED),
    "llama_unpadded": causal("llama", GROUPED, pads=False),
    "mistral": causal("mistral", {**GROUPED, "sliding_window": 8}),
    "qwen2": causal(
        "qwen2",
        {**GROUPED, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    ),
    "qwen3": causal("qwen3", {**GROUPED, "head_dim": 16}),
    "gemma2": causal("gemma2", SLIDING),
    "gemma3": causal("gemma3_text", SLIDING),
    "phi": causal("phi", DECODER),
    "phi3": causal("phi3", GROUPED),
    "mixtral": causal("mixtral", {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "bloom": causal("bloom", {"hidden_size": 32, "n_layer": 4, "n_head": 4}),
    "falcon": causal(
        "falcon", {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
    ),
    "vit": Architecture("vit", IMAGES),
    "deit": Architecture("deit", IMAGES),
    "beit": Architecture("beit", IMAGES),
    "dinov2": Architecture("dinov2", {**IMAGES, "mlp_ratio": 2}),
    "swin": Architecture(
        "swin",
        {
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 4],
            "window_size": 4,
        },
    ),
    "swin4": Architecture(
        "swin",
        {
            "image_size": 32,
            "patch_size": 1,
            "embed_dim": 8,
            "depths": [2, 2, 6, 2],
            "num_heads": [1, 2, 2, 4],
            "window_size": 4,
        },
    ),
    "convnext": Architecture(
        "convnext", {"hidden_sizes": [16, 32], "depths": [2, 2], "num_stages": 2, "patch_size": 2}
    ),
    "resnet": Architecture(
        "resnet",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"},
    ),
    "segformer": Architecture(
        "segformer",
        {
            "num_encoder_blocks": 2,
            "depths": [2, 2],
            "sr_ratios": [2, 1],
            "hidden_sizes": [16, 32],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "decoder_hidden_size": 16,
        },
    ),
}


def build(name: str, folder: Path, seed: int = 0, **changed: Any) -> Path:
    """Writes a model, and its tokenizer or image processor, as plain transformers does.

    Args:
        name: one of `ARCHITECTURES`.
        folder: where to.
        seed: of the weights.
        changed: settings of the config that differ.
    """
    spec = ARCHITECTURES[name]
    classes = DIGITS if spec.sees else CLASSES
    numbers = {label: number for number, label in enumerate(classes)}
    names = {"id2label": dict(enumerate(classes)), "label2id": numbers}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.sees:
            config = transformers.AutoConfig.for_model(spec.kind, **names, **spec.sizes, **changed)
            module = transformers.AutoModelForImageClassification.from_config(config)
            processor: Any = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
        else:
            processor = make_tokenizer(
                spec.pieces, spec.ends, inputs=spec.inputs, pads=spec.pads, side=spec.side
            )
            config = transformers.AutoConfig.for_model(
                spec.kind, **names, **_tokens(processor, spec.start), **{**spec.sizes, **changed}
            )
            module = transformers.AutoModelForSequenceClassification.from_config(config)
    lively_(module.float().eval(), seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@torch.no_grad()
def lively_(module: nn.Module, seed: int) -> nn.Module:
    """Draws weights with which the outputs vary clearly; shared ones stay shared."""
    generator = torch.Generator().manual_seed(seed)
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    for parameter in module.parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        if id(parameter) in tables:
            parameter.copy_(0.6 * drawn)
        elif parameter.dim() >= 2:
            fan = parameter[0].numel() if parameter.dim() == 4 else parameter.shape[-1]
            parameter.copy_(drawn * GAIN / math.sqrt(fan))
        else:
            parameter.add_(SPREAD * drawn)
    for name, buffer in module.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.add_(SPREAD * torch.rand(buffer.shape, generator=generator))
    return module


def sentences(count: int, seed: int) -> Iterator[str]:
    """So many different texts of 2 to 14 words."""
    drawn = random.Random(seed)
    for number in range(count):
        words = [drawn.choice(WORDS) for _ in range(drawn.randint(2, 14))]
        yield " ".join([*words, f"{seed}{number}"])


def write_tables(folder: Path, counts: Mapping[str, int]) -> dict[str, Path]:
    """Writes `<role>.csv` with so many rows of both classes for every role.

    Returns:
        The file of each role.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {role: folder / f"{role}.csv" for role in counts}
    for seed, (role, count) in enumerate(counts.items(), start=1):
        rows = [(text, CLASSES[i % 2]) for i, text in enumerate(sentences(count, seed))]
        _write(paths[role], rows)
    return paths


def _write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)


def _tokens(tokenizer: Any, start: str) -> dict[str, Any]:
    """What a config says of its tokenizer."""
    named = ("pad_token_id", "bos_token_id", "eos_token_id")
    ids = {name: getattr(tokenizer, name) for name in named}
    if start:
        ids["decoder_start_token_id"] = getattr(tokenizer, f"{start}_token_id")
    return {**ids, "vocab_size": len(tokenizer)}
