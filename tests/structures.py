"""Tiny random models whose layers are built in unlike ways, and rows of tokens for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers
from datasets import Dataset
from torch import Tensor

from compress.core.data import Split
from compress.interfaces import CompressedModel, StageContext, Step, TrainingData
from compress.problem.classification import Classification
from tests.configs import settings_of

ENCODER = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 66,
}
DECODER = {**ENCODER, "num_key_value_heads": 2}
SLIDING = {**DECODER, "head_dim": 4, "sliding_window": 3, "query_pre_attn_scalar": 4}
T5 = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 3, "num_heads": 4}
BART = {
    "d_model": 16, "encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
    "max_position_embeddings": 66,
}  # fmt: skip
DEBERTA = {**ENCODER, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
IMAGES = {**ENCODER, "image_size": 8, "patch_size": 4}

# By name, the model type in transformers and its sizes.
TEXTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "bert": ("bert", ENCODER),
    "roberta": ("roberta", ENCODER),
    "distilbert": ("distilbert", {"dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 24}),
    "albert": ("albert", {**ENCODER, "embedding_size": 8}),
    "albert_groups": ("albert", {**ENCODER, "num_hidden_layers": 4, "num_hidden_groups": 2}),
    "deberta": ("deberta", DEBERTA),
    "deberta_v2": ("deberta-v2", {**DEBERTA, "conv_kernel_size": 3, "position_buckets": 8}),
    "modernbert": ("modernbert", {**ENCODER, "local_attention": 4}),
    "mobilebert": (
        "mobilebert", {**ENCODER, "embedding_size": 8, "intra_bottleneck_size": 8}
    ),
    "longformer": ("longformer", {**ENCODER, "attention_window": [4, 8, 8]}),
    "big_bird": ("big_bird", {**ENCODER, "block_size": 4, "num_random_blocks": 1}),
    "convbert": ("convbert", {**ENCODER, "embedding_size": 16, "conv_kernel_size": 3}),
    "squeezebert": ("squeezebert", {**ENCODER, "embedding_size": 16}),
    "roformer": ("roformer", {**ENCODER, "embedding_size": 16}),
    "xlnet": ("xlnet", {"d_model": 16, "n_layer": 3, "n_head": 4, "d_inner": 24}),
    "funnel": ("funnel", {"d_model": 16, "n_head": 4, "d_head": 4, "d_inner": 24,
                          "block_sizes": [2, 2]}),
    "fnet": ("fnet", ENCODER),
    "nystromformer": (
        "nystromformer", {**ENCODER, "num_landmarks": 64, "segment_means_seq_len": 64}
    ),
    "t5": ("t5", T5),
    "t5_uneven": ("t5", {**T5, "num_decoder_layers": 2}),
    "bart": ("bart", BART),
    "bart_uneven": ("bart", {**BART, "decoder_layers": 2}),
    "gpt2": ("gpt2", {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 66}),
    "gpt2_scaled": ("gpt2", {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 66,
                             "scale_attn_by_inverse_layer_idx": True}),
    "gpt_neo": ("gpt_neo", {"hidden_size": 16, "num_layers": 4, "num_heads": 4, "window_size": 3,
                            "attention_types": [[["global", "local"], 2]],
                            "max_position_embeddings": 66}),
    "gpt_neox": ("gpt_neox", ENCODER),
    "opt": ("opt", {**ENCODER, "ffn_dim": 24, "word_embed_proj_dim": 16}),
    "llama": ("llama", DECODER),
    "mistral": ("mistral", {**DECODER, "sliding_window": 3}),
    "qwen2": ("qwen2", {**DECODER, "use_sliding_window": True, "sliding_window": 3,
                        "max_window_layers": 1}),
    "qwen3": ("qwen3", {**DECODER, "head_dim": 8}),
    "gemma2": ("gemma2", SLIDING),
    "gemma3": ("gemma3_text", {**SLIDING, "sliding_window_pattern": 2}),
    "phi": ("phi", ENCODER),
    "mixtral": ("mixtral", {**DECODER, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "bloom": ("bloom", {"hidden_size": 16, "n_layer": 3, "n_head": 4}),
    "falcon": ("falcon", ENCODER),
    "openai_gpt": ("openai-gpt", {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 66}),
}  # fmt: skip
IMAGE: dict[str, tuple[str, Mapping[str, Any]]] = {
    "vit": ("vit", IMAGES),
    "beit": ("beit", IMAGES),
    "dinov2": ("dinov2", {**IMAGES, "mlp_ratio": 2}),
    "swin": ("swin", {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2, 1, 2],
                      "num_heads": [2, 2, 4], "window_size": 2}),
    "swinv2": ("swinv2", {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2, 2],
                          "num_heads": [2, 2], "window_size": 2}),
    "convnext": ("convnext", {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2,
                              "patch_size": 2, "image_size": 16}),
    "resnet": ("resnet", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
                          "layer_type": "basic"}),
    "segformer": ("segformer", {"num_encoder_blocks": 2, "depths": [1, 2], "sr_ratios": [2, 1],
                                "hidden_sizes": [8, 16], "patch_sizes": [7, 3], "strides": [4, 2],
                                "num_attention_heads": [1, 2], "mlp_ratios": [2, 2],
                                "image_size": 16}),
}  # fmt: skip
EVERY = {**TEXTS, **IMAGE}
VOCABULARY = 40


def structure(name: str, device: str = "cpu", **sizes: Any) -> transformers.PreTrainedModel:
    """The model of a name, its weights large enough that outputs vary."""
    kind, known = EVERY[name]
    config = transformers.AutoConfig.for_model(
        kind, **{"vocab_size": VOCABULARY, "num_labels": 2, "pad_token_id": 1, "bos_token_id": 0,
                 "eos_token_id": 2, "decoder_start_token_id": 2, **known, **sizes}
    )  # fmt: skip
    auto = (
        transformers.AutoModelForImageClassification
        if name in IMAGE
        else transformers.AutoModelForSequenceClassification
    )
    with torch.device(device):
        made: transformers.PreTrainedModel = auto.from_config(config).float().eval()
    return made if device == "meta" else lively(made)


@torch.no_grad()
def lively(module: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """The same module with every weight drawn anew, by its fan-in."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in module.named_parameters():
        drawn = torch.randn(weight.shape, generator=generator)
        if weight.dim() > 1:
            weight.copy_(1.2 * drawn / math.sqrt(weight[0].numel()))
        else:
            weight.copy_(0.2 * drawn + float("norm" in name.lower() and name.endswith("weight")))
    return module


class Rows(Split):
    """Rows of random tokens of unlike lengths, or images of noise; labels that alternate."""

    name = "rows"

    def __init__(self, module: transformers.PreTrainedModel, count: int) -> None:
        self.digest = f"rows-{count}"
        self._count = count
        self._images = module.main_input_name == "pixel_values"
        self._size = getattr(module.config, "image_size", 16) if self._images else 0

    @property
    def labels(self) -> Tensor:
        return torch.arange(self._count) % 2

    def encode(self, tokenizer: Any) -> Dataset:
        generator = torch.Generator().manual_seed(self._count)
        if self._images:
            pixels = torch.randn(self._count, 3, self._size, self._size, generator=generator)
            return Dataset.from_dict({"pixel_values": pixels.tolist(), "length": [5] * self._count})
        lengths = [6 + 3 * (number % 3) for number in range(self._count)]
        texts = [torch.randint(3, VOCABULARY, (n,), generator=generator) for n in lengths]
        ids = [[*text.tolist(), 2] for text in texts]
        masks = [[1] * len(text) for text in ids]
        return Dataset.from_dict(
            {"input_ids": ids, "attention_mask": masks, "length": [len(text) for text in ids]}
        )

    def collate(self, tokenizer: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        if self._images:
            return {"pixel_values": torch.tensor([row["pixel_values"] for row in rows])}
        longest = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": 1, "attention_mask": 0}
        return {
            name: torch.tensor(
                [[*row[name], *[value] * (longest - len(row[name]))] for row in rows]
            )
            for name, value in fill.items()
        }


def rows_of(module: transformers.PreTrainedModel, count: int = 5) -> Rows:
    return Rows(module, count)


def model_of(module: transformers.PreTrainedModel) -> CompressedModel:
    """A teacher without a tokenizer."""
    return CompressedModel(module, None, (Step("teacher", {"kind": "tests.structures"}),))  # type: ignore[arg-type]


def context_of(model: CompressedModel) -> StageContext:
    rows = {name: rows_of(model.module, 8) for name in ("train", "validation", "calibration")}
    data = TrainingData(problem=Classification(("neg", "pos")), **rows)
    return StageContext(model, data, settings_of("device", "cpu"), 0, None)  # type: ignore[arg-type]
