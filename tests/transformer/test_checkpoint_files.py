from __future__ import annotations

import json
from pathlib import Path

import pytest

from compress.config.errors import UserError
from compress.serve.folder import is_plain_name
from compress.transformer.checkpoint_files import (
    OFFLINE_MODELS,
    find_model,
    model_digest,
)
from compress.transformer.pretrained import load_skeleton

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SHARD = "model-00001-of-00001.safetensors"


def test_the_offline_package_is_found_and_is_the_published_one() -> None:
    folder = find_model(MINILM)
    assert (folder / "model.safetensors").is_file()
    assert load_skeleton(folder, "classifier").config.num_hidden_layers == 6


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "~/model", "a/b/c"])
def test_a_path_that_is_not_a_directory_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is not a directory"):
        find_model(name)


def test_an_unreachable_hub_names_what_is_there_offline() -> None:
    with pytest.raises(UserError) as caught:
        find_model("some-one/some-model")
    text = str(caught.value)
    assert "\n" not in text
    assert "some-one/some-model not found" in text
    assert MINILM in text
    assert OFFLINE_MODELS[MINILM].requirement in text


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (None, r"it has no config\.json"),
        ("pytorch_model.bin", r"has no \*\.safetensors weights; other formats can run code"),
        ("adapter_model.safetensors", r"has adapter_model\.safetensors, expected model\.safeten"),
        (
            "weights.safetensors",
            r"has weights\.safetensors, .* loaded by teacher=artifact",
        ),
        (SHARD, r"has model-00001-of-00001\.safetensors, expected model\.safetensors, or model"),
    ],
)
def test_folders_without_a_model(weights: str | None, reason: str, tmp_path: Path) -> None:
    if weights is not None:
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / weights).write_bytes(b"weights")
    with pytest.raises(UserError, match=reason):
        find_model(str(tmp_path))


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ({"weight_map": {"a": SHARD, "b": "../other.safetensors"}}, r"lists \.\./other\.safetens"),
        ({"weight_map": {"a": "/tmp/other.safetensors"}}, "lists /tmp/other.safetensors, expec"),
        ({"weight_map": {"a": "sub/other.safetensors"}}, "lists sub/other.safetensors, expected"),
        ({"weight_map": {"a": ".."}}, r"lists \.\., expected names of files in the same folder"),
        ({"weight_map": {"a": ""}}, "expected names of files in the same folder"),
        ({"weight_map": {"a": "model.bin"}}, r"lists model\.bin, expected \*\.safetensors files"),
        ({"weight_map": {"a": "gone.safetensors"}}, r"gone\.safetensors is listed in model\."),
        ({"weight_map": {}}, "lists nothing, expected names"),
        ({"weight_map": {"a": 3}}, "is damaged"),
        ({"weight_map": [SHARD]}, "is damaged"),
        ({}, "is damaged"),
        ([], "is damaged"),
    ],
)
def test_shards_lie_beside_their_index(index: object, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "sub").mkdir()
    for name in (SHARD, "model.bin", "sub/other.safetensors"):
        (tmp_path / name).write_bytes(b"weights")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": SHARD}}))
    assert find_model(str(tmp_path)) == tmp_path
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=reason) as caught:
        find_model(str(tmp_path))
    assert "\n" not in str(caught.value)
    path.write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        find_model(str(tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        "config.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
        "model.safetensors.index.json", SHARD, "vocab.txt", "merges.txt", "vocab.bpe", "bpe.codes",
        "spiece.model", "sentencepiece.bpe.model", "chat_template.jinja", "prophetnet.tokenizer",
        "additional_chat_templates/tool.jinja", "preprocessor_config.json", "qwen.tiktoken",
        "names",
    ],
)  # fmt: skip
def test_the_digest_covers_all_that_loading_reads(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    digests = {model_digest(tmp_path)}
    for content in (b"one", b"two"):
        (tmp_path / name).write_bytes(content)
        digests.add(model_digest(tmp_path))
    assert len(digests) == 3


@pytest.mark.parametrize(
    "name", ["README.md", ".gitattributes", "pytorch_model.bin", "optimizer.pt", "tf_model.h5"]
)
def test_the_digest_leaves_out_what_nothing_reads(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = model_digest(tmp_path)
    (tmp_path / name).write_bytes(b"one")
    assert model_digest(tmp_path) == before


def test_plain_names() -> None:
    plain = ("a", "a.b", ".a", "...", "a b", "ä=[1]")
    others = ("", ".", "..", "a/b", "/a", "../a", "a\\b", "a\0")
    assert [is_plain_name(name) for name in (*plain, *others)] == [True] * 6 + [False] * 8
