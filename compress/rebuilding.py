"""What a folder of a model would be read back as, found out before there is any weight.

A model is read back from its config and the shapes of its weights. What neither of them says is
lost: a layer that the config would build otherwise, such as one with a bias that only the first
layer has, or with another kind of attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compress.modules import StoredModule
from compress.settings import ConfigError
from compress.sources import first_line
from compress.surgery import place_stored_, plain_config, reread

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Attributes that say nothing of what a model computes once it is trained.
UNIMPORTANT = ("training", "gradient_checkpointing", "name_or_path", "warnings_issued")


def check_rebuilds(module: PreTrainedModel, what: str) -> None:
    """Checks that a model would be read back from its folder as it is.

    Args:
        module: a skeleton.
        what: made it so, for the message.

    Raises:
        ConfigError: it would not; names what differs.
    """
    try:
        built = _rebuilt(module)
    except Exception as error:  # whatever a model's or a config's own code raises
        raise ConfigError(
            f"{what}: {type(module).__name__} cannot be built again from its config and shapes: "
            f"{first_line(error)}"
        ) from error
    for where, ours, theirs in _differences(module, built):
        raise ConfigError(
            f"{what}: {type(module).__name__} cannot be built again from its config and shapes: "
            f"{where} would be {theirs}, expected {ours}"
        )


def _rebuilt(module: PreTrainedModel) -> PreTrainedModel:
    """The model as it would be read back, without weights; see `compress.artifact`."""
    plain = plain_config(module)
    with torch.device("meta"):
        built = type(module)(reread(plain or module.config)).eval()
        if plain is None:
            parts = {n: p for n, p in module.named_modules() if isinstance(p, StoredModule)}
            fresh = {name: type(part)(**part.arguments()) for name, part in parts.items()}
            shapes = {name: weight.shape for name, weight in module.named_parameters()}
            place_stored_(built, fresh, shapes)
    return built


def _differences(ours: nn.Module, theirs: nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """What, here and there: shapes of weights, classes of modules and their attributes."""
    shapes = [
        {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
        for module in (ours, theirs)
    ]
    yield from _unequal("", *shapes)
    parts = [dict(module.named_modules()) for module in (ours, theirs)]
    for name in (name for name in parts[0] if "drop" not in name):
        yield from _unequal(f"{name}.", *(_facts(each.get(name)) for each in parts))


def _unequal(
    prefix: str, ours: dict[str, Any], theirs: dict[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*ours, *theirs}):
        one, other = (facts.get(name, "absent") for facts in (ours, theirs))
        if one != other:
            yield f"{prefix}{name}", one, other


def _facts(part: nn.Module | None) -> dict[str, Any]:
    """What a module remembers: numbers, words and lists of these."""
    if part is None:
        return {"class": "absent"}
    facts = {
        name: value
        for name, value in vars(part).items()
        if not name.startswith("_") and name not in UNIMPORTANT and "drop" not in name
    }
    plain = {name: value for name, value in facts.items() if _is_plain(value)}
    return {"class": type(part).__name__, **plain}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str, type(None), torch.dtype))
