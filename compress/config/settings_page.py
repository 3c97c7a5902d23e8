"""docs/settings.md: every key of the packaged config with its type, range, default and meaning."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from compress.config.compose import TARGET
from compress.config.construct import settings_class
from compress.config.explain import kind_of
from compress.config.settings import Settings

HEAD = """# Settings

Every key of the config; written by `python scripts/settings.py`. `python run.py --cfg job` prints
them with their values. A value outside its range, or of another type, ends a run before it starts.
"""
TABLE = "| key | type and range | default | meaning |\n| --- | --- | --- | --- |\n"
GROUPS = ("teacher", "student", "pruner", "quantizer", "task", "device", "tracker", "cache")
# Settings that stand inside of several choices.
SHARED = ("Benchmark", "Distillation", "Matching", "Training")
# Keys that belong to no class of settings: type and meaning.
PLAIN = {
    "seed": ("an integer in [0, 4294967295]", "of training, initialization and sampling in a run"),
    "objectives": (
        "a list (text each)",
        "metrics that a run returns to a sweeper, in this order; any figure of metrics.json",
    ),
    "measure_stages": (
        "true or false",
        "measures the models between the stages as well, for the report's panel on stages",
    ),
    "search.space": (
        "a mapping",
        "what is searched, by key: choice(…), interval(…), tag(log, interval(…)) or range(…)",
    ),
    "search.objectives": (
        "a mapping (minimize or maximize each)",
        "figures of metrics.json that span the front",
    ),
    "search.constraints": (
        "a mapping (text each)",
        'bounds such as ">= 0.97 * baseline"; a trial outside of them is not on the front',
    ),
    "search.split": ("validation or evaluation", "rows that trials are compared on"),
    "hydra.sweeper.n_trials": ("an integer > 0", "trials, over all restarts and machines"),
    "hydra.sweeper.max_hours": ("a number > 0 or null", "hours of search; null for no limit"),
    "hydra.sweeper.max_failures": (
        "an integer >= 0 or null",
        "trials that may fail before the search stops; null for no limit",
    ),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One key: its name below the group, what it holds, its default, and what it means."""

    key: str
    allowed: str
    default: str
    meaning: str

    def line(self) -> str:
        """A row of a Markdown table."""
        cells = (f"`{self.key}`", self.allowed, f"`{self.default}`", self.meaning)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def settings_page(conf: Path) -> str:
    """The page.

    Args:
        conf: the folder of config.yaml.
    """
    with initialize_config_dir(str(conf.resolve())):
        configs = _configs(conf)
        top, search = _composed([]), _composed(["+search=pareto"])
    blocks = _Blocks()
    sections = [HEAD, "## run\n\n" + _table(_plain_rows(top, PLAIN))]
    for group, choices in configs.items():
        sections += [f"## {group}", *_choices(group, choices, blocks)]
    sections += ["## search", _search_table(search, blocks), "## Blocks", *blocks.sections()]
    return "\n\n".join(section.strip() for section in sections) + "\n"


class _Blocks:
    """Settings that stand inside of several choices: each class has one table, at the end."""

    def __init__(self) -> None:
        self._found: dict[type[Settings], Mapping[str, Any]] = {}

    def row(self, key: str, cls: type[Settings], values: Mapping[str, Any]) -> Row:
        """The row that stands for a block: its link, and the defaults that are its own here."""
        usual = self._found.setdefault(cls, values)
        own = [f"{k}: {_shown(v)}" for k, v in values.items() if usual.get(k) != v]
        link = f"[{cls.__name__}](#{cls.__name__.lower()})"
        return Row(f"{key}.*", link, ", ".join(own) or "as there", "")

    def sections(self) -> Iterator[str]:
        """Their tables."""
        for cls, values in sorted(self._found.items(), key=lambda found: found[0].__name__):
            yield f"### {cls.__name__}\n\n{summary(cls)}\n\n{_table(rows_of(cls, values))}"


def summary(cls: type) -> str:
    """The first line of a class's docstring."""
    return inspect.cleandoc(cls.__doc__ or "").splitlines()[0]


def meanings(cls: type) -> dict[str, str]:
    """What each field is, from the "Attributes" of the class's docstring and of its bases'."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, text = (inspect.cleandoc(base.__doc__ or "")).partition("Attributes:\n")
        text = re.split(r"\n(?=\S)", text)[0]
        for entry in re.finditer(r"^    (\w+): (.*(?:\n {5,}.*)*)", text, re.MULTILINE):
            found[entry[1]] = re.sub(r"\s+", " ", entry[2]).strip().rstrip(".")
    return found


def rows_of(
    cls: type[Settings], values: Mapping[str, Any], prefix: str = "", blocks: _Blocks | None = None
) -> Iterator[Row]:
    """The keys of a class of settings in the order of its yaml, then those of settings inside.

    Args:
        cls: the class.
        values: its part of the config.
        prefix: of the keys.
        blocks: takes the settings inside; None for rows of their own.
    """
    hints, said = typing.get_type_hints(cls, include_extras=True), meanings(cls)
    inside = {k: v for k, v in values.items() if isinstance(v, dict) and TARGET in v}
    for name in (name for name in values if name in hints and name not in inside):
        allowed = kind_of(hints[name], ranges=True)
        yield Row(f"{prefix}{name}", allowed, _shown(values[name]), said.get(name, ""))
    for name, value in inside.items():
        key, kind = f"{prefix}{name}", settings_class(name, value[TARGET])
        if blocks is not None and kind.__name__ in SHARED:
            yield blocks.row(key, kind, value)
        else:
            yield from rows_of(kind, value, f"{key}.", blocks)


def _choices(
    group: str, configs: Mapping[str, Mapping[str, Any]], blocks: _Blocks
) -> Iterator[str]:
    """A section for each class of a group, with the choices that construct it."""
    by_class: dict[str, dict[str, Mapping[str, Any]]] = {}
    for choice, values in configs.items():
        by_class.setdefault(values[TARGET], {})[choice] = values
    for target, choices in by_class.items():
        cls = settings_class(group, target)
        names = ", ".join(f"`{group}={choice}`" for choice in choices)
        tables = [list(rows_of(cls, values, blocks=blocks)) for values in choices.values()]
        yield f"### {names}\n\n{summary(cls)}\n\n{_table(_merged(tables, tuple(choices)))}"


def _merged(tables: list[list[Row]], choices: tuple[str, ...]) -> Iterator[Row]:
    """One table of the keys of several choices, with each default that differs."""
    by_key: dict[str, dict[str, Row]] = {}
    for choice, rows in zip(choices, tables, strict=True):
        for row in rows:
            by_key.setdefault(row.key, {})[choice] = row
    for found in by_key.values():
        row = next(iter(found.values()))
        same = len(found) == len(choices) and len({each.default for each in found.values()}) == 1
        words = "; ".join(f"{choice}: {each.default}" for choice, each in found.items())
        yield row if same else dataclasses.replace(row, default=words)


def _search_table(cfg: Mapping[str, Any], blocks: _Blocks) -> str:
    """The keys of `+search=pareto`."""
    plan = settings_class("search", "compress.search.plan.SearchSettings")
    sampler = settings_class("search", "compress.search.sampler.SamplerSettings")
    values = cfg["search"]
    rows = [row for row in rows_of(plan, values, "search.") if row.key != "search.sampler"]
    rows += rows_of(sampler, values["sampler"], "search.sampler.")
    return _table([*_plain_rows(cfg, PLAIN, "search."), *rows, *_plain_rows(cfg, PLAIN, "hydra.")])


def _plain_rows(
    cfg: Mapping[str, Any], keys: Mapping[str, tuple[str, str]], prefix: str = ""
) -> Iterator[Row]:
    """The keys of no class that begin with a prefix; without one, those of no section."""
    for key, (allowed, meaning) in keys.items():
        if key.startswith(prefix) if prefix else "." not in key:
            value: Any = cfg
            for part in key.split("."):
                value = value[part]
            yield Row(key, allowed, _shown(value), meaning)


def _configs(conf: Path) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The config of each choice of each group; one composition has one of every group."""
    names = {g: sorted(file.stem for file in (conf / g).glob("*.yaml")) for g in GROUPS}
    configs: dict[str, dict[str, Mapping[str, Any]]] = {group: {} for group in GROUPS}
    for chosen in zip_longest(*names.values()):
        choices = {g: name for g, name in zip(GROUPS, chosen, strict=True) if name is not None}
        found = _composed([f"{group}={name}" for group, name in choices.items()])
        for group, name in choices.items():
            configs[group][name] = found[group]
    return configs


def _composed(overrides: list[str]) -> Mapping[str, Any]:
    cfg = compose("config", overrides, return_hydra_config=True)
    plain = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    )
    assert isinstance(plain, dict)
    sweeper = OmegaConf.to_container(cfg.hydra.sweeper)
    return {**{str(key): value for key, value in plain.items()}, "hydra": {"sweeper": sweeper}}


def _table(rows: Iterable[Row]) -> str:
    lines = [row.line() for row in rows]
    return TABLE + "\n".join(lines) if lines else ""


def _shown(value: Any) -> str:
    """A value as yaml writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if value == "???":
        return "required"
    if isinstance(value, dict) and TARGET in value:
        return "…"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(item)}" for key, item in value.items()) + "}"
    return str(value) or '""'
