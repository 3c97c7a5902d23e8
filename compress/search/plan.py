"""The settings of a search, read and checked: what is searched, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from pydantic.dataclasses import dataclass

from compress.analysis.goals import Goals, parse_goals
from compress.config.compose import dotted, without_targets
from compress.config.errors import ConfigError
from compress.config.explain import shown
from compress.config.fields import OneOf, Positive, PositiveInt
from compress.config.settings import Settings
from compress.search.grammar import parse_space
from compress.search.limits import ALL, FRONT, EarlyStopping
from compress.search.sampler import SamplerSettings
from compress.search.space import Space
from compress.store.folder_locks import HOW
from compress.system.processes import physical_cores

# What is searched; the rest of `search` says how.
WHAT = {"space", "objectives", "constraints", "split"}


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Settings):
    """How a search is run.

    Attributes:
        name: of the study and of the search's folder.
        workers: trials that run side by side.
        storage: sqlite or journal for a file in the folder, or a database's URL.
        sampler: one of Optuna's, by name, with a seed and options.
        seed_points: points to run first, each a mapping of dimensions to values.
        trial_timeout: seconds that a trial may take; null for no limit.
        early_stopping: at models in the middle of their training; null for none.
        keep_artifacts: front for the models of the best trials alone, or all.
    """

    name: str
    workers: PositiveInt
    storage: str
    sampler: SamplerSettings
    seed_points: tuple[dict[str, str | int | float | bool], ...]
    trial_timeout: Positive | None
    early_stopping: EarlyStopping | None
    keep_artifacts: Annotated[str, OneOf((FRONT, ALL))]

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: one is outside what it may be.
        """
        super().__post_init__()
        self.sampler.make()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is searched.

    Attributes:
        fixed: the overrides of every job.
        definition: all that makes two searches the same one, in words.
    """

    space: Space
    goals: Goals
    fixed: tuple[str, ...]
    definition: Mapping[str, str]


def read_settings(config: DictConfig) -> SearchSettings:
    """The settings in `search` of how it is run.

    Raises:
        ConfigError: one is missing, unknown or wrong.
    """
    search = _search(config)
    names = {field.name for field in dataclasses.fields(SearchSettings)}
    unknown = sorted(map(str, search.keys() - names - WHAT))
    missing = sorted(names - search.keys())
    if unknown or missing:
        words = [f"lacks {', '.join(missing)}"] if missing else []
        words += [f"has no setting {', '.join(unknown)}"] if unknown else []
        raise ConfigError(f"search {' and '.join(words)}")
    sampler = search["sampler"]
    if not isinstance(sampler, dict) or set(sampler) != {"name", "seed", "options"}:
        raise ConfigError(f"search.sampler must have name, seed and options, got {sampler}")
    sampler = SamplerSettings(**{**sampler, "options": sampler["options"] or {}})
    look = search["early_stopping"]
    if look is not None:
        if not isinstance(look, dict) or set(look) != {"after", "margin"}:
            raise ConfigError(f"search.early_stopping must have after and margin, got {look}")
        look = EarlyStopping(**look)
    kept = {key: value for key, value in search.items() if key in names}
    return SearchSettings(**{**kept, "sampler": sampler, "early_stopping": look})


def make_plan(config: DictConfig, context: HydraContext, arguments: Sequence[str]) -> Plan:
    """Reads the space, the goals, and what every job has in common.

    Raises:
        ConfigError: something is wrong with them.
    """
    search = _search(config)
    entries: dict[str, Any] = dict(search.get("space") or {})
    fixed = []
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        key, line = override.key_or_group, override.input_line or ""
        if override.is_sweep_override():
            entries[key] = line.partition("=")[2]
        elif key in entries or ("." in key and key.partition(".")[0] in entries):
            # As a choice of one, so that what depends on it, or it on its group, goes on doing so.
            entries[key] = f"choice({line.partition('=')[2]})"
        elif not key.startswith("search."):
            fixed.append(line)
    goals = parse_goals(search.get("objectives"), search.get("constraints"), search.get("split"))
    if not entries:
        raise ConfigError("search.space has no dimension")
    space = parse_space(entries).restricted(lambda *which: _has_key(config, context, fixed, *which))
    shared = OmegaConf.masked_copy(config, [str(key) for key in config if key not in HOW])
    definition = {
        **{f"search.space.{key}": words for key, words in space.describe().items()},
        **{f"search.{key}": words for key, words in goals.describe().items()},
        **_choices(config),
        **dict(dotted(without_targets(OmegaConf.to_container(shared, resolve=True)))),
    }
    return Plan(space, goals, tuple(fixed), definition)


def _choices(config: DictConfig) -> dict[str, str]:
    """The choice of each group that says what is searched, not how."""
    choices = OmegaConf.select(config, "hydra.runtime.choices") or {}
    named = {str(group): str(name) for group, name in choices.items()}
    return {k: v for k, v in named.items() if not {"/", "@"} & set(k) and k not in HOW}


def thread_share(config: DictConfig, workers: int) -> tuple[str, ...]:
    """The override that splits the threads for training between workers; none for a single one.

    Models are timed with all threads, as without a search: the other workers are held meanwhile.
    """
    device = config.device
    if workers == 1 or device.get("training_threads", 1) is not None:
        return ()
    threads = device.get("threads") or physical_cores()
    if type(threads) is not int:
        raise ConfigError(f"device.threads must be an integer or null, got {shown(threads)}")
    return (f"device.training_threads={max(1, threads // workers)}",)


def _search(config: DictConfig) -> dict[str, Any]:
    search = OmegaConf.to_container(config.search, resolve=True)
    assert isinstance(search, dict)
    return {str(key): value for key, value in search.items()}


def _has_key(
    config: DictConfig,
    context: HydraContext,
    fixed: Sequence[str],
    group: str,
    choice: str,
    key: str,
) -> bool:
    """Whether a choice of a group has a setting."""
    others = [word for word in fixed if not word.lstrip("+~").startswith(f"{group}.")]
    made = context.config_loader.load_sweep_config(config, [*others, f"{group}={choice}"])
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(made, parent)
    return OmegaConf.is_dict(node) and name in node
