"""Composing configs, also those of finished runs from the settings in their records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from compress.config.errors import ConfigError

TARGET = "_target_"
CONF = Path(__file__).parents[1] / "conf"  # the yaml files of this package


def compose_config(conf: Path, overrides: Sequence[str], *, hydra: bool = False) -> DictConfig:
    """Composes a config from overrides as `run.py` takes them, with one value each.

    Args:
        conf: the folder of config.yaml.
        overrides: the words.
        hydra: whether to include Hydra's own part, under `hydra`.

    Raises:
        HydraException: an override names something that does not exist.
    """
    with initialize_config_dir(str(conf.resolve())):
        return compose("config", list(overrides), return_hydra_config=hydra)


def compose_with_choices(conf: Path, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """Composes a config; returns it with the choice of each group."""
    whole = compose_config(conf, overrides, hydra=True)
    choices = {str(group): str(name) for group, name in whole.hydra.runtime.choices.items()}
    cfg = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    return cfg, choices


def group_config(conf: Path, group: str, choice: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Composes the config of one group."""
    part: DictConfig = compose_config(conf, [f"{group}={choice}", *overrides])[group]
    return part


def recalled(group: str, default: DictConfig, recorded: Mapping[str, Any]) -> list[str]:
    """Overrides that restore a group's settings from a record.

    Settings that `default`, the group's config without overrides, lacks are ignored: they belong
    to another choice of the group.
    """
    plain = OmegaConf.to_container(default, resolve=True)
    assert isinstance(plain, dict)
    return list(_differences(group, plain, recorded))


def recorded_part(conf: Path, group: str, choice: str, recorded: Mapping[str, Any]) -> DictConfig:
    """Composes the config of one group with a choice and the settings of a record."""
    overrides = recalled(group, group_config(conf, group, choice), recorded)
    return group_config(conf, group, choice, overrides)


def override_keys(overrides: Sequence[str]) -> dict[str, str]:
    """Overrides by the group or dotted key that they set.

    Raises:
        HydraException: one is not an override.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {each.key_or_group: each.input_line or "" for each in parsed}


def check_groups(overrides: Sequence[str], allowed: Sequence[str]) -> None:
    """Checks that overrides set only allowed groups.

    Raises:
        ConfigError: one sets another group.
    """
    for key, words in override_keys(overrides).items():
        if key.partition(".")[0] not in allowed:
            raise ConfigError(f"only settings of {', '.join(allowed)} can be given, got {words}")


def chosen(overrides: Sequence[str], group: str) -> str | None:
    """The choice that overrides select in a group; None if they select none."""
    words = override_keys(overrides).get(group)
    return None if words is None else words.partition("=")[2]


def settings_in(overrides: Sequence[str], group: str) -> list[str]:
    """Overrides of a group's settings, without its choice."""
    keys = override_keys(overrides)
    return [words for key, words in keys.items() if key.startswith(f"{group}.")]


def merged(first: Sequence[str], then: Sequence[str]) -> list[str]:
    """Merges two lists of overrides; the second one wins.

    A choice of a group in the second list removes the first list's settings of that group.
    """
    later = override_keys(then)
    kept = [
        words
        for key, words in override_keys(first).items()
        if key not in later and key.partition(".")[0] not in later
    ]
    return [*kept, *then]


def _differences(
    prefix: str, default: Mapping[Any, Any], recorded: Mapping[str, Any]
) -> Iterator[str]:
    for name, value in default.items():
        key = f"{prefix}.{name}"
        if name == TARGET or name not in recorded or recorded[name] == value:
            continue
        if isinstance(value, dict) and isinstance(recorded[name], dict):
            yield from _differences(key, value, recorded[name])
        else:
            yield f"{key}={literal(recorded[name])}"


def literal(value: Any) -> str:
    """Text of a JSON value in the grammar of Hydra's overrides."""
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, list | tuple):
        return f"[{','.join(literal(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{literal(k)}:{literal(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def without_targets(value: Any) -> Any:
    """The value without `_target_` keys at any depth."""
    if isinstance(value, dict):
        return {key: without_targets(item) for key, item in value.items() if key != TARGET}
    return [without_targets(item) for item in value] if isinstance(value, list) else value


def texts_in(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Key and value of every text in nested mappings and lists; a key is such as `a.b[0].c`."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from texts_in(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, Sequence):
        for number, item in enumerate(value):
            yield from texts_in(item, f"{key}[{number}]")


def dotted(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and text of every setting; an empty mapping counts as a setting."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from dotted(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(value)
