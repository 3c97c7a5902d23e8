"""The architectures that tests build: what is tiny about each, and which tokenizer it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.vocabularies import CLASSIFIER, SEQUENCE_END, Ends

IDS = ("input_ids", "attention_mask")
TYPED = ("input_ids", "token_type_ids", "attention_mask")


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
        writes: whether it predicts the next token instead of a label.
        tags: whether it has a label for each token.
        embeds: whether it has nothing but its body, whose tokens become one vector.
    """

    kind: str
    sizes: Mapping[str, Any]
    pieces: str = ""
    ends: Ends = CLASSIFIER
    inputs: tuple[str, ...] = IDS
    pads: bool = True
    side: str = "right"
    start: str = ""
    writes: bool = False
    tags: bool = False
    embeds: bool = False

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
        {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 130},
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
        "mobilebert", {**FACTORED, "intra_bottleneck_size": 16}, "wordpiece", inputs=TYPED
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
TAGGERS = ("bert", "roberta", "distilbert", "deberta_v2", "modernbert")
ARCHITECTURES |= {f"{name}_tags": replace(ARCHITECTURES[name], tags=True) for name in TAGGERS}
EMBEDDERS = ("bert", "roberta", "distilbert", "mpnet", "modernbert", "qwen3")
ARCHITECTURES |= {f"{name}_embed": replace(ARCHITECTURES[name], embeds=True) for name in EMBEDDERS}
WRITERS = ("gpt2", "opt", "gpt_neox", "llama", "qwen3", "gemma2")
ARCHITECTURES |= {f"{name}_lm": replace(ARCHITECTURES[name], writes=True) for name in WRITERS}
