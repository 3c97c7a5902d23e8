from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from compress.config.errors import ConfigError
from compress.shaping.embedding import best_factors, place_factors_, token_counts
from compress.transformer.stacks import embedding_tables, token_table
from compress.transformer.stored_modules import FactorizedEmbedding
from tests.pruner.made import Contexts, Teachers, logits
from tests.shaping.made import largest_difference, noisy, shaped
from tests.tiny import make_split


def test_factors_by_hand() -> None:
    """Of two orthogonal directions the one with more weighted norm stays: 3² · 1 or 1² · 16."""
    table = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    (rows, columns), share = best_factors(table, 1, torch.tensor([1.0, 16.0]))
    assert torch.allclose((rows @ columns.T).float(), torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    assert share == pytest.approx(16 / 25)
    (rows, columns), share = best_factors(table, 1, torch.ones(2))
    assert torch.allclose((rows @ columns.T).float(), torch.tensor([[3.0, 0.0], [0.0, 0.0]]))
    assert share == pytest.approx(9 / 10)


def test_no_other_factors_of_that_width_are_nearer() -> None:
    """The weighted error is that of the truncated SVD of diag(√f)·E (Eckart-Young)."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(30, 8, generator=generator)
    frequencies = torch.randint(1, 20, (30,), generator=generator).float()
    (rows, columns), share = best_factors(table, 3, frequencies)
    error = ((rows @ columns.T - table).square().sum(dim=1) * frequencies).sum()
    values = torch.linalg.svdvals(frequencies.sqrt()[:, None] * table)
    assert float(error) == pytest.approx(float(values[3:].square().sum()), rel=1e-5)
    assert share == pytest.approx(float(values[:3].square().sum() / values.square().sum()))
    assert (rows.square() * frequencies[:, None]).sum(dim=0).diff().max() < 0, "largest first"


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "gpt2"])
def test_full_width_reproduces_the_logits(
    architecture: str, teachers: Teachers, context: Contexts
) -> None:
    model = noisy(teachers(architecture))
    table, ctx = token_table(model.module), context(model)
    assert table is not None
    made = shaped(model, ctx, embedding=table.embedding_dim)
    assert isinstance(made.module.get_input_embeddings(), FactorizedEmbedding)
    assert largest_difference(logits(model, ctx), logits(made, ctx)) < 1e-5
    assert made.history[-1].notes["embedding_norm_kept"] == pytest.approx(1)
    narrow = shaped(model, ctx, embedding=2)
    assert largest_difference(logits(model, ctx), logits(narrow, ctx)) > 1e-3
    assert narrow.history[-1].notes["embedding_norm_kept"] < 0.9


def test_the_narrow_table_is_the_token_table(teachers: Teachers, context: Contexts) -> None:
    model = teachers("bert")
    module = shaped(model, context(model), embedding=6).module
    table = token_table(module)
    assert table is not None
    assert (table.num_embeddings, table.embedding_dim) == (1000, 6)
    assert list(embedding_tables(module)) == [
        "bert.embeddings.word_embeddings.table",
        "bert.embeddings.position_embeddings",
        "bert.embeddings.token_type_embeddings",
    ]
    embedding = module.get_input_embeddings()
    ids = torch.tensor([[3, 7]])
    assert torch.allclose(embedding(ids), embedding.weight[ids])
    assert embedding.weight.shape == (1000, 16)
    assert table.padding_idx == model.module.get_input_embeddings().padding_idx


def test_the_random_state_is_left_alone(teachers: Teachers) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    place_factors_(teachers("bert").module, 4)
    assert torch.equal(torch.rand(1), expected)


def test_tokens_are_counted_in_all_rows(teachers: Teachers) -> None:
    tokenizer = teachers("bert").tokenizer
    counts = token_counts(tokenizer, make_split(4), 1000)
    number = tokenizer.convert_tokens_to_ids
    assert [counts[number(word)] for word in ("sad", "glad", "film", "slow")] == [2, 2, 4, 0]
    assert len(counts) == 1000


def tied() -> nn.Module:
    config = transformers.LlamaConfig(
        hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=1,
        vocab_size=20, tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def twice(teachers: Teachers) -> Any:
    module = teachers("bert").module
    place_factors_(module, 4)
    return module


@pytest.mark.parametrize(
    ("make", "width", "message"),
    [
        (lambda get: get("bert").module, 17, "the token table has only 16 columns"),
        (lambda get: get("vit").module, 4, "needs a plain table of token embeddings, has none"),
        (twice, 4, "needs a plain table of token embeddings, has a factorized one"),
        (lambda _: tied(), 4, "is a shared tensor: model.embed_tokens.weight, lm_head.weight"),
    ],
)
def test_what_cannot_be_factorized_is_refused(
    make: Any, width: int, message: str, teachers: Teachers
) -> None:
    with pytest.raises(ConfigError, match=message):
        place_factors_(make(teachers), width)
