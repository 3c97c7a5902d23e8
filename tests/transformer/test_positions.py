from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from compress.transformer.positions import padding_position, position_count
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
