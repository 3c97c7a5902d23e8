"""The runs whose runtimes and formats a table of costs compares, from overrides with sweeps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from compress.build import build_run
from compress.config.compose import (
    CONF,
    check_groups,
    compose_config,
    dotted,
    group_config,
    override_keys,
)
from compress.config.construct import construct
from compress.config.ending import one_line
from compress.config.errors import ConfigError, UserError
from compress.costs.space import Costs
from compress.stage.run import Run

ALLOWED = ("teacher", "task", "device", "quantizer", "cache", "seed", "costs")
SWEPT = ("device", "quantizer")


@dataclass(frozen=True)
class Asked:
    """What a table of costs is asked for.

    Attributes:
        runs: by name of a device and a quantizer, such as "cpu_openvino/int8_static".
        words: of each run, the overrides.
        refused: why not for every other pair.
    """

    runs: dict[str, Run]
    words: dict[str, list[str]]
    refused: dict[str, str]
    costs: Costs


def asked_costs(overrides: Sequence[str]) -> Asked:
    """Builds the run of each combination; nothing is loaded yet.

    Args:
        overrides: those of device and quantizer may have several values: device=cpu,cpu_openvino.
            A setting is given to those choices of its group that have it.

    Raises:
        UserError: a setting is wrong, or no combination is possible.
        HydraException: an override names something that does not exist.
    """
    check_groups(overrides, ALLOWED)
    runs, own, refused, cfg = {}, {}, {}, DictConfig({})
    for name, words in _combinations(overrides):
        cfg = compose_config(CONF, ["+costs=default", *words])
        try:
            runs[name] = build_run(cfg)
        except UserError as error:
            refused[name] = one_line(error)
        own[name] = [word for word in words if not word.lstrip("+~").startswith("costs")]
    if not runs:
        reasons = dict.fromkeys(refused.values())
        raise UserError(f"no device and quantizer can be tried: {'; '.join(reasons)}")
    return Asked(runs, own, refused, construct(cfg, "costs", Costs))


def _combinations(overrides: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Name and overrides of each combination."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    axes: list[list[str]] = []
    for override in parsed:
        line = override.input_line or ""
        if not override.is_sweep_override():
            axes.append([line])
            continue
        group = override.key_or_group.partition(".")[0]
        if group not in SWEPT or not override.is_discrete_sweep():
            raise ConfigError(f"only {' and '.join(SWEPT)} can have several values, got {line}")
        key = line.partition("=")[0]
        axes.append([f"{key}={value}" for value in override.sweep_string_iterator()])
    several = {word.partition("=")[0] for axis in axes if len(axis) > 1 for word in axis}
    for combined in itertools.product(*axes):
        words = list(combined)
        choices = _choices(words)
        words = [word for word in words if _fits(word, choices, overrides)]
        name = "/".join(choices.values())
        kept = (word for word in words if word.partition("=")[0] in several)
        settings = [word.partition(".")[2] for word in kept if "." in word.partition("=")[0]]
        yield " ".join([name, *settings]), words


def _choices(words: Sequence[str]) -> dict[str, str]:
    """The choice of each group that is swept."""
    default = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(default, DictConfig)
    found = {
        str(k): str(v) for each in default.defaults if each != "_self_" for k, v in each.items()
    }
    given = {key: words.partition("=")[2] for key, words in override_keys(words).items()}
    return {group: given.get(group, found[group]) for group in SWEPT}


def _fits(word: str, choices: dict[str, str], overrides: Sequence[str]) -> bool:
    """Whether a choice has the setting that an override sets; Hydra refuses what none has."""
    key = word.partition("=")[0].lstrip("+~")
    group, _, setting = key.partition(".")
    if not setting or group not in choices:
        return True
    every = override_keys(overrides).get(group, f"{group}={choices[group]}").partition("=")[2]
    named = [choice for choice in every.split(",") if (CONF / group / f"{choice}.yaml").is_file()]
    having = [choice for choice in named if _has(group, choice, setting)]
    return not having or choices[group] in having


@cache
def _has(group: str, choice: str, setting: str) -> bool:
    plain = OmegaConf.to_container(group_config(CONF, group, choice))
    keys = [key for key, _ in dotted(plain)]
    return any(key == setting or key.startswith(f"{setting}.") for key in keys)
