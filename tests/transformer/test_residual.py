"""The axes of the residual stream in every architecture, and that cutting them cuts no more."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from transformers.pytorch_utils import Conv1D

from compress.config.errors import ConfigError
from compress.serve.folder import PLAIN_WEIGHTS
from compress.shaping.embedding import place_factors_
from compress.store.artifact import read_model, write_model
from compress.transformer.blocks import block_linears, known_blocks
from compress.transformer.residual import (
    keep_channels_,
    residual_axes,
    residual_matrices,
    residual_norms,
    residual_width,
)
from compress.transformer.stored_modules import LowRankLinear
from compress.transformer.surgery import keep_units_, plain_config
from tests.test_contract import ARCHITECTURES
from tests.transformer.test_surgery import Contexts, Teachers, logits

SMALL = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_labels": 2, "pad_token_id": 0,
}  # fmt: skip
KEPT = torch.tensor([1, 2, 4, 7, 8, 9, 14, 15])
COPIES = torch.tensor([0, 3, 5, 6, 10, 11, 12, 13])
LEAVES = ("weight", "bias")
WRITERS = [f"{path}output.{name}" for path in ("attention.", "") for name in ("dense", "LayerNorm")]
BERT_BLOCK = {
    **{f"attention.self.{name}.weight": (1,) for name in ("query", "key", "value")},
    "intermediate.dense.weight": (1,),
    **{f"{path}.{leaf}": (0,) for path in WRITERS for leaf in LEAVES},
}
# All but the middle blocks, whose axes are the first's.
AXES = {
    "bert": {
        "bert.embeddings.word_embeddings.weight": (1,),
        "bert.embeddings.position_embeddings.weight": (1,),
        "bert.embeddings.token_type_embeddings.weight": (1,),
        "bert.embeddings.LayerNorm.weight": (0,),
        "bert.embeddings.LayerNorm.bias": (0,),
        **{f"bert.encoder.layer.0.{name}": axes for name, axes in BERT_BLOCK.items()},
        "bert.pooler.dense.weight": (0, 1),
        "bert.pooler.dense.bias": (0,),
        "classifier.weight": (1,),
    },
    "electra": {
        "electra.embeddings_project.weight": (0,),
        "electra.embeddings_project.bias": (0,),
        **{f"electra.encoder.layer.0.{name}": axes for name, axes in BERT_BLOCK.items()},
        "classifier.dense.weight": (0, 1),
        "classifier.dense.bias": (0,),
        "classifier.out_proj.weight": (1,),
    },
    "deit": {
        "deit.embeddings.cls_token": (2,),
        "deit.embeddings.distillation_token": (2,),
        "deit.embeddings.position_embeddings": (2,),
        "deit.embeddings.patch_embeddings.projection.weight": (0,),
        "deit.embeddings.patch_embeddings.projection.bias": (0,),
        **{f"deit.layers.0.attention.{name}_proj.weight": (1,) for name in "qkv"},
        "deit.layers.0.attention.o_proj.weight": (0,),
        "deit.layers.0.attention.o_proj.bias": (0,),
        **{f"deit.layers.0.layernorm_before.{leaf}": (0,) for leaf in LEAVES},
        **{f"deit.layers.0.layernorm_after.{leaf}": (0,) for leaf in LEAVES},
        "deit.layers.0.mlp.fc1.weight": (1,),
        "deit.layers.0.mlp.fc2.weight": (0,),
        "deit.layers.0.mlp.fc2.bias": (0,),
        **{f"deit.layernorm.{leaf}": (0,) for leaf in LEAVES},
        "classifier.weight": (1,),
    },
    "gpt2": {
        "transformer.wte.weight": (1,),
        "transformer.wpe.weight": (1,),
        **{f"transformer.h.0.ln_1.{leaf}": (0,) for leaf in LEAVES},
        "transformer.h.0.attn.c_attn.weight": (0,),
        "transformer.h.0.attn.c_proj.weight": (1,),
        "transformer.h.0.attn.c_proj.bias": (0,),
        **{f"transformer.h.0.ln_2.{leaf}": (0,) for leaf in LEAVES},
        "transformer.h.0.mlp.c_fc.weight": (0,),
        "transformer.h.0.mlp.c_proj.weight": (1,),
        "transformer.h.0.mlp.c_proj.bias": (0,),
        **{f"transformer.ln_f.{leaf}": (0,) for leaf in LEAVES},
        "score.weight": (1,),
    },
}


def first_block_and_rest(module: transformers.PreTrainedModel) -> dict[str, tuple[int, ...]]:
    later = [f"{block.name}." for block in known_blocks(module)[1:]]
    axes = residual_axes(module)
    return {n: a for n, a in axes.items() if not any(n.startswith(block) for block in later)}


def copy_channels_(module: transformers.PreTrainedModel) -> None:
    """Makes each channel in COPIES carry what one in KEPT carries, and lets nothing read it.

    Means and mean squares over all channels are then those over KEPT, so norms cannot tell.
    """
    for name, axes in residual_axes(module).items():
        parameter = module.get_parameter(name)
        part = module.get_submodule(name.rpartition(".")[0])
        reads = {torch.nn.Linear: 1, Conv1D: 0}.get(type(part)) if parameter.ndim == 2 else None
        for axis in axes:
            channels = parameter.movedim(axis, 0)
            channels[COPIES] = torch.zeros(()) if axis == reads else channels[KEPT]


@pytest.mark.parametrize("architecture", AXES)
def test_axes_by_hand(architecture: str, teachers: Teachers) -> None:
    module = teachers(architecture).module
    assert first_block_and_rest(module) == AXES[architecture]
    assert len(residual_axes(module)) > len(AXES[architecture])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_channels_that_copy_others_and_go_unread_can_be_cut(
    architecture: str, teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """Zeroed channels would still enter the norms' statistics; copies leave these as they are."""
    teacher = teachers(architecture)
    wide = copy.deepcopy(teacher.module)
    with torch.no_grad():
        # Every parameter counts, also norms and biases that start as ones and zeros.
        for index, parameter in enumerate(wide.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
            parameter.add_(0.3 * noise)
        copy_channels_(wide)
    cut = copy.deepcopy(wide)
    names = keep_channels_(cut, KEPT)
    assert set(names) == set(residual_axes(wide))
    assert residual_width(cut) == 8
    ctx = context(teacher)
    expected, found = (logits(replace(teacher, module=m), ctx) for m in (wide, cut))
    assert (expected.std(dim=0) > 1e-3).all(), "the logits depend on the rows"
    assert torch.allclose(expected, found, atol=2e-5)
    write_model(replace(teacher, module=cut), tmp_path / "cut", "torch")
    reloaded = replace(teacher, module=read_model(tmp_path / "cut"))
    assert torch.equal(found, logits(reloaded, ctx))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_modules_know_their_new_width_and_heads_keep_theirs(
    architecture: str, teachers: Teachers
) -> None:
    module = copy.deepcopy(teachers(architecture).module)

    def sizes() -> list[tuple[int, ...]]:
        blocks = known_blocks(module)
        return [(b.heads, b.key_value_heads, b.head_size, b.neurons) for b in blocks]

    before = sizes()
    keep_channels_(module, torch.arange(12))
    keep_channels_(module, torch.arange(1, 10))  # now no width is equal to another by accident
    assert sizes() == before
    assert {block.width for block in known_blocks(module)} == {9}
    for part in module.modules():
        if isinstance(part, torch.nn.LayerNorm) and architecture != "electra":
            assert part.normalized_shape == (9,)
        if isinstance(part, torch.nn.Linear):
            assert (part.out_features, part.in_features) == part.weight.shape
        if isinstance(part, Conv1D):
            assert (part.nx, part.nf) == part.weight.shape
    assert not any(16 in p.shape for n, p in module.named_parameters() if n.endswith("norm.weight"))


def test_a_narrow_llama_loads_with_plain_transformers(
    teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    """Its config has the width of a head; BERT derives it from the width of the stream."""
    found = {}
    for architecture in ("llama", "bert"):
        found[architecture] = copy.deepcopy(teachers(architecture).module)
        keep_channels_(found[architecture], torch.arange(12))
    assert plain_config(found["bert"]) is None
    teacher = teachers("llama")
    cut = replace(teacher, module=found["llama"])
    write_model(cut, tmp_path / "cut", "torch")
    assert (tmp_path / "cut" / PLAIN_WEIGHTS).is_file()
    plain = transformers.LlamaForSequenceClassification.from_pretrained(tmp_path / "cut")
    assert plain.config.hidden_size == 12
    ctx = context(teacher)
    assert torch.equal(logits(cut, ctx), logits(replace(cut, module=plain.eval()), ctx))


def test_a_bert_that_lost_half_of_both_is_plain_again(teachers: Teachers) -> None:
    module = copy.deepcopy(teachers("bert").module)
    keep_channels_(module, torch.arange(8))
    for block in known_blocks(module):
        keep_units_(block, block.head_units(), torch.tensor([1]))
    config = plain_config(module)
    assert config is not None
    assert (config.hidden_size, config.num_attention_heads) == (8, 1)


def test_factorized_projections_are_cut_where_they_meet_the_stream(
    teachers: Teachers, context: Contexts, tmp_path: Path
) -> None:
    teacher = teachers("bert")
    module = copy.deepcopy(teacher.module)
    block = known_blocks(module)[0]
    for path in ("attention.self.query", "output.dense"):
        old = block.projection(path)
        assert isinstance(old, torch.nn.Linear)
        block.module.set_submodule(
            path, LowRankLinear(old.in_features, 3, old.out_features, bias=True)
        )
    axes = residual_axes(module)
    part = f"{block.name}.attention.self.query"
    assert {n: a for n, a in axes.items() if n.startswith(part)} == {f"{part}.down.weight": (1,)}
    part = f"{block.name}.output.dense"
    assert {n: a for n, a in axes.items() if n.startswith(part)} == {
        f"{part}.up.weight": (0,),
        f"{part}.up.bias": (0,),
    }
    keep_channels_(module, KEPT)
    cut, ctx = replace(teacher, module=module.eval()), context(teacher)
    write_model(cut, tmp_path / "cut", "torch")
    reloaded = replace(teacher, module=read_model(tmp_path / "cut"))
    assert torch.equal(logits(cut, ctx), logits(reloaded, ctx))


def test_matrices_and_norms_are_those_of_the_blocks(teachers: Teachers) -> None:
    for architecture, per_block in (("bert", 6), ("gpt2", 4), ("llama", 7)):
        module = teachers(architecture).module
        for name in block_linears(module):
            (axis,) = residual_axes(module)[f"{name}.weight"]
            module.get_parameter(f"{name}.weight").detach().select(axis, 3).zero_()
        matrices = list(residual_matrices(module))
        assert len(matrices) == 4 * per_block
        for matrix in matrices:
            assert (matrix == 0).all(dim=0).tolist() == [column == 3 for column in range(16)]
        assert len(residual_norms(module)) == 8
    assert next(iter(residual_norms(module))) == "model.layers.0.input_layernorm"


def test_norms_of_queries_and_keys_are_not_the_streams() -> None:
    """Though they are as long as the stream is wide here."""
    config = transformers.Qwen3Config(**SMALL, num_key_value_heads=1, head_dim=16)
    module = transformers.Qwen3ForSequenceClassification(config).eval()
    assert not any("q_norm" in name or "k_norm" in name for name in residual_axes(module))
    keep_channels_(module, torch.arange(12))
    assert module(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_as_many_words_and_positions_as_channels_are_no_channels(teachers: Teachers) -> None:
    config = copy.deepcopy(teachers("bert").module.config)
    config.vocab_size = config.max_position_embeddings = 16
    module = transformers.BertForSequenceClassification(config)
    assert first_block_and_rest(module) == AXES["bert"]


@pytest.mark.parametrize(
    ("architecture", "setting", "what"),
    [
        ("bert", "num_labels", "classes"),
        ("mpnet", "num_attention_heads", "attention heads"),
        ("vit", "num_channels", "input channels of a convolution"),
    ],
)
def test_a_width_that_something_else_has_too_is_refused(
    architecture: str, setting: str, what: str, teachers: Teachers
) -> None:
    module = teachers(architecture).module
    setattr(module.config, setting, 16)
    with pytest.raises(ConfigError, match=f"16 channels, as many as there are {what};"):
        residual_axes(type(module)(module.config))


def test_a_model_that_computes_with_its_width_is_refused() -> None:
    config = transformers.GemmaConfig(**SMALL, num_key_value_heads=1, head_dim=8)
    module = transformers.GemmaForSequenceClassification(config)
    with pytest.raises(ConfigError, match=r"multiplies model\.embed_tokens by the root .* 16;"):
        residual_width(module)


def test_norms_without_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="the norms of OlmoModel have no weights"):
        residual_width(transformers.OlmoModel(transformers.OlmoConfig(**SMALL)))


def test_a_factorized_table_as_wide_as_the_stream_is_refused(teachers: Teachers) -> None:
    module = teachers("bert").module
    place_factors_(module, 16)
    with pytest.raises(ConfigError, match="16 channels, as many as there are columns of the fac"):
        residual_width(module)
