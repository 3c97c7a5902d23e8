"""The activation function of a transformer's feed-forward layers, and its replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers.activations import ACT2FN

from compress.config.errors import ConfigError
from compress.transformer.stacks import find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The names of transformers that every runtime exports, without those that have weights.
ACTIVATIONS = (
    *("relu", "relu2", "relu6", "leaky_relu", "gelu", "gelu_new", "gelu_pytorch_tanh"),
    *("quick_gelu", "silu", "mish", "tanh", "sigmoid"),
)
# What architectures call the setting.
NAMES = ("hidden_act", "hidden_activation", "activation", "activation_function")


def set_activation_(module: PreTrainedModel, activation: str) -> None:
    """Replaces the activation function inside the layers, and its name in the config.

    Args:
        module: changes in place; its weights stay as they are.
        activation: one of `ACTIVATIONS`.

    Raises:
        ConfigError: the config names none, or the layers do not have the one that it names.
    """
    named = _named(module)
    kinds = tuple(type(ACT2FN[value]) for value in named.values() if value in ACT2FN)
    found = [
        (block, path)
        for block in find_stack(module).blocks
        for path, part in block.named_modules()
        if isinstance(part, kinds)
    ]
    if not found:
        raise ConfigError(
            f"the layers of {type(module).__name__} have no activation function that its config "
            f"names ({', '.join(named) or 'none'})"
        )
    for block, path in found:
        block.set_submodule(path, ACT2FN[activation])
    for name in named:
        setattr(module.config, name, activation)


def activation_name(module: PreTrainedModel) -> str:
    """The name of the activation function in the config; "" if it names none."""
    return next(iter(_named(module).values()), "")


def _named(module: PreTrainedModel) -> dict[str, str]:
    """The activation functions that the config names, by setting."""
    config = vars(module.config)
    return {name: config[name] for name in NAMES if isinstance(config.get(name), str)}
