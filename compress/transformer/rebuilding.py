"""Check that a model can be rebuilt from its folder, before any weight exists.

A model is rebuilt from its config and the shapes of its weights. A layer that the config would
build differently is lost, such as one with a bias that only the first layer has.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compress.config.errors import ConfigError, first_line
from compress.transformer.building import new_module
from compress.transformer.configs import reread
from compress.transformer.stacks import layer_units
from compress.transformer.stored_modules import StoredModule
from compress.transformer.surgery import place_stored_, plain_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Attributes that do not affect what a trained model computes.
UNIMPORTANT = ("training", "gradient_checkpointing", "name_or_path", "warnings_issued")


def check_rebuilds(module: PreTrainedModel, what: str) -> None:
    """Checks that a model would be rebuilt unchanged from its folder.

    Args:
        module: a skeleton.
        what: the setting that changed it, for the message.

    Raises:
        ConfigError: a weight's shape or a module's attribute would differ.
    """
    failed = f"{what}: {type(module).__name__} cannot be built again from its config and shapes"
    try:
        plain = plain_config(module)
        built = _rebuilt(module, plain)
    except Exception as error:  # whatever a model's or a config's own code raises
        raise ConfigError(f"{failed}: {first_line(error)}") from error
    differences = _shape_differences(module, built)
    if plain is None or plain is module.config:
        # Elsewhere the config has other widths than before, and many modules remember widths.
        differences = chain(differences, _fact_differences(module, built))
    for where, ours, theirs in differences:
        raise ConfigError(f"{failed}: {where} would be {theirs}, expected {ours}")


def _rebuilt(module: PreTrainedModel, plain: PretrainedConfig | None) -> PreTrainedModel:
    """The model as `compress.store.artifact` would rebuild it, without weights."""
    with torch.device("meta"):
        built = new_module(type(module), reread(plain or module.config)).eval()
        if plain is None:
            parts = {n: p for n, p in module.named_modules() if isinstance(p, StoredModule)}
            fresh = {name: type(part)(**part.arguments()) for name, part in parts.items()}
            shapes = {name: weight.shape for name, weight in module.named_parameters()}
            place_stored_(built, fresh, shapes)
    return built


def _shape_differences(ours: nn.Module, theirs: nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """The weights whose shapes differ, with both shapes."""
    here, there = (
        {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
        for module in (ours, theirs)
    )
    for name in sorted({*here, *there}):
        if here.get(name) != there.get(name):
            yield name, here.get(name, "absent"), there.get(name, "absent")


def _fact_differences(
    ours: PreTrainedModel, theirs: PreTrainedModel
) -> Iterator[tuple[str, Any, Any]]:
    """The attributes of modules that differ, with both values."""
    parts = dict(theirs.named_modules())
    layers = tuple(f"{name}." for name in layer_units(ours))
    for path, part in ours.named_modules():
        here, there = _facts(part), _facts(parts.get(path))
        inside = f"{path}.".startswith(layers)
        for name in here if "drop" not in path else ():
            # What stands beside the layers may know more kinds of layers than are left.
            beside = name not in there or isinstance(here[name], list)
            if here[name] != there.get(name) and (inside or not beside):
                yield f"{path}.{name}", here[name], there.get(name, "absent")


def _facts(part: nn.Module | None) -> dict[str, Any]:
    """A module's attributes that are numbers, texts or lists of these."""
    if part is None:
        return {"class": "absent"}
    facts = {
        name: value
        for name, value in vars(part).items()
        if not name.startswith("_") and name not in UNIMPORTANT and "drop" not in name
    }
    plain = {name: _listed(value) for name, value in facts.items() if _is_plain(value)}
    return {"class": type(part).__name__, **plain}


def _listed(value: Any) -> Any:
    """Lists instead of tuples, as JSON has them."""
    return list(map(_listed, value)) if isinstance(value, (list, tuple)) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str, type(None), torch.dtype))
