"""What a search is after: objectives with their directions, and constraints on figures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np

from compress.analysis.pareto import Direction as Better
from compress.analysis.pareto import hypervolume, pareto_front
from compress.config.errors import ConfigError
from compress.records.metrics import METRICS, settled
from compress.records.schema import Comparison, FinishedRun, Split
from compress.records.scores import SCORES, ScoreKind

Direction: TypeAlias = Literal["maximize", "minimize"]
BETTER: Mapping[str, Better] = {"maximize": "higher", "minimize": "lower"}
QUALITY = "quality"
SPLITS = get_args(Split)

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
BOUND = re.compile(
    rf"\s*(?P<sign><=|>=)\s*(?:"
    rf"(?P<absolute>{NUMBER})"
    rf"|(?:(?P<factor>{NUMBER})\s*\*\s*)?baseline(?:\s*(?P<way>[-+])\s*(?P<offset>{NUMBER}))?"
    rf")\s*"
)


@dataclass(frozen=True)
class Constraint:
    """A bound on one metric: `factor · baseline + offset`.

    Attributes:
        least: whether the bound is a lower one.
        factor: of the baseline's own figure; 0 for a bound that does not depend on it.
    """

    metric: str
    least: bool
    factor: float
    offset: float

    def bound(self, baseline: float) -> float:
        """What the metric must reach, or must not exceed."""
        return self.factor * baseline + self.offset

    def excess(self, value: float, baseline: float) -> float:
        """How far the value is beyond the bound, as a share of it; at most 0 if it is not.

        A figure that could not be measured breaks every bound.
        """
        bound = self.bound(baseline)
        if math.isnan(value) or math.isnan(bound):
            return math.inf
        beyond = bound - value if self.least else value - bound
        return beyond / abs(bound) if bound else beyond

    def __str__(self) -> str:
        """As it was written, but in one way."""
        sign = ">=" if self.least else "<="
        if not self.factor:
            return f"{sign} {self.offset:g}"
        words = f"{sign} baseline" if self.factor == 1 else f"{sign} {self.factor:g} * baseline"
        if not self.offset:
            return words
        return f"{words} {'-' if self.offset < 0 else '+'} {abs(self.offset):g}"


@dataclass(frozen=True)
class Goals:
    """Objectives, constraints, and the rows that quality is evaluated on.

    Attributes:
        objectives: by metric, the direction that is wanted.
        split: whose rows a search looks at. The evaluation rows are for the report: what was
            chosen on them looks better there than it is.
    """

    objectives: Mapping[str, Direction]
    constraints: tuple[Constraint, ...]
    split: Split

    def values(self, record: FinishedRun) -> list[float]:
        """The objectives of a run that succeeded, in order; NaN where one was not measured."""
        seen = self.on_split(record)
        return [float(METRICS[name].read(seen)) for name in self.objectives]

    def excesses(self, record: FinishedRun) -> dict[str, float]:
        """By constraint, how far the run is beyond it; at most 0 where it is not."""
        return {
            f"{each.metric} {each}": each.excess(*figures)
            for each, figures in self._bounded(record)
        }

    def broken(self, record: FinishedRun) -> Iterator[str]:
        """The constraints that a run breaks, with the figures."""
        rows = f" on the {self.split} rows" if self.split != "evaluation" else ""
        for each, (value, baseline) in self._bounded(record):
            if each.excess(value, baseline) > 0:
                bound = f"{each.bound(baseline):.4g}"
                why = f" ({each}, which has {baseline:.4g})" if each.factor else ""
                word = "below" if each.least else "above"
                yield f"{each.metric} {value:.4g} is {word} {bound}{why}{rows}"

    def _bounded(self, record: FinishedRun) -> Iterator[tuple[Constraint, tuple[float, float]]]:
        """Each constraint with the run's figure and the baseline's."""
        ours, theirs = self.on_split(record), self.on_split(baseline_of(record))
        for each in self.constraints:
            read = METRICS[each.metric].read
            yield each, (read(ours), read(theirs))

    def baseline(self, record: FinishedRun) -> dict[str, float]:
        """The baseline's figures of all metrics that bounds refer to."""
        theirs = self.on_split(baseline_of(record))
        return {each.metric: METRICS[each.metric].read(theirs) for each in self.constraints}

    def on_split(self, record: FinishedRun) -> FinishedRun:
        """The record as the search looks at it: the scores of its split, and times that count."""
        record = settled(record)
        if self.split == "evaluation":
            return record
        # What compares predictions, such as `agreement`, is of these rows as well.
        ours, theirs = record.metrics, record.baseline
        return replace(
            record,
            comparison=record.validation_comparison or Comparison(None, None, None, math.nan),
            metrics=replace(ours, score=ours.score_on(self.split)),
            baseline=replace(theirs, score=theirs.score_on(self.split)),
        )

    def front(self, records: Sequence[FinishedRun]) -> list[bool]:
        """For each run, whether no other one is better in every objective."""
        if not records:
            return []
        better = [BETTER[direction] for direction in self.objectives.values()]
        points = np.array([self.values(record) for record in records])
        return [bool(each) for each in pareto_front(points, better)]

    def volume(self, records: Sequence[FinishedRun]) -> float:
        """The hypervolume of the runs, each objective as a share of the baseline's figure.

        What should be low counts as the share saved (1 − value / baseline), a ratio that should be
        high as the share of time saved (1 − 1 / ratio), and what else should be high as the share
        kept (value / baseline). A score that should be low, such as perplexity, is kept as well
        (baseline / value): what is compressed has nothing to save there. So the best corner is near
        1 everywhere, and 0 is to save nothing.
        """
        shares = [self.shares(record) for record in records]
        return hypervolume(np.array(shares).reshape(len(records), len(self.objectives)))

    def shares(self, record: FinishedRun) -> list[float]:
        """A run's objectives as `volume` takes them: none negative, higher is better."""
        seen, baseline = self.on_split(record), self.on_split(baseline_of(record))
        metric = seen.metrics.score.metric
        found = []
        for objective, direction in self.objectives.items():
            # A quality may be a logarithm: the share is one of what it is a logarithm of.
            is_quality = objective == QUALITY and direction == "maximize"
            name = metric if is_quality else objective
            ours, theirs = (float(METRICS[name].read(each)) for each in (seen, baseline))
            better = METRICS[name].better if is_quality else BETTER[direction]
            found.append(_share(name, better, ours, theirs))
        return found

    def describe(self) -> dict[str, str]:
        """In words, to tell two searches apart."""
        return {
            **{f"objectives.{name}": way for name, way in self.objectives.items()},
            **{f"constraints.{each.metric} {each}": "" for each in self.constraints},
            "split": self.split,
        }


def baseline_of(record: FinishedRun) -> FinishedRun:
    """A record in which the baseline has the candidate's place: its own figures and no gain."""
    on_validation = record.validation_comparison
    even = tuple(replace(each, ratio=1.0, low=1.0, high=1.0) for each in record.speedup)
    return replace(
        record,
        metrics=record.baseline,
        speedup=even,
        comparison=_with_itself(record.comparison),
        validation_comparison=on_validation and _with_itself(on_validation),
    )


def _with_itself(found: Comparison) -> Comparison:
    """The comparison of a model with itself; figures that are null stay null."""
    return replace(
        found,
        agreement=None if found.agreement is None else 1.0,
        n_regressed=None if found.n_regressed is None else 0,
        n_improved=None if found.n_improved is None else 0,
        p_value=1.0,
    )


def parse_goals(objectives: Any, constraints: Any, split: Any) -> Goals:
    """Reads what a search is after: `search.objectives`, `search.constraints`, `search.split`.

    Raises:
        ConfigError: a metric, a direction or a bound is none; says which.
    """
    if not isinstance(objectives, Mapping) or not objectives:
        raise ConfigError(
            "search.objectives must be a mapping such as {accuracy: maximize}, "
            f"got {objectives!r}"
        )
    if str(split) not in SPLITS:
        raise ConfigError(f"search.split must be one of {', '.join(SPLITS)}; got {split}")
    ways: dict[str, Direction] = {}
    for name, way in objectives.items():
        _check_metric("search.objectives", name)
        if str(way) not in BETTER:
            raise ConfigError(
                f"search.objectives.{name} must be one of {', '.join(BETTER)}; got {way}"
            )
        ways[str(name)] = cast(Direction, str(way))
    if not isinstance(constraints, Mapping | None):
        raise ConfigError(f"search.constraints must be a mapping or null, got {constraints!r}")
    bounds = tuple(
        parse_bound("search.constraints", str(name), str(text))
        for name, text in dict(constraints or {}).items()
        if text is not None  # as an override switches one of a file off
    )
    return Goals(ways, bounds, cast(Split, str(split)))


def parse_bound(where: str, name: str, text: str) -> Constraint:
    """Reads a metric's bound such as ">= 0.97 * baseline".

    Args:
        where: the mapping that it stands in, for the error message.
        name: of the metric.
        text: the bound.

    Raises:
        ConfigError: there is no such metric, or the text is not a bound.
    """
    _check_metric(where, name)
    match = BOUND.fullmatch(text)
    if match is None:
        raise ConfigError(
            f'{where}.{name} must be such as ">= 0.97 * baseline", "<= 10e6" or '
            f'">= baseline - 0.01", got {text!r}'
        )
    least = match["sign"] == ">="
    if name == QUALITY and match["factor"] is not None:
        raise ConfigError(
            f'{where}.quality must be such as ">= baseline - 0.05": a quality may be a '
            f"logarithm, of which there are no shares; got {text!r}"
        )
    if match["absolute"] is not None:
        return Constraint(name, least, 0.0, float(match["absolute"]))
    offset = float(f"{match['way'] or '+'}{match['offset'] or '0'}")
    return Constraint(name, least, float(match["factor"] or 1), offset)


def _check_metric(where: str, name: object) -> None:
    if name not in METRICS:
        raise ConfigError(f"{where} must be among {', '.join(METRICS)}; got {name}")


def _share(name: str, better: Better, ours: float, theirs: float) -> float:
    kind = SCORES.get(name)
    if kind is not None and kind.better == better:
        return _kept(kind, ours, theirs)
    if better == "lower":
        return max(0.0, 1 - ours / theirs) if theirs else 0.0
    if METRICS[name].unit == "ratio":
        return max(0.0, 1 - theirs / ours)
    return max(0.0, ours / theirs) if theirs else ours


def _kept(kind: ScoreKind, ours: float, theirs: float) -> float:
    """How much of a score is left; 1 where it is the baseline's, and never below 0."""
    if kind.relative:
        return theirs / ours
    if theirs <= 0:
        return max(0.0, ours) if kind.better == "higher" else float(ours <= theirs)
    share = ours / theirs
    return max(0.0, share if kind.better == "higher" else 2 - share)
