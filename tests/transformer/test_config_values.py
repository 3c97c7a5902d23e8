"""A checkpoint's config.json with wrong values is refused in one line, before a weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from compress.config.errors import UserError
from compress.transformer.config_values import check_values
from compress.transformer.pretrained import load_skeleton, read_config

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS: dict[str, transformers.PreTrainedConfig] = {
    "bert": transformers.BertConfig(intermediate_size=64, **SIZES),
    "llama": transformers.LlamaConfig(intermediate_size=64, num_key_value_heads=2, **SIZES),
    "gpt2": transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=50),
    "t5": transformers.T5Config(d_model=32, num_layers=2, num_heads=4, d_kv=8, d_ff=64),
    "vit": transformers.ViTConfig(intermediate_size=64, image_size=8, patch_size=4, **SIZES),
}
# What is wrong of any size of a model.
NO_SIZE = (-1, 0, 1.5, "32", [32], {"a": 1}, 1e400, float("nan"), True)
SIZE_NAMES = {
    "bert": ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
             "vocab_size", "max_position_embeddings"),
    "llama": ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"),
    "gpt2": ("n_embd", "n_layer", "n_head", "n_positions", "vocab_size"),
    "t5": ("d_model", "num_layers", "num_heads", "vocab_size"),
    "vit": ("hidden_size", "num_hidden_layers", "image_size", "patch_size", "num_channels"),
}  # fmt: skip
# A sequence may have its own size in each direction.
PAIRS = {("vit", "image_size"), ("vit", "patch_size")}
WRONG = [
    *((name, key, bad) for name, keys in SIZE_NAMES.items() for key in keys for bad in NO_SIZE
      if not (isinstance(bad, list) and (name, key) in PAIRS)),
    *(("bert", key, bad) for key in ("hidden_dropout_prob", "attention_probs_dropout_prob")
      for bad in (-0.1, 1.5, "x", float("nan"), 1e400, [0.1])),
    *(("bert", "layer_norm_eps", bad) for bad in ("x", float("nan"), 1e400, None)),
    *(("llama", "rms_norm_eps", bad) for bad in ("x", float("nan"), 1e400)),
    *(("bert", "chunk_size_feed_forward", bad) for bad in (-1, 0.5, "x", None, [1])),
    *(("bert", key, bad) for key in ("is_decoder", "is_encoder_decoder", "use_cache")
      for bad in (-1, "x", [1])),
    ("bert", "num_attention_heads", 5),
    ("bert", "num_hidden_layers", 10**9),
    ("bert", "num_hidden_layers", None),
    ("bert", "hidden_act", "no_such"),
    ("bert", "hidden_act", 3),
    ("bert", "pad_token_id", "x"),
    ("bert", "pad_token_id", 0.5),
    ("bert", "pad_token_id", 51),
    ("llama", "rope_parameters", {"rope_type": "default", "rope_theta": float("nan")}),
    ("llama", "rope_parameters", 3),
    ("gpt2", "activation_function", "no_such"),
]  # fmt: skip


def refused(folder: Path, raw: Any) -> str:
    (folder / "config.json").write_text(raw if isinstance(raw, str) else json.dumps(raw))
    with pytest.raises(UserError) as caught:
        load_skeleton(folder, "classifier")
    line = str(caught.value)
    assert line.startswith(f"{folder} has no usable config: ")
    assert "\n" not in line
    assert len(line) - len(str(folder)) < 400
    return line


@pytest.mark.parametrize(("name", "key", "bad"), WRONG)
def test_wrong_values(name: str, key: str, bad: object, tmp_path: Path) -> None:
    assert CONFIGS[name].to_dict().get(key) != bad
    refused(tmp_path, {**CONFIGS[name].to_dict(), key: bad})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("null", ""),
        ("[1]", ""),
        ('"bert"', ""),
        ("{}", "model_type"),
        ('{"model_type": "abacus"}', "abacus"),
        ('{"model_type": null}', ""),
        ('{"model_type": 3}', ""),
        ('{"model_type": ["bert"]}', ""),
        ('{"model_type": "bert", "hidden_size": 1e999}', "hidden_size"),
        ('{"model_type": "bert", "num_hidden_layers": 0}', "num_hidden_layers must be > 0, got 0"),
        ('{"model_type": "gpt2", "n_layer": 0}', "n_layer must be > 0, got 0"),
        ('{"model_type": "bert", "id2label": 3}', ""),
        ('{"model_type": "bert", "id2label": {"a": "b"}}', ""),
    ],
)
def test_invalid_configs_are_refused(raw: str, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, raw)


@pytest.mark.parametrize("name", CONFIGS)
def test_right_values(name: str, tmp_path: Path) -> None:
    CONFIGS[name].save_pretrained(tmp_path)
    assert read_config(tmp_path).model_type == name


@pytest.mark.slow
def test_no_architecture_is_refused_as_published() -> None:
    """Its own defaults are right, whatever they are called: -1 and infinity are among them."""
    checked = 0
    for kind in transformers.CONFIG_MAPPING.values():
        try:
            config = kind()
        except Exception:
            continue  # it has no defaults
        check_values(Path("x"), config)
        checked += 1
    assert checked > 300
