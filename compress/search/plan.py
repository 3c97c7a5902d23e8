"""The settings of a search, read and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import cache
from typing import Annotated, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from pydantic.dataclasses import dataclass

from compress.analysis.goals import Goals, parse_goals
from compress.config.compose import dotted, without_targets
from compress.config.construct import build
from compress.config.errors import ConfigError
from compress.config.explain import shown
from compress.config.fields import OneOf, Positive, PositiveInt
from compress.config.settings import Settings
from compress.search.grammar import parse_space
from compress.search.limits import ALL, FRONT, EarlyStopping
from compress.search.sampler import SamplerSettings
from compress.search.space import Space, no_choice_has
from compress.search.storage import FRONTIER
from compress.store.folder_locks import HOW
from compress.system.processes import physical_cores

# Parts of `search` that its trials know, so that their records say what was searched for.
TOLD = ("name", "space", "objectives", "constraints", "split")
# Keys of `search` that define the plan; the others are `SearchSettings`.
WHAT = {"space", "objectives", "constraints", "split", "frontier"}


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Settings):
    """How a search is run.

    Attributes:
        name: name of the study and of the search's folder.
        workers: number of trials in parallel.
        storage: "sqlite" or "journal" for a file in the folder, or the URL of a database.
        sampler: Optuna sampler, by name, with a seed and options.
        seed_points: points to run first, each a mapping of dimensions to values.
        trial_timeout: time limit of a trial in seconds; null for no limit.
        early_stopping: check of models during training; null for none.
        keep_artifacts: "front" keeps only the models of the best trials, "all" keeps every model.
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
        """Raises a ConfigError if a value is out of range."""
        super().__post_init__()
        if self.name in ("", ".", "..") or set(self.name) & set("/\\"):
            raise ConfigError(
                f"SearchSettings.name must be the name of one folder, got {self.name!r}"
            )
        self.sampler.make()


@dataclasses.dataclass(frozen=True)
class Plan:
    """The space, the goals and the fixed overrides of a search.

    Attributes:
        fixed: overrides of every job.
        definition: texts by key that must be equal when a search is resumed.
        left_out: lines on dimensions of the search's file that no choice has.
    """

    space: Space
    goals: Goals
    fixed: tuple[str, ...]
    definition: Mapping[str, str]
    left_out: tuple[str, ...] = ()


def read_settings(config: DictConfig) -> SearchSettings:
    """Reads `SearchSettings`; a ConfigError if a setting is missing, unknown or wrong."""
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
    sampler = build(
        "search.sampler", SamplerSettings, {**sampler, "options": sampler["options"] or {}}
    )
    look = search["early_stopping"]
    if look is not None:
        if not isinstance(look, dict) or set(look) != {"after", "margin"}:
            raise ConfigError(f"search.early_stopping must have after and margin, got {look}")
        look = build("search.early_stopping", EarlyStopping, look)
    kept = {key: value for key, value in search.items() if key in names}
    return build("search", SearchSettings, {**kept, "sampler": sampler, "early_stopping": look})


def make_plan(config: DictConfig, context: HydraContext, arguments: Sequence[str]) -> Plan:
    """Reads the space, the goals and the overrides of every job; a ConfigError if one is wrong."""
    search = _search(config)
    entries, named, fixed = _read(search, arguments)
    goals = parse_goals(search.get("objectives"), search.get("constraints"), search.get("split"))
    if not entries:
        raise ConfigError("search.space has no dimension")

    has_key = _key_finder(config, context, fixed)
    left_out = list(_narrow_conditions_(entries, named))
    whole = parse_space(entries)
    lacking = dict(whole.lacking(_choices(config), has_key))
    for key in lacking:
        if key in named:
            raise no_choice_has(key, lacking[key])
    # The others are what the search's file asks of choices that the command line has replaced.
    space = whole.without(lacking).restricted(has_key)
    shared = OmegaConf.masked_copy(config, [str(key) for key in config if key not in HOW])
    definition = {
        **{f"search.space.{key}": words for key, words in space.describe().items()},
        **{f"search.{key}": words for key, words in goals.describe().items()},
        **{f"{FRONTIER}{k}": shown(value) for k, value in (search.get("frontier") or {}).items()},
        **_choices(config),
        **dict(dotted(without_targets(OmegaConf.to_container(shared, resolve=True)))),
    }
    for key, choices in lacking.items():
        group = key.partition(".")[0]
        left_out.append(f"left out: {key}, which {group}={','.join(choices)} does not have")
    return Plan(space, goals, tuple(fixed), definition, tuple(left_out))


def _key_finder(
    config: DictConfig, context: HydraContext, fixed: Sequence[str]
) -> Callable[[str, str, str], bool]:
    """Whether a choice of a group has a key, from (group, choice, key)."""

    @cache  # composing takes most of the time that a search needs to start
    def composed(group: str, choice: str) -> DictConfig:
        others = [word for word in fixed if not word.lstrip("+~").startswith(f"{group}.")]
        return context.config_loader.load_sweep_config(config, [*others, f"{group}={choice}"])

    def has_key(group: str, choice: str, key: str) -> bool:
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(composed(group, choice), parent)
        return OmegaConf.is_dict(node) and name in node

    return has_key


def _read(
    search: dict[str, Any], arguments: Sequence[str]
) -> tuple[dict[str, Any], set[str], list[str]]:
    """Entries of the space, keys that the command line names, and its overrides of every job."""
    entries: dict[str, Any] = dict(search.get("space") or {})
    named, fixed = set(), []
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        key, line = override.key_or_group, override.input_line or ""
        if key.startswith("search.space.") and not override.is_delete():
            words = f"{key.removeprefix('search.space.')}={line.partition('=')[2]}"
            raise ConfigError(f"a dimension is set by its own key, {words}; got {line}")
        named |= set(entries) if key.startswith("search.space") else {key}
        if override.is_sweep_override():
            entries[key] = line.partition("=")[2]
        elif key in entries or ("." in key and key.partition(".")[0] in entries):
            # As a choice of one value, so that conditions on it still work.
            entries[key] = f"choice({line.partition('=')[2]})"
        elif not key.startswith("search.") or key.split(".")[1] in TOLD:
            fixed.append(line)
    return entries, named, fixed


def _narrow_conditions_(entries: dict[str, Any], named: Set[str]) -> Iterator[str]:
    """Takes values that the command line has excluded out of the file's conditions.

    Yields:
        A line on each dimension that is left out, as no value of its condition is left.
    """
    for key, entry in list(entries.items()):
        conditions = entry.get("when") if isinstance(entry, Mapping) else None
        if key in named or not isinstance(conditions, Mapping):
            continue
        for other in conditions.keys() & entries.keys() & named:
            [dimension] = parse_space({other: entries[other]}).dimensions
            values = {str(value) for value in dimension.every_value() or ()}
            kept = [value for value in conditions[other] if str(value) in values]
            if values and not kept:
                wanted = ",".join(map(str, conditions[other]))
                yield f"left out: {key}, which needs {other}={wanted}"
                del entries[key]
                break
            if values:
                conditions = {**conditions, other: kept}
                entries[key] = {**entry, "when": conditions}


def _choices(config: DictConfig) -> dict[str, str]:
    """Choice of each group that belongs to the search's definition."""
    choices = OmegaConf.select(config, "hydra.runtime.choices") or {}
    named = {str(group): str(name) for group, name in choices.items()}
    return {k: v for k, v in named.items() if not {"/", "@"} & set(k) and k not in HOW}


def thread_share(config: DictConfig, workers: int) -> tuple[str, ...]:
    """Override that splits the training threads between workers; empty for one worker.

    Models are timed with all threads, as without a search: the other workers are paused meanwhile.
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
