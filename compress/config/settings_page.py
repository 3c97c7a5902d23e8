"""docs/settings.md: every key of the packaged config with its type, range, default and meaning."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeGuard

from omegaconf import DictConfig, OmegaConf

from compress.config.compose import TARGET, compose_config
from compress.config.construct import settings_class
from compress.config.explain import kind_of
from compress.config.settings import Settings

HEAD = """# Settings

Every key of the config; written by `python scripts/settings.py`. `python run.py --cfg job` prints
them with their values. A value outside its range, or of another type, ends a run before it starts.
"""
TABLE = "| key | type and range | default | meaning |\n| --- | --- | --- | --- |\n"
GROUPS = ("teacher", "student", "pruner", "quantizer", "task", "device", "tracker", "cache")
# Settings that are nested in several choices.
SHARED = ("Benchmark", "Distillation", "Matching", "Shape", "Training")
# Keys without a settings class: type and meaning.
PLAIN = {
    "seed": ("an integer in [0, 4294967295]", "seed of training, initialization and sampling"),
    "objectives": (
        "a list (text each)",
        "metrics that a run returns to a sweeper, in this order",
    ),
    "measure_stages": ("true or false", "also measures the models between stages, for the report"),
    "controls": (
        "sweep, always or never",
        "whether TF-IDF with a linear model and the teacher in int8 are measured as well, once: in "
        "sweeps and searches, in single runs too, or not at all",
    ),
    "search.space": (
        "a mapping",
        "dimensions by key: choice(…), interval(…), tag(log, interval(…)) or range(…)",
    ),
    "search.objectives": (
        "a mapping (minimize or maximize each)",
        "metrics that define the Pareto front",
    ),
    "search.constraints": (
        "a mapping (text each)",
        'bounds such as ">= 0.97 * baseline"; a trial that violates one is not on the front',
    ),
    "search.split": ("validation or evaluation", "rows that trials are compared on"),
    "hydra.sweeper.n_trials": ("an integer > 0", "trials, over all restarts and machines"),
    "hydra.sweeper.max_hours": (
        "a number >= 0 or null",
        "hours of search; null for no limit. 1 in `+search=frontier`, whose epochs follow from it",
    ),
    "hydra.sweeper.max_failures": (
        "an integer >= 0 or null",
        "trials that may fail before the search stops; null for no limit",
    ),
}
# Parts of a config that are no group: what composes them, their key, and their class.
PARTS = (
    ("seed=0", "decision", "compress.analysis.decision.Rule"),
    ("+search=frontier", "search.frontier", "compress.frontier.propose.Frontier"),
    ("+costs=default", "costs", "compress.costs.space.Costs"),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A table row: key, type and range, default, and meaning."""

    key: str
    allowed: str
    default: str
    meaning: str

    def line(self) -> str:
        """A row of a Markdown table."""
        cells = (f"`{self.key}`", self.allowed, f"`{self.default}`", self.meaning)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def settings_page(conf: Path) -> str:
    """The Markdown text of docs/settings.md."""
    search = compose_config(conf, ["+search=pareto"], hydra=True)
    blocks = _Blocks(conf)
    sections = [HEAD, "## run\n\n" + _table(_plain_rows(compose_config(conf, [])))]
    for group, choices in _configs(conf).items():
        sections += [f"## {group}", *_choices(group, choices, blocks)]
    sections += ["## search", _search_table(search, blocks)]
    for words, key, path in PARTS:
        part: Any = OmegaConf.to_container(OmegaConf.select(compose_config(conf, [words]), key))
        sections += [f"## {key}", _table(rows_of(settings_class(key, path), part, f"{key}."))]
    sections += ["## Blocks", *blocks.sections()]
    return "\n\n".join(section.strip() for section in sections) + "\n"


class _Blocks:
    """Nested settings that several choices share, or that are optional: each has a table."""

    def __init__(self, conf: Path) -> None:
        self._conf = conf
        self._found: dict[type[Settings], Mapping[str, Any]] = {}

    def row(self, key: str, cls: type[Settings], values: Mapping[str, Any]) -> Row:
        """Row that links to a block, with the defaults that differ here."""
        usual = self._found.setdefault(cls, values)
        own = [f"{k}: {_shown(v)}" for k, v in values.items() if usual.get(k) != v]
        return Row(f"{key}.*", _link(cls), ", ".join(own) or "defaults of the block", "")

    def linked(self, allowed: str, hint: object) -> str:
        """The type of a setting that is null, with links to the settings that it may have.

        For a base class these are the classes that the files of a nested group choose.
        """
        for cls in filter(_is_settings, typing.get_args(hint)):
            nested = self.nested(cls)
            values = dict.fromkeys((field.name for field in dataclasses.fields(cls)), "???")
            for each, own in nested.values() or [(cls, values)]:
                self._found.setdefault(each, own)
            links = ", ".join(_link(each) for each, _ in nested.values()) or _link(cls)
            allowed = re.sub(rf"an? {cls.__name__}", links, allowed)
        return allowed

    def nested(self, base: type[Settings]) -> dict[str, tuple[type[Settings], Mapping[str, Any]]]:
        """Choices of the group inside a group that constructs a class, with their settings."""
        found: dict[str, tuple[type[Settings], Mapping[str, Any]]] = {}
        files = (path for group in GROUPS for path in self._conf.glob(f"{group}/*/*.yaml"))
        for path in sorted(files):
            plain = OmegaConf.to_container(OmegaConf.load(path))
            if isinstance(plain, dict) and isinstance(plain.get(TARGET), str):
                cls = settings_class(path.stem, plain.pop(TARGET))
                if issubclass(cls, base):
                    found[path.stem] = cls, {str(key): value for key, value in plain.items()}
        return found

    def has_choices(self, hint: object) -> TypeGuard[type[Settings]]:
        """Whether a group inside a group constructs settings of this type."""
        return _is_settings(hint) and inspect.isabstract(hint) and bool(self.nested(hint))

    def choices(self, key: str, base: type[Settings], chosen: object, meaning: str) -> Row:
        """Row of a group inside a group: its choices, with links to the tables of their settings.

        Args:
            key: of the settings.
            base: class of all choices.
            chosen: the default's class, as a yaml names it.
            meaning: of the settings.
        """
        allowed, default = [], ""
        for name, (cls, values) in self.nested(base).items():
            default = name if f"{cls.__module__}.{cls.__qualname__}" == chosen else default
            allowed.append(f"{name} ({_link(cls)})" if values else name)
            if values:
                self._found.setdefault(cls, values)
        return Row(key, ", ".join(allowed), default, meaning)

    def sections(self) -> Iterator[str]:
        """Sections with the tables of all blocks."""
        for cls, values in sorted(self._found.items(), key=lambda found: found[0].__name__):
            yield f"### {cls.__name__}\n\n{summary(cls)}\n\n{_table(rows_of(cls, values))}"


def _is_settings(hint: object) -> TypeGuard[type[Settings]]:
    return isinstance(hint, type) and issubclass(hint, Settings)


def _link(cls: type) -> str:
    return f"[{cls.__name__}](#{cls.__name__.lower()})"


def summary(cls: type) -> str:
    """The first line of a class's docstring."""
    return inspect.cleandoc(cls.__doc__ or "").splitlines()[0]


def meanings(cls: type) -> dict[str, str]:
    """Meaning of each field, from the "Attributes" of the class and its bases."""
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
    """Rows of a settings class in the order of its yaml, then those of nested settings.

    Shared nested settings go to `blocks`; without it, they are expanded into rows.
    """
    hints, said = typing.get_type_hints(cls, include_extras=True), meanings(cls)
    inside = {k: v for k, v in values.items() if isinstance(v, dict) and TARGET in v}
    for name in (name for name in values if name in hints and name not in inside):
        allowed = kind_of(hints[name], ranges=True)
        if blocks is not None and values[name] is None:
            allowed = blocks.linked(allowed, hints[name])
        yield Row(f"{prefix}{name}", allowed, _shown(values[name]), said.get(name, ""))
    for name, value in inside.items():
        key, kind = f"{prefix}{name}", settings_class(name, value[TARGET])
        if blocks is not None and blocks.has_choices(hints[name]):
            yield blocks.choices(key, hints[name], value[TARGET], said.get(name, ""))
        elif blocks is not None and kind.__name__ in SHARED:
            yield blocks.row(key, kind, value)
        else:
            yield from rows_of(kind, value, f"{key}.", blocks)


def _choices(
    group: str, configs: Mapping[str, Mapping[str, Any]], blocks: _Blocks
) -> Iterator[str]:
    """Sections of a group, one per class, with the choices that construct it."""
    by_class: dict[str, dict[str, Mapping[str, Any]]] = {}
    for choice, values in configs.items():
        by_class.setdefault(values[TARGET], {})[choice] = values
    for target, choices in by_class.items():
        cls = settings_class(group, target)
        names = ", ".join(f"`{group}={choice}`" for choice in choices)
        tables = [list(rows_of(cls, values, blocks=blocks)) for values in choices.values()]
        yield f"### {names}\n\n{summary(cls)}\n\n{_table(_merged(tables, tuple(choices)))}"


def _merged(tables: list[list[Row]], choices: tuple[str, ...]) -> Iterator[Row]:
    """Rows of several choices merged into one table, with the defaults that differ."""
    by_key: dict[str, dict[str, Row]] = {}
    for choice, rows in zip(choices, tables, strict=True):
        for row in rows:
            by_key.setdefault(row.key, {})[choice] = row
    for found in by_key.values():
        row = next(iter(found.values()))
        same = len(found) == len(choices) and len({each.default for each in found.values()}) == 1
        words = "; ".join(f"{choice}: {each.default}" for choice, each in found.items())
        yield row if same else dataclasses.replace(row, default=words)


def _search_table(cfg: DictConfig, blocks: _Blocks) -> str:
    """Table of the keys of `+search=pareto`."""
    plan = settings_class("search", "compress.search.plan.SearchSettings")
    sampler = settings_class("search", "compress.search.sampler.SamplerSettings")
    found = OmegaConf.to_container(cfg.search)
    assert isinstance(found, dict)
    values = {str(key): value for key, value in found.items()}
    sampled = values.pop("sampler")
    rows = list(rows_of(plan, values, "search.", blocks))
    rows += rows_of(sampler, sampled, "search.sampler.")
    return _table([*_plain_rows(cfg, "search."), *rows, *_plain_rows(cfg, "hydra.")])


def _plain_rows(cfg: DictConfig, prefix: str = "") -> Iterator[Row]:
    """Rows of keys without a class that start with a prefix; without one, top-level keys."""
    for key, (allowed, meaning) in PLAIN.items():
        if key.startswith(prefix) if prefix else "." not in key:
            value = OmegaConf.select(cfg, key)
            if OmegaConf.is_config(value):
                value = OmegaConf.to_container(value)
            yield Row(key, allowed, _shown(value), meaning)


def _configs(conf: Path) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Config of each choice by group; each composition covers one choice of every group."""
    names = {g: sorted(file.stem for file in (conf / g).glob("*.yaml")) for g in GROUPS}
    configs: dict[str, dict[str, Mapping[str, Any]]] = {group: {} for group in GROUPS}
    for chosen in zip_longest(*names.values()):
        choices = {g: name for g, name in zip(GROUPS, chosen, strict=True) if name is not None}
        cfg = compose_config(conf, [f"{group}={name}" for group, name in choices.items()])
        plain = OmegaConf.to_container(cfg)
        assert isinstance(plain, dict)
        for group, name in choices.items():
            configs[group][name] = plain[group]
    return configs


def _table(rows: Iterable[Row]) -> str:
    lines = [row.line() for row in rows]
    return TABLE + "\n".join(lines) if lines else ""


def _shown(value: Any) -> str:
    """YAML text of a value."""
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
