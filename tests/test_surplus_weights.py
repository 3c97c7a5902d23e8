"""Weights that a checkpoint has and the model of its config does not use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.config.errors import UserError
from compress.interfaces import TrainingData
from compress.transformer.pretrained import load_pretrained, read_config
from tests.architectures import build

LAYER = "bert.encoder.layer.0"
ADDED = {
    "an adapter of low rank": f"{LAYER}.attention.self.query.lora_A.weight",
    "an adapter in a layer": f"{LAYER}.adapter.weight",
    "positions of another kind": f"{LAYER}.attention.self.distance_embedding.weight",
    "a deeper head": "classifier.dense.weight",
}
KEPT = {
    "the head of the pretraining": "cls.predictions.bias",
    "a table of an older version": "bert.embeddings.position_ids",
    "frequencies of an older version": f"{LAYER}.attention.rotary_emb.inv_freq",
}


def with_weight(name: str, folder: Path) -> Path:
    """A BERT with one weight more."""
    build("bert", folder)
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, name: torch.ones(4, 32)}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("name", ADDED.values(), ids=ADDED)
def test_what_would_change_the_logits_is_refused(
    name: str, data: TrainingData, tmp_path: Path
) -> None:
    folder = with_weight(name, tmp_path / "model")
    with pytest.raises(UserError, match=r"does not use, such as .*; adapters must be"):
        load_pretrained(folder, data.problem, fresh_head=False)


@pytest.mark.parametrize("name", KEPT.values(), ids=KEPT)
def test_what_would_not_is_left_out(name: str, data: TrainingData, tmp_path: Path) -> None:
    load_pretrained(with_weight(name, tmp_path / "model"), data.problem, fresh_head=False)


def test_another_head_is_left_out_where_training_follows(
    data: TrainingData, tmp_path: Path
) -> None:
    folder = with_weight("classifier.dense.weight", tmp_path / "model")
    load_pretrained(folder, data.problem, fresh_head=True)


def test_an_adapter_beside_its_model_is_refused(data: TrainingData, tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "model")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="merge it into its model first"):
        load_pretrained(folder, data.problem, fresh_head=False)


def test_names_of_outputs_may_be_in_label2id_alone(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "model")
    raw = json.loads((folder / "config.json").read_text())
    del raw["id2label"]
    (folder / "config.json").write_text(json.dumps({**raw, "label2id": {"pos": 0, "neg": 1}}))
    assert read_config(folder).id2label == {0: "pos", 1: "neg"}
