"""An experiment as a yaml defines it: named rows of overrides, and what they are set beside."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from compress.analysis.goals import Constraint, baseline_of, parse_bound
from compress.config.errors import ConfigError
from compress.records.metrics import METRICS
from compress.records.schema import FinishedRun

KEYS = frozenset(
    ("name", "source", "metric", "row", "options", "rows", "cross", "published", "goals")
)
SAVED = "saved"  # of the baseline's bytes, as a share: what papers mostly give
ROW = "experiment.row"
CROSS = "experiment.cross"

# A figure, or by task what it was there.
Published: TypeAlias = float | Mapping[str, float]
Point: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One run of an experiment.

    Attributes:
        overrides: what makes it this row.
        published: by figure, what was published of it.
        goals: what it has to reach.
    """

    overrides: tuple[str, ...]
    published: Mapping[str, Published]
    goals: tuple[Constraint, ...]

    def published_on(self, figure: str, task: str | None) -> float | None:
        """What was published of a figure on a task; None if nothing was."""
        found = self.published.get(figure)
        return found.get(task or "") if isinstance(found, Mapping) else found


@dataclass(frozen=True)
class Experiment:
    """A published result, or a table, to redo.

    Attributes:
        source: where the published figures are from, in words.
        metric: the score that the table shows first.
        rows: by name, in order.
        cross: sweeps in Hydra's grammar, such as "task=mrpc,sst2"; every row is run at each point.
    """

    name: str
    source: str
    metric: str
    rows: Mapping[str, Row]
    cross: tuple[str, ...]


def parse_experiment(settings: Any) -> Experiment:
    """Reads `experiment` of a config, its interpolations resolved.

    Raises:
        ConfigError: a key is missing or unknown, or a value is invalid.
    """
    if not isinstance(settings, Mapping) or set(settings) != KEYS:
        got = ", ".join(map(str, settings)) if isinstance(settings, Mapping) else settings
        raise ConfigError(f"experiment must have {', '.join(sorted(KEYS))}; got {got}")
    rows = _mapping("rows", settings["rows"])
    published, goals = (_mapping(key, settings[key]) for key in ("published", "goals"))
    for key, named in (("published", published), ("goals", goals)):
        if unknown := sorted(named.keys() - rows.keys()):
            raise ConfigError(
                f"experiment.{key} has {', '.join(unknown)}; the rows are {', '.join(rows)}"
            )
    metric, cross = settings["metric"], settings["cross"] or ()
    if not isinstance(cross, Sequence) or isinstance(cross, str):
        raise ConfigError(f"{CROSS} must be a list of sweeps, got {cross!r}")
    if not isinstance(settings["row"], str | None):
        raise ConfigError(f"{ROW} must be the name of a row, got {settings['row']!r}")
    _check_figures("metric", [metric])
    return Experiment(
        name=str(settings["name"]),
        source=str(settings["source"]),
        metric=metric,
        rows={
            name: Row(
                _flat(name, overrides),
                _published(name, published.get(name) or {}),
                _goals(name, goals.get(name) or {}),
            )
            for name, overrides in rows.items()
        },
        cross=tuple(map(str, cross)),
    )


def points(cross: Iterable[str]) -> list[Point]:
    """Every combination of the values of some sweeps; a single empty one without a sweep.

    Raises:
        ConfigError: one cannot be read, or has no end of values.
    """
    return list(itertools.product(*map(_values, cross)))


def parse_arguments(
    arguments: Sequence[str],
) -> tuple[list[str], list[str], list[str] | None]:
    """A command line as overrides of every run, sweeps, and rows asked for; None for all rows."""
    fixed, sweeps, rows = [], {}, None
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        words = override.input_line or ""
        if key_of(words) == ROW:
            rows = [each.partition("=")[2] for each in _values(words)]
        elif override.is_sweep_override():
            sweeps[key_of(words)] = words
        else:
            fixed.append(words)
    return fixed, list(sweeps.values()), rows


def key_of(words: str) -> str:
    """What an override sets: a group, with its package if it has one, or a dotted key."""
    return words.partition("=")[0].lstrip("+~")


def group_of(words: str) -> str:
    """The group that an override is about: what its key begins with."""
    return key_of(words).partition(".")[0]


def joined(row: Iterable[str], given: Sequence[str]) -> list[str]:
    """A row's overrides and those given, which have the last word.

    A choice of a group that is given ends the row's choice and all of its settings in that group.
    """
    later = set(map(key_of, given))
    kept = [each for each in row if not {key_of(each), group_of(each)} & later]
    return [*kept, *given]


def check_row(settings: Any, overrides: Sequence[str]) -> None:
    """Checks that a run made by some overrides is a row of its config's `experiment`, if any.

    Raises:
        ConfigError: no row is named, or one whose overrides are not there.
    """
    if settings is None:
        return
    experiment, name = parse_experiment(settings), settings["row"]
    wanted = ""
    if name is not None:
        selected(experiment, [name])
        given = set(map(key_of, overrides))
        needed = experiment.rows[name].overrides
        if all({key_of(each), group_of(each)} & given for each in needed):
            return
        wanted = f" {ROW}={name}"
    raise ConfigError(
        f"experiment {experiment.name} is {len(experiment.rows)} runs ({', '.join(experiment.rows)}"
        f"), started by python run.py -m +experiment={experiment.name}{wanted}"
    )


def selected(experiment: Experiment, names: Iterable[str] | None) -> list[str]:
    """The rows to run, in order: all, or those named.

    Raises:
        ConfigError: the row does not exist.
    """
    if names is None:
        return list(experiment.rows)
    wanted = list(names)
    for name in wanted:
        if name not in experiment.rows:
            raise ConfigError(f"{ROW} must be among {', '.join(experiment.rows)}; got {name}")
    return [name for name in experiment.rows if name in wanted]


def figure(record: FinishedRun, name: str) -> float:
    """A figure of a run that bears some; NaN if this one was not measured."""
    if name != SAVED:
        return float(METRICS[name].read(record))
    size = METRICS["size_bytes"].read
    return 1 - size(record) / size(baseline_of(record))


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or (key == "rows" and not value):
        raise ConfigError(f"experiment.{key} must be a mapping, got {value!r}")
    return {str(name): each for name, each in value.items()}


def _flat(name: str, parts: Any) -> tuple[str, ...]:
    """A row's overrides; a list among them stands for what is in it, and later ones win."""
    if not name.isidentifier():
        raise ConfigError(
            f"experiment.rows: {name!r} is not a valid row name; allowed: letters, digits and _"
        )
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise ConfigError(f"experiment.rows.{name} must be a list of overrides, got {parts!r}")
    found: list[str] = []
    for part in parts:
        found = joined(found, [part] if isinstance(part, str) else list(_flat(name, part)))
    for override in _parsed(f"experiment.rows.{name}", found):
        if override.is_sweep_override():
            raise ConfigError(
                f"experiment.rows.{name} has the sweep {override.input_line}: a row is one run; "
                "sweeps go into experiment.cross"
            )
    return tuple(found)


def _values(words: str) -> list[str]:
    [override] = _parsed(CROSS, [words])
    if not override.is_sweep_override():
        return [words]
    if not isinstance(override.value(), ChoiceSweep | RangeSweep):
        raise ConfigError(f"{CROSS} takes lists, choices and ranges, got {words}")
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _parsed(where: str, words: Sequence[str]) -> Iterator[Override]:
    for each in words:
        try:
            yield from OverridesParser.create().parse_overrides([each])
        except HydraException as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{where}: {each!r} is not an override: {reason}") from error


def _published(row: str, figures: Any) -> dict[str, Published]:
    where = f"published.{row}"
    named: dict[str, Published] = _mapping(where, figures)
    _check_figures(where, named)
    for name, value in named.items():
        values = value.values() if isinstance(value, Mapping) else [value]
        if not all(isinstance(each, int | float) for each in values):
            raise ConfigError(
                f"experiment.{where}.{name} must be a number, or one for each task, got {value!r}"
            )
    return named


def _goals(row: str, bounds: Any) -> tuple[Constraint, ...]:
    where = f"goals.{row}"
    bounds = _mapping(where, bounds)
    return tuple(parse_bound(f"experiment.{where}", n, str(text)) for n, text in bounds.items())


def _check_figures(where: str, names: Iterable[Any]) -> None:
    allowed = (*METRICS, SAVED)
    if unknown := [str(name) for name in names if name not in allowed]:
        raise ConfigError(
            f"experiment.{where} must be among {', '.join(allowed)}; got {', '.join(unknown)}"
        )
