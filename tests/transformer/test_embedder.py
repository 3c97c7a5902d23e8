"""Embedders: their vectors and their folders, beside sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

from compress.config.errors import UserError
from compress.problem.embedding import TextSimilarity
from compress.problem.vector_index import VectorIndex
from compress.transformer.embedder import POOLINGS, embedder_class
from compress.transformer.pretrained import head_of, load_pretrained, load_skeleton
from compress.transformer.sentence_files import read_pooling_, write_sentence_files
from tests.architectures import build, sentences

PROBLEM = TextSimilarity(None, 1.0, VectorIndex(), 5.0)
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
SIDES: dict[str, list[list[int]]] = {
    "right": [[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]],
    "left": [[0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]],
}


def test_every_pooling_of_sentence_transformers_is_known() -> None:
    assert set(MODES) == set(POOLINGS) == set(Pooling.POOLING_MODES)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("mode", MODES)
def test_poolings_are_those_of_sentence_transformers(mode: str, side: str) -> None:
    states = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor(SIDES[side])
    theirs = Pooling(5, mode)({"token_embeddings": states, "attention_mask": mask})
    found = POOLINGS[mode](states, mask)
    assert (found - theirs["sentence_embedding"]).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["bert_embed", "distilbert_embed", "mpnet_embed", "qwen3_embed"])
@pytest.mark.parametrize("modules", [("mean", True), ("cls", False), (["mean", "max"], True)])
def test_a_folder_embeds_as_in_sentence_transformers(
    name: str, modules: tuple[Any, bool], tmp_path: Path
) -> None:
    folder = build(name, tmp_path / "model")
    write_modules(folder, *modules)
    texts = list(sentences(5, 3))
    module, tokenizer = load_pretrained(folder, PROBLEM, fresh_head=False)
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        ours = module(**batch).logits
    theirs = SentenceTransformer(str(folder), device="cpu").encode(texts, convert_to_tensor=True)
    assert (ours - theirs).abs().max() < 1e-5
    assert head_of(module) == head_of(load_skeleton(folder, "embedder")) == "embedder"
    alone = module.config.sentence_pooling
    assert alone == ([modules[0]] if isinstance(modules[0], str) else modules[0])


def write_modules(folder: Path, mode: str | list[str], normalized: bool) -> None:
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalized else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    size = json.loads((folder / "config.json").read_bytes())
    width = size.get("hidden_size", size.get("dim"))
    settings = {"embedding_dimension": width, "pooling_mode": mode}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("normalized", [True, False])
def test_files_are_read_back_as_written(mode: str, normalized: bool, tmp_path: Path) -> None:
    config = transformers.BertConfig(
        hidden_size=8, sentence_pooling=[mode], sentence_normalized=normalized
    )
    write_sentence_files(tmp_path, config, 64)
    found = transformers.BertConfig()
    read_pooling_(tmp_path, found)
    assert (found.sentence_pooling, found.sentence_normalized) == ([mode], normalized)
    assert Pooling.load(str(tmp_path / "1_Pooling")).pooling_mode == mode
    assert json.loads((tmp_path / "sentence_bert_config.json").read_text())["max_seq_length"] == 64


def test_a_folder_without_modules_has_the_mean(tmp_path: Path) -> None:
    config = transformers.BertConfig()
    read_pooling_(tmp_path, config)
    assert (config.sentence_pooling, config.sentence_normalized) == (["mean"], False)


def dense(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"type": "sentence_transformers.models.Dense", "path": "2_Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))


def test_prompts_are_kept_for_sentence_transformers(tmp_path: Path) -> None:
    folder = build("bert_embed", tmp_path / "model")
    write_modules(folder, "mean", True)
    prompts = {"prompts": {"query": "glad "}, "default_prompt_name": "query"}
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({**prompts, "__version__": {"sentence_transformers": "5"}}))
    module, tokenizer = load_pretrained(folder, PROBLEM, fresh_head=False)
    out = tmp_path / "out"
    module.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_sentence_files(out, module.config, 64)
    theirs = [SentenceTransformer(str(each), device="cpu") for each in (folder, out)]
    assert theirs[1].prompts["query"] == "glad "
    first, second = (model.encode(["story 3"]) for model in theirs)
    assert abs(first - second).max() < 1e-6
    assert abs(first - theirs[0].encode(["story 3"], prompt="")).max() > 1e-3


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a dense layer": (dense, "has the modules Transformer, Pooling, Dense, Normalize; supported"),
    "no settings": (
        lambda folder: (folder / "1_Pooling" / "config.json").unlink(),
        "1_Pooling/config.json cannot be read",
    ),
    "no json": (lambda folder: (folder / "modules.json").write_text("{"), "cannot be read"),
    "no list": (lambda folder: (folder / "modules.json").write_text("{}"), "expected a list"),
    "no type": (lambda folder: (folder / "modules.json").write_text("[{}]"), "has no type"),
    "another case": (
        lambda folder: (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}'),
        "has do_lower_case: true, which is not supported",
    ),
    "a pooling": (
        lambda folder: write_modules(folder, "median", True),
        "has the pooling 'median'; allowed: cls, max, mean",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_other_modules_are_refused(what: str, tmp_path: Path) -> None:
    folder = build("bert_embed", tmp_path / "model")
    write_modules(folder, "mean", True)
    change, words = BAD[what]
    change(folder)
    with pytest.raises(UserError, match=words):
        load_skeleton(folder, "embedder")


@pytest.mark.parametrize("name", ["vit", "t5"])
def test_models_without_one_vector_of_a_text_are_refused(name: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path / "model")
    with pytest.raises(UserError, match=r"needs an embedding of each text, and .* not supported"):
        load_skeleton(folder, "embedder")


def test_an_embedder_has_the_name_of_its_body() -> None:
    found = embedder_class(transformers.BertModel)
    assert found is embedder_class(transformers.BertModel)
    assert found.__name__ == "BertModel"
    assert issubclass(found, transformers.BertPreTrainedModel)
