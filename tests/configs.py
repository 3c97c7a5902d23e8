"""Configs as a command composes them, small enough for a test, and what they construct."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from compress.config.construct import construct
from compress.config.settings import Settings
from compress.records.schema import RunStart

S = TypeVar("S", bound=Settings)

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
TINY = (
    "teacher=tiny_random",
    "task.limit=64",
    "device.threads=1",
    "device.benchmark.seconds=0.02",
    "device.benchmark.shapes=[[1,8],[4,16]]",
    "device.benchmark.process_restarts=1",
    "device.benchmark.noise_floor=false",
    "device.benchmark.generation.prompt=6",
    "device.benchmark.generation.new_tokens=3",
    "controls=never",
)
# What sets a key within a group, which Hydra does when all files are composed.
SETTING = re.compile(r"[a-z]\w*(\.\w+)+=")


def compose_config(*overrides: str) -> DictConfig:
    """The config that these overrides compose.

    Files take Hydra most of a tenth of a second, values little: what is composed of files is kept.
    """
    values = [override for override in overrides if SETTING.match(override)]
    cfg = copy.deepcopy(_of_files(tuple(o for o in overrides if o not in values)))
    ConfigLoaderImpl._apply_overrides_to_config(
        OverridesParser.create().parse_overrides(values), cfg
    )
    return cfg


@functools.cache
def _of_files(overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf")):
        return compose("config", list(overrides))


def blank_record(cfg: DictConfig | None = None) -> RunStart:
    """What is known of a run that has not begun."""
    groups = cfg or {}
    return RunStart(
        started="2026-01-01T00:00:00+00:00",
        seed=0,
        choices={str(name): "tiny" for name in groups},
        overrides=(),
        config={},
    )


def settings_of(group: str, name: str, *overrides: str) -> Settings:
    """The object that a yaml constructs."""
    cfg = compose_config("teacher=tiny_random", f"{group}={name}", *overrides)
    made: Settings = construct(cfg, group, Settings)
    return made


def changed(made: S, **settings: Any) -> S:
    """Settings with other values; a mapping changes the settings inside of that name."""
    inner = {
        name: replace(getattr(made, name), **value) if isinstance(value, dict) else value
        for name, value in settings.items()
    }
    return replace(made, **inner)


def needed(group: str, name: str) -> list[str]:
    """Overrides for what a yaml leaves to the user, `???`."""
    cfg = OmegaConf.load(ROOT / "conf" / group / f"{name}.yaml")
    return [f"{group}.{key}=somewhere" for key in sorted(OmegaConf.missing_keys(cfg))]


def yaml_names(group: str) -> Sequence[str]:
    """Every choice of a config group, found by glob."""
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
