"""GGUF files, read back by transformers, which knows nothing of how they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from compress.config.errors import UserError
from compress.store import gguf_file
from compress.store.gguf_file import write_gguf
from compress.store.gguf_tokens import add_tokenizer
from tests.architectures import build, lively_

pytest.importorskip("gguf")

TEXT = "glad story 17 of a bright child, isn't it?\n\nand  more"
# What transformers' reader takes for granted: no windows, heads of 128 and 1,024 positions.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": False},
    "qwen3": {"head_dim": 128},
    "gpt2": {"n_positions": 1024},
}
# Of the largest number in a block of 32: half a step, the largest being on the grid.
STEPS = {"F32": 0.0, "F16": 2**-11, "BF16": 2**-8, "Q8_0": 0.5 / 127 + 2**-11, "Q4_0": 1 / 8}


@pytest.fixture
def language_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a checkpoint of plain transformers with a tokenizer over bytes."""

    def make(name: str, **changed: Any) -> tuple[Path, Any]:
        folder = build(name, tmp_path / name, **changed)
        config = transformers.AutoConfig.from_pretrained(folder)
        module = transformers.AutoModelForCausalLM.from_config(config).float().eval()
        lively_(module, 0)
        monkeypatch.setattr(gguf_file, "_read", lambda _: module)
        return folder, module

    return make


def read(path: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAMILIES)
def test_transformers_reads_the_same_model_and_tokens(
    name: str, language_model: Any, tmp_path: Path
) -> None:
    folder, module = language_model(name, **FAMILIES[name])
    path = write_gguf(folder, tmp_path / "model.gguf", "F32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    found = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    assert found(TEXT)["input_ids"] == tokens[0].tolist()
    with torch.no_grad():
        assert torch.allclose(read(path)(tokens).logits, module(tokens).logits, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind in STEPS if kind != "F32"])
def test_matrices_are_off_by_half_a_step_of_their_block(
    kind: str, language_model: Any, tmp_path: Path
) -> None:
    folder, module = language_model("llama")
    found = read(write_gguf(folder, tmp_path / "model.gguf", kind))
    theirs = dict(found.named_parameters())
    for name, weight in module.named_parameters():
        if weight.dim() == 1:
            assert torch.equal(theirs[name], weight)
            continue
        table = "embed" in name or "head" in name
        step = STEPS["Q8_0" if table and kind == "Q4_0" else kind]
        blocks = weight.detach().reshape(len(weight), -1, 32)
        off = (theirs[name] - weight).reshape(blocks.shape).abs()
        assert float(off.max()) > 0
        assert torch.all(off <= step * blocks.abs().amax(-1, keepdim=True) + 1e-7)


def test_what_llama_cpp_computes_otherwise_is_refused(language_model: Any, tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"
    for name, changed, reason in (
        ("opt", {}, "expected a language model of llama, mistral, .*, got OPTForCausalLM"),
        ("llama", {"hidden_act": "relu"}, "computes llama with silu, got relu"),
        ("mistral", {}, "expected attention to all tokens, got windows of 8"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "expected rope_type=default, got linear",
        ),
        (
            "llama",
            {"intermediate_size": 80},
            "rows of a multiple of 32, .*down_proj.* has 80",
        ),
        ("qwen3", {"attention_bias": True}, r"reads no biases of qwen3, got .*q_proj\.bias"),
        (
            "gpt2",
            {"scale_attn_by_inverse_layer_idx": True},
            "expected scale_attn_by_inverse_layer_idx=False, got True",
        ),
        ("gpt2", {"scale_attn_weights": False}, "expected scale_attn_weights=True, got False"),
    ):
        folder, _ = language_model(name, **changed)
        with pytest.raises(UserError, match=reason):
            write_gguf(folder, target, "Q8_0")
        assert list(tmp_path.glob("*gguf*")) == []


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
PIECES = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
TO_PIECES = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}


@pytest.mark.parametrize(
    ("changed", "byte_fallback", "found"),
    [
        ({"pre_tokenizer": BYTES}, False, "gpt-2"),
        ({"pre_tokenizer": {**BYTES, "add_prefix_space": True}}, False, None),
        ({"pre_tokenizer": {**BYTES, "use_regex": False}}, False, None),
        ({"pre_tokenizer": PIECES}, True, True),
        ({"pre_tokenizer": {**PIECES, "prepend_scheme": "never"}}, True, False),
        ({"pre_tokenizer": {**PIECES, "split": True}}, True, None),
        ({"normalizer": TO_PIECES}, True, False),
        (
            {
                "normalizer": {
                    "type": "Sequence",
                    "normalizers": [{"type": "Prepend", "prepend": "▁"}, TO_PIECES],
                }
            },
            True,
            True,
        ),
        ({"normalizer": {"type": "Lowercase"}}, True, None),
        ({}, True, None),
    ],
)
def test_how_texts_are_cut_is_written_or_refused(
    changed: dict[str, Any], byte_fallback: bool, found: object, tmp_path: Path
) -> None:
    import gguf

    model = {"type": "BPE", "byte_fallback": byte_fallback, "vocab": {"a": 0}, "merges": []}
    said = {"model": model, "normalizer": None, "pre_tokenizer": None, "added_tokens": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps({**said, **changed}))
    writer = gguf.GGUFWriter(None, "llama")
    if found is None:
        with pytest.raises(UserError, match=r"llama\.cpp has no name for"):
            add_tokenizer(writer, tmp_path, 1)
        return
    add_tokenizer(writer, tmp_path, 1)
    (values,) = writer.kv_data
    name = "add_space_prefix" if byte_fallback else "pre"
    assert values[f"tokenizer.ggml.{name}"].value == found


@pytest.mark.filterwarnings("ignore")
def test_no_file_is_replaced(language_model: Any, tmp_path: Path) -> None:
    folder, _ = language_model("llama")
    (tmp_path / "model.gguf").write_text("mine")
    with pytest.raises(UserError, match=r"model\.gguf exists already; name a new file"):
        write_gguf(folder, tmp_path / "model.gguf", "F16")
    assert (tmp_path / "model.gguf").read_text() == "mine"
