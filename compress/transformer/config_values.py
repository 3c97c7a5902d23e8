"""What a checkpoint's config.json says, held against what such a model can be before it is built.

transformers checks the kind of most values. It does not check their range, so that a model without
layers is built, one of a billion layers is still being built tomorrow, and NaN is found in a loss.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.config.errors import UserError
from compress.config.explain import shown

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# By transformers' own names; configs may have others for them. Zero is none of a model.
CORE = (
    "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings",
    "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "image_size", "patch_size", "num_channels",
)  # fmt: skip
SIZE = re.compile(r"(n|d|num)_.+|.+_(size|dim|layers?|heads?|positions?|embd|embeddings|channels)")
LAYERS = re.compile(r"(.+_)?layers?")
MOST_LAYERS = 10_000  # ten times those of the deepest transformers that were ever trained
RATE = re.compile(r".*(dropout|pdrop)(_prob|_rate)?")
CHUNK = (
    "chunk_size_feed_forward"  # the one number that transformers has everywhere and never checks
)
LENGTH = 300  # characters of a library's message


def check_values(folder: Path, config: PreTrainedConfig) -> None:
    """Checks the values of a config and of those in it.

    Raises:
        UserError: one cannot be of a model; says which.
    """
    try:
        _check_values(config)
    except UserError as error:
        raise UserError(f"{folder} has no usable config: {error}") from error


def told(error: BaseException) -> str:
    """What a library says of a folder, in a line; with the kind of error, if that tells more."""
    words = " ".join(str(error).split())
    words = words if len(words) <= LENGTH else f"{words[:LENGTH]}…"
    plain = isinstance(error, OSError | ValueError) and words
    return words if plain else f"{type(error).__name__}: {words}"


def _check_values(config: PreTrainedConfig) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    own = vars(config)
    for name, default in defaults.items():
        _check_value(name, own.get(name, default), default)
    for name in CORE:
        own_name = config.attribute_map.get(name, name)
        default = defaults.get(own_name)
        if own.get(own_name) == 0 and type(default) is int and default > 0:
            raise UserError(f"{own_name} must be > 0, got 0")
    for name, value in own.items():
        if dataclasses.is_dataclass(value) and name in config.sub_configs:
            _check_values(value)
        elif any(map(math.isnan, _floats(value))):
            raise UserError(f"{name} must be a number, got {shown(value)}")


def _check_value(name: str, value: Any, default: Any) -> None:
    """One value, held against what the architecture has where a config says nothing."""
    if isinstance(default, bool):
        if not isinstance(value, bool) and value is not None:
            raise UserError(f"{name} must be true or false, got {shown(value)}")
    elif isinstance(default, int | float) and math.isfinite(default):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name} must be finite, got {value}")
        if isinstance(value, str):
            raise UserError(f"{name} must be a number, got {shown(value)}")
        if name == CHUNK and (type(value) is not int or value < 0):
            raise UserError(f"{name} must be an integer >= 0, got {shown(value)}")
        if RATE.fullmatch(name) and isinstance(value, int | float) and not 0 <= value <= 1:
            raise UserError(f"{name} must be in [0, 1], got {value}")
        if type(value) is int and SIZE.fullmatch(name) and value < 0 < default:
            raise UserError(f"{name} must not be below 0, got {value}")
        if type(value) is int and LAYERS.fullmatch(name) and value > MOST_LAYERS:
            raise UserError(f"{name} must be at most {MOST_LAYERS}, got {shown(value)}")


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _floats(item)
