from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import transformers
from transformers.activations import ACT2FN

from compress.config.errors import ConfigError
from compress.interfaces import CompressedModel
from compress.transformer.activations import ACTIVATIONS, set_activation_
from compress.transformer.configs import reread


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("bert", "hidden_act"),
        ("roberta", "hidden_act"),
        ("distilbert", "activation"),
        ("gpt2", "activation_function"),
        ("opt", "activation_function"),
        ("gpt_neox", "hidden_act"),
        ("llama", "hidden_act"),
        ("vit", "hidden_act"),
    ],
)
def test_the_model_is_the_one_that_its_config_builds(
    architecture: str, name: str, teachers: Callable[[str], CompressedModel]
) -> None:
    module = teachers(architecture).module
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    before = copy.deepcopy(module)
    set_activation_(module, "sigmoid")
    assert getattr(module.config, name) == "sigmoid"
    built = type(module)(reread(module.config)).eval()
    built.load_state_dict(module.state_dict())
    batch = module.dummy_inputs
    if architecture == "vit":
        batch = {"pixel_values": torch.rand(1, 3, 8, 8)}
    ours, theirs, old = (each(**batch).logits for each in (module, built, before))
    assert torch.equal(ours, theirs)
    assert not torch.allclose(ours, old, atol=1e-4)


def test_names_are_those_of_transformers_and_have_no_weights() -> None:
    for name in ACTIVATIONS:
        assert not list(ACT2FN[name].parameters()), name


def test_layers_without_a_named_function_are_refused() -> None:
    config = transformers.BertConfig(
        hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8, vocab_size=9
    )
    module = transformers.BertForSequenceClassification(config)
    config.hidden_act = "tanh"
    with pytest.raises(ConfigError, match=r"no activation function that its config names \(hidden"):
        set_activation_(module, "relu")
