"""Output layers of language models that are the embedding table, in integers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.interfaces import CompressedModel
from compress.store.artifact import read_model, write_model
from compress.transformer.blocks import every_linear
from compress.transformer.quantized_embedding import TiedOutput, quantize_embeddings_
from compress.transformer.stacks import tied_output
from compress.transformer.stored_modules import named_weights
from tests.tiny import tiny_teacher

IDS = torch.tensor([[5, 9, 3, 77, 12], [1, 2, 3, 4, 5]])


def language_model(architecture: str) -> Any:
    torch.manual_seed(0)
    return tiny_teacher(architecture, 2)._module("language_model", {}).eval()


@pytest.mark.parametrize(
    ("architecture", "shares"), [("gpt2", True), ("opt", True), ("llama", False)]
)
def test_an_output_layer_that_is_the_table_is_no_linear_of_its_own(
    architecture: str, shares: bool
) -> None:
    module = language_model(architecture)
    output = next(n for n, p in module.named_modules() if p is module.get_output_embeddings())
    assert (output in dict(every_linear(module))) is not shares
    assert (tied_output(module) is not None) is shares


@torch.no_grad()
@pytest.mark.parametrize("choice", ["int8", "int4"])
def test_lookups_and_output_read_the_same_integers(
    choice: str, teacher: CompressedModel, tmp_path: Path
) -> None:
    module = language_model("gpt2")
    output, table = tied_output(module) or ("", "")
    plain, weights = copy.deepcopy(module), dict(named_weights(module))
    quantize_embeddings_(module, choice)
    assert isinstance(module.get_submodule(output), TiedOutput)
    for name, part in plain.named_modules():
        if isinstance(part, torch.nn.Embedding):
            part.weight.copy_(module.get_submodule(name).matrix())  # type: ignore[operator]
    expected = plain(IDS).logits
    assert torch.allclose(module(IDS).logits, expected, atol=1e-6)
    assert list(dict(named_weights(module))) == list(weights)
    write_model(replace(teacher, module=module), tmp_path / "model", "torch")
    read = read_model(tmp_path / "model")
    assert torch.allclose(read(IDS).logits, expected, atol=1e-6)
    layer: Any = read.get_submodule(output)
    assert layer.table is read.get_submodule(table)
    assert torch.allclose(copy.deepcopy(read)(IDS).logits, expected, atol=1e-6)
