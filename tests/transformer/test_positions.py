from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from compress.config.errors import ConfigError
from compress.transformer.positions import keep_positions_, padding_position, position_count
from tests.checkpoints import save_checkpoint


@pytest.mark.parametrize(
    ("architecture", "config", "limit", "padding"),
    [
        ("bert", {}, 64, None),
        ("gpt2", {}, 64, None),
        ("bart", {}, 64, None),
        ("roberta", {"pad_token_id": 1}, 62, 1),
        ("roberta", {"pad_token_id": 5}, 58, 5),
        ("mpnet", {"pad_token_id": 1}, 62, 1),
        ("t5", {}, None, None),
        ("xlnet", {}, None, None),
    ],
)
def test_a_model_runs_at_its_limit_and_no_further(
    architecture: str, config: dict[str, int], limit: int | None, padding: int | None,
    tmp_path: Path,
) -> None:  # fmt: skip
    module = save_checkpoint(tmp_path, architecture, **config)
    assert (position_count(module), padding_position(module)) == (limit, padding)

    def run(length: int) -> None:
        tokens = torch.full((1, length), 7)
        tokens[:, -1] = module.config.eos_token_id or 3
        with torch.no_grad():
            module(input_ids=tokens, attention_mask=torch.ones_like(tokens))

    run(limit or 300)
    if limit is not None:
        with pytest.raises((IndexError, RuntimeError)):
            run(limit + 1)


def test_relative_positions_have_no_limit() -> None:
    config = transformers.DebertaV2Config(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=4, relative_attention=True,
        position_biased_input=False,
    )  # fmt: skip
    module = transformers.DebertaV2ForSequenceClassification(config).eval()
    assert position_count(module) is None
    with torch.no_grad():
        module(input_ids=torch.full((1, 30), 7))


@pytest.mark.parametrize(
    ("architecture", "config"),
    [("bert", {}), ("gpt2", {}), ("roberta", {"pad_token_id": 1}), ("distilbert", {})],
)
@torch.no_grad()
def test_the_first_positions_stay(
    architecture: str, config: dict[str, int], tmp_path: Path
) -> None:
    module = save_checkpoint(tmp_path, architecture, **config)
    tokens = torch.randint(5, 20, (2, 9), generator=torch.Generator().manual_seed(0))
    tokens[:, -1] = module.config.eos_token_id or 3
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    before = module(**inputs).logits
    keep_positions_(module, 9)
    assert position_count(module) == 9
    assert torch.equal(module(**inputs).logits, before)
    built = type(module)(module.config).eval()
    built.load_state_dict(module.state_dict())
    assert torch.equal(built(**inputs).logits, before)
    longer = torch.cat([tokens, tokens[:, -1:]], dim=1)
    with pytest.raises((IndexError, RuntimeError)):
        module(input_ids=longer, attention_mask=torch.ones_like(longer))


@pytest.mark.parametrize(
    ("architecture", "count", "message"),
    [
        ("bert", 65, "the model has only 64 positions"),
        ("t5", 9, "has no table of positions beside its token embeddings"),
        ("llama", 9, "has no table of positions beside its token embeddings"),
    ],
)
def test_positions_that_are_not_there_are_refused(
    architecture: str, count: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        keep_positions_(save_checkpoint(tmp_path, architecture), count)
