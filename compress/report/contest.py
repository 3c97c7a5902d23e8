"""The recipes of a section as candidates of the rule in `compress.analysis.decision`. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.analysis.decision import Candidate, Decision, Rule, decide
from compress.analysis.goals import parse_goals
from compress.analysis.noninferiority import Change
from compress.analysis.recipes import Recipe, recipes_of
from compress.config.errors import ConfigError, ConfigTypeError
from compress.records.recipe import STAGES, recipe_key
from compress.records.schema import Comparison, Control, FinishedRun, Split
from compress.records.scores import SCORES, ScoreKind
from compress.report.points import Shape, known_speedup, latency_figure, run_name, shapes_of
from compress.report.sections import Section

# Where the noise floor was not measured: the most that a model timed against itself reached
# (docs/noise.md).
FLOOR = 1.03


@dataclass(frozen=True)
class Contest:
    """The recipes of a section that can be compared at a shape, and what the rule says of them.

    Attributes:
        split: whose rows choose.
        recipes: by the name of each one's first run.
        names: of each one's runs.
    """

    metric: str
    shape: Shape
    split: Split
    recipes: Mapping[str, Recipe]
    names: Mapping[str, tuple[str, ...]]
    decision: Decision

    @property
    def kind(self) -> ScoreKind:
        """What kind of score that is."""
        return SCORES[self.metric]

    def by(self, rule: Rule) -> Contest:
        """The same runs by another rule."""
        candidates = [each.candidate for each in self.decision.standings.values()]
        return replace(self, decision=decide(candidates, rule, self.decision.floor))

    @property
    def timed(self) -> int:
        """How many runs take part."""
        return sum(len(recipe.runs) for recipe in self.recipes.values())


def contest_of(section: Section, root: Path, rule: Rule) -> Contest:
    """The runs of a section that were timed at the shape that most of them were timed at."""
    records = [record for _, record in section.runs]
    shape = shapes_of(records)[0]
    split = deciding_split(records)
    latencies = dict(zip(map(id, records), latency_figure(records, shape).values, strict=True))
    timed = [run for run in section.runs if not np.isnan(latencies[id(run[1])])]
    without = _without(records)
    recipes, names, candidates = {}, {}, []
    for recipe in recipes_of(timed):
        name, *_ = own = tuple(run_name(folder, root) for folder, _ in recipe.runs)
        recipes[name], names[name] = recipe, own
        latency = statistics.median(latencies[id(record)] for _, record in recipe.runs)
        candidates.append(_candidate(name, recipe, split, shape, latency, without))
    decision = decide(candidates, rule, _floor(records, shape))
    return Contest(section.metric, shape, split, recipes, names, decision)


def rule_of(section: Section) -> Rule:
    """The strictest of the margins and levels that the runs of a section were started with."""
    rules = [_rule(record) for _, record in section.runs]
    return Rule(margin=min(rule.margin for rule in rules), alpha=min(rule.alpha for rule in rules))


def _rule(record: FinishedRun) -> Rule:
    """A config may say anything; which margin holds stands in the sentences."""
    try:
        return Rule(**record.settings("decision"))
    except (ConfigError, ConfigTypeError, TypeError):
        return Rule()


def deciding_split(records: Sequence[FinishedRun]) -> Split:
    """Validation where every run was compared with its teacher on it; two splits never mix."""
    compared = all(record.validation_comparison is not None for record in records)
    return "validation" if compared and all(map(_is_validated, records)) else "evaluation"


def change_on(record: FinishedRun, split: Split, control: Control | None = None) -> Change:
    """How the quality of a run, or of a control beside it, differs from the teacher's."""
    ours, compared = record.metrics, _comparison(record, split)
    if control is not None:
        assert control.metrics is not None, "it is one with figures"
        ours, compared = control.metrics, _comparison(control, split)
    assert compared is not None, "both were compared on the split"
    score, theirs = ours.score_on(split), record.baseline.score_on(split)
    return Change(
        score.quality - theirs.quality,
        score.samples,
        compared.n_regressed,
        compared.n_improved,
        compared.standard_error,
    )


def is_kept(record: FinishedRun) -> bool:
    """Whether a run's model, or those of its folds, are still there, as far as the record says."""
    return record.model is not None if record.folds is None else record.folds.kept


def _candidate(
    name: str,
    recipe: Recipe,
    split: Split,
    shape: Shape,
    latency_ms: float,
    without: Mapping[str, set[str]],
) -> Candidate:
    first, seeds = recipe.record, recipe.seeds.values()
    size = statistics.fmean(record.metrics.size_bytes for record in seeds)
    return Candidate(
        name=name,
        changes=tuple(change_on(record, split) for record in seeds),
        quality=statistics.fmean(each.metrics.score_on(split).quality for each in seeds),
        size_bytes=size,
        latency_ms=latency_ms,
        smaller=first.baseline.size_bytes / size,
        faster=statistics.median(known_speedup(record, shape).counted for record in seeds),
        stages=sum(first.choices.get(group, "none") != "none" for group in STAGES),
        kept=is_kept(first),
        barred=_barred(first, without),
    )


def _without(records: Iterable[FinishedRun]) -> dict[str, set[str]]:
    """By stage, what the runs that skip it have in everything else."""
    records = list(records)
    return {
        group: {
            recipe_key(record, without=group)
            for record in records
            if record.choices.get(group, "none") == "none"
        }
        for group in STAGES
    }


def _barred(record: FinishedRun, without: Mapping[str, set[str]]) -> str | None:
    """Why a run is not to be shipped whatever its figures."""
    if missed := _missed_bound(record):
        return f"misses the search's constraint {missed}"
    steps = [step for step in record.history if step.get("stage") == "pruner"]
    idle = steps and all(s.get("expected_zeros") and not s.get("expected_shapes") for s in steps)
    if idle and recipe_key(record, without="pruner") not in without["pruner"]:
        return (
            f"has zeros that save neither bytes nor time on {record.metrics.runtime}, and no run "
            "shows the model without them: add pruner=none"
        )
    return None


def _missed_bound(record: FinishedRun) -> str | None:
    """The first constraint of the search that the run is of, if it is of one, that it misses."""
    found = record.settings("search")
    try:
        goals = parse_goals(found["objectives"], found.get("constraints") or {}, found["split"])
    except (KeyError, ConfigError):  # of no search, or not one that has goals
        return None
    if goals.split == "validation" and not _is_validated(record):
        return None
    excesses = goals.excesses(record)
    return next((words for words, excess in excesses.items() if excess > 0), None)


def _floor(records: Iterable[FinishedRun], shape: Shape) -> float:
    """The noise floor of the times at a shape: the largest that was measured."""
    speeds = [each for r in records for each in r.speedup if (each.batch, each.length) == shape]
    return max((each.floor for each in speeds if each.floor is not None), default=FLOOR)


def _is_validated(record: FinishedRun) -> bool:
    return record.metrics.validation is not None and record.baseline.validation is not None


def _comparison(found: FinishedRun | Control, split: Split) -> Comparison | None:
    return found.comparison if split == "evaluation" else found.validation_comparison
