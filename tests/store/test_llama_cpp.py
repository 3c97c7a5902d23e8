"""GGUF files as llama.cpp itself reads them: the tokens of a text, and what it goes on with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from compress.store import gguf_file
from compress.store.gguf_file import write_gguf
from tests.architectures import build, lively_
from tests.store.test_gguf_file import FAMILIES, TEXT

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp", reason="llama.cpp is installed on Linux alone")

MORE = 16  # tokens
CASES = [*FAMILIES.items(), ("llama", {"attention_bias": True, "mlp_bias": True})]
# Its log goes to the terminal, so that it has a process of its own.
READER = """
import json, sys, xllamacpp
path, text, count, never, out = sys.argv[1:]
settings = xllamacpp.CommonParams()
settings.model.path, settings.n_ctx, settings.warmup = path, 128, False
settings.cpuparams.n_threads = 1
answer = xllamacpp.Server(settings).handle_completions({
    "prompt": text, "temperature": 0, "n_predict": int(count), "ignore_eos": True, "logprobs": 1,
    "logit_bias": [[token, False] for token in json.loads(never)],
})
open(out, "w").write(json.dumps(answer))
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "changed"), CASES)
def test_greedy_tokens_are_those_of_transformers(
    name: str, changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build(name, tmp_path / name, **changed)
    config = transformers.AutoConfig.from_pretrained(folder)
    module = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    lively_(module, 0)
    monkeypatch.setattr(gguf_file, "_read", lambda _: module)
    path = write_gguf(folder, tmp_path / "model.gguf", "F32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXT, return_tensors="pt").input_ids
    # It names no token that is a part of a character.
    never = [token for token in range(len(tokenizer)) if "\ufffd" in tokenizer.decode([token])]
    expected = tokens
    with torch.no_grad():
        for _ in range(MORE):
            logits = module(expected).logits[:, -1]
            logits[:, [*never, config.eos_token_id]] = float("-inf")
            expected = torch.cat([expected, logits.argmax(dim=-1)[None]], dim=1)
    out = tmp_path / "answer.json"
    arguments = (path, TEXT, str(MORE), json.dumps(never), out)
    subprocess.run(
        [sys.executable, "-c", READER, *arguments], check=True, capture_output=True, timeout=120
    )
    answer = json.loads(out.read_text())
    assert answer["usage"]["prompt_tokens"] == tokens.shape[1]
    found = [each["id"] for each in answer["choices"][0]["logprobs"]["content"]]
    assert found == expected[0, tokens.shape[1] :].tolist()
    assert len(set(found)) > 1
