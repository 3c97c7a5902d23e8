"""Range checks of a checkpoint's config.json, before the model is built.

transformers checks the type of most values and not their range: it would build a model without
layers, take forever to build one with a billion layers, and fail on NaN only in the loss.
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

# Names of transformers, which configs may map to others; the values must be above 0.
CORE = (
    "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings",
    "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "image_size", "patch_size", "num_channels",
)  # fmt: skip
SIZE = re.compile(r"(n|d|num)_.+|.+_(size|dim|layers?|heads?|positions?|embd|embeddings|channels)")
LAYERS = re.compile(r"(.+_)?layers?")
MOST_LAYERS = 10_000  # ten times as many as the deepest transformer ever trained
RATE = re.compile(r".*(dropout|pdrop)(_prob|_rate)?")
CHUNK = "chunk_size_feed_forward"  # in every config, and never checked by transformers
LENGTH = 300  # characters of a library's message


def check_values(folder: Path, config: PreTrainedConfig) -> None:
    """Checks the values of a config and of its sub-configs.

    Raises:
        UserError: a value is out of range.
    """
    try:
        _check_values(config)
    except UserError as error:
        raise UserError(f"{folder} has no usable config: {error}") from error


def error_text(error: BaseException) -> str:
    """A library's error message on one line; with the type unless OSError or ValueError."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LENGTH else f"{text[:LENGTH]}…"
    plain = isinstance(error, OSError | ValueError) and text
    return text if plain else f"{type(error).__name__}: {text}"


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
    """Checks one value by its name and the architecture's default."""
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
