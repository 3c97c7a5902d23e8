"""Language models generate in ONNX Runtime and OpenVINO what transformers generates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from compress.config.errors import UserError
from compress.runtime.components.onnx_export import export_program
from compress.runtime.components.openvino_state import keep_state_
from compress.serve.folder import RunSpec
from compress.serve.onnxruntime import GRAPH as ONNX_GRAPH
from compress.serve.onnxruntime import OnnxSession
from compress.serve.openvino import GRAPH, OpenVinoSession, import_openvino
from compress.serve.session import Session
from tests.sizes import ARCHITECTURES

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")

VOCABULARY, POSITIONS, NEW = 97, 40, 20
DECODERS = (
    "gpt2",
    "gemma2",  # grouped queries, windows of 8 tokens, and a function behind the last product
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("llama", "mistral", "qwen2", "qwen3", "gemma3", "opt", "gpt_neox", "phi")
    ),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("phi3", "bloom", "falcon")),
)


def language_model(name: str) -> Any:
    """Random weights, in layers so large that the likeliest token depends on those before it."""
    architecture = ARCHITECTURES[name]
    sizes = {**architecture.sizes, "vocab_size": VOCABULARY}
    special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0)
    config = transformers.AutoConfig.for_model(architecture.kind, **sizes, **special)
    torch.manual_seed(0)
    module = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for path, parameter in module.named_parameters():
            if any(part.isdigit() for part in path.split(".")) and parameter.dim() > 1:
                parameter.mul_(10)
    return module


def sessions(module: Any, folder: Path) -> list[Session]:
    """The model in both runtimes."""
    tokens = torch.ones(3, 7, dtype=torch.long)
    graph, _ = export_program(module, {"input_ids": tokens})
    (folder / ONNX_GRAPH).write_bytes(graph.SerializeToString())
    openvino = import_openvino()
    stateful = openvino.Core().read_model(folder / ONNX_GRAPH)
    keep_state_(stateful)
    openvino.save_model(stateful, folder / GRAPH, compress_to_fp16=False)
    options = {"positions": POSITIONS, "specialize": True, "activation_group": None}
    onnx = RunSpec("onnxruntime", "", options={**options, "precision": "float32"})
    vino = RunSpec("openvino", "", options={**options, "precision": "f32"})
    return [OnnxSession(folder, onnx, 1), OpenVinoSession(folder, vino, 1)]


def expected(module: Any, prompt: Tensor) -> list[int]:
    found = module.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, min_new_tokens=NEW,
        max_new_tokens=NEW, eos_token_id=None,
    )  # fmt: skip
    tokens: list[int] = found[0, prompt.shape[1] :].tolist()
    return tokens


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DECODERS)
def test_tokens_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    module = language_model(name)
    prompts = [torch.randint(1, VOCABULARY, (1, length)) for length in (9, 1)]
    wanted = [expected(module, prompt) for prompt in prompts]
    assert len({*wanted[0], *wanted[1]}) > 1
    texts = torch.randint(1, VOCABULARY, (3, 12))
    with torch.no_grad():
        logits = module(input_ids=texts).logits
    for session in sessions(module, tmp_path):
        assert session.decodes
        assert [list(session.decode(prompt.numpy(), NEW)) for prompt in prompts] == wanted
        # What was generated before is not remembered, also once a shape is compiled for itself.
        for _ in range(10):
            found = torch.from_numpy(session.run({"input_ids": texts.numpy()}))
            assert torch.allclose(found, logits, atol=1e-4 * float(logits.abs().max()))
        left = {"input_ids": texts.numpy(), "attention_mask": np.ones((3, 12), dtype=np.int64)}
        left["attention_mask"][1, 0] = 0
        with pytest.raises(UserError, match="padded on the left"):
            session.run(left)
        with pytest.raises(UserError, match="21 tokens cannot go on for 21: the model takes at m"):
            list(session.decode(torch.ones(1, 21, dtype=torch.long).numpy(), 21))
        assert len(list(session.decode(torch.ones(1, 21, dtype=torch.long).numpy(), 20))) == 20
