"""Layouts: where the projections of each supported family of transformers are in a block."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Paths of the projections inside one family's blocks.

    Attributes:
        families: names of the architectures, for messages.
        query: computes the queries. Where one projection computes queries, keys and values, all
            three paths are equal.
        key: computes the keys.
        value: computes the values.
        output: reads the heads.
        up: compute the neurons of the feed-forward: one projection, or gate and up.
        down: reads the neurons.
        head_size: attribute of the attention module with the width of a head.
        attributes: attributes of the attention module that store its shape: "heads" or "width"
            (heads times head size) by attribute name; updated when heads are removed.
        neurons: the config's name for the width of the feed-forward.
        shared_positions: whether all blocks share one bias per head.
        by_head: whether a fused projection has query, key and value of the first head, then of the
            second, and so on; else all queries come first.
        norms: paths of norms inside the attention module that belong to the residual stream.
    """

    families: str
    query: str
    key: str
    value: str
    output: str
    up: tuple[str, ...]
    down: str
    head_size: str
    attributes: tuple[tuple[str, str], ...] = ()
    neurons: str = "intermediate_size"
    shared_positions: bool = False
    by_head: bool = False
    norms: tuple[str, ...] = ()

    @property
    def projections(self) -> tuple[str, ...]:
        """The paths of all projections, each once, in order of execution."""
        return (*self.heads, *self.feed_forward)

    @property
    def heads(self) -> tuple[str, ...]:
        """The paths of the projections that compute and read the heads."""
        return tuple(dict.fromkeys((self.query, self.key, self.value, self.output)))

    @property
    def feed_forward(self) -> tuple[str, ...]:
        """The paths of the projections that compute and read the neurons."""
        return (*self.up, self.down)

    @property
    def attention(self) -> str:
        """The path of the attention module."""
        return self.query.rpartition(".")[0]


LAYOUTS = (
    Layout(
        families="BERT, RoBERTa, ELECTRA",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        output="attention.output.dense",
        up=("intermediate.dense",),
        down="output.dense",
        head_size="attention_head_size",
        attributes=(("num_attention_heads", "heads"), ("all_head_size", "width")),
    ),
    Layout(
        families="DistilBERT",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        output="attention.out_lin",
        up=("ffn.lin1",),
        down="ffn.lin2",
        head_size="attention_head_size",
        attributes=(("n_heads", "heads"),),
        neurons="hidden_dim",
    ),
    Layout(
        families="MPNet",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        output="attention.attn.o",
        up=("intermediate.dense",),
        down="output.dense",
        head_size="attention_head_size",
        attributes=(("num_attention_heads", "heads"), ("all_head_size", "width")),
        shared_positions=True,
    ),
    Layout(
        families="ALBERT",
        query="attention.query",
        key="attention.key",
        value="attention.value",
        output="attention.dense",
        up=("ffn",),
        down="ffn_output",
        head_size="attention_head_size",
        attributes=(("num_attention_heads", "heads"), ("all_head_size", "width")),
        norms=("attention.LayerNorm",),
    ),
    Layout(
        families="ViT, DeiT",
        query="attention.q_proj",
        key="attention.k_proj",
        value="attention.v_proj",
        output="attention.o_proj",
        up=("mlp.fc1",),
        down="mlp.fc2",
        head_size="head_dim",
        attributes=(("num_attention_heads", "heads"),),
    ),
    Layout(
        families="GPT-2",
        query="attn.c_attn",
        key="attn.c_attn",
        value="attn.c_attn",
        output="attn.c_proj",
        up=("mlp.c_fc",),
        down="mlp.c_proj",
        head_size="head_dim",
        attributes=(("num_heads", "heads"), ("split_size", "width")),
        neurons="n_inner",
    ),
    Layout(
        families="Llama, Mistral, Qwen2 and others with gated feed-forwards",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        output="self_attn.o_proj",
        up=("mlp.gate_proj", "mlp.up_proj"),
        down="mlp.down_proj",
        head_size="head_dim",
    ),
    Layout(
        families="OPT",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        output="self_attn.out_proj",
        up=("fc1",),
        down="fc2",
        head_size="head_dim",
        attributes=(("num_heads", "heads"),),
        neurons="ffn_dim",
    ),
    Layout(
        families="GPT-NeoX, Pythia",
        query="attention.query_key_value",
        key="attention.query_key_value",
        value="attention.query_key_value",
        output="attention.dense",
        up=("mlp.dense_h_to_4h",),
        down="mlp.dense_4h_to_h",
        head_size="head_size",
        by_head=True,
    ),
)
