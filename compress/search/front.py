"""The Pareto front of a search, written to front.csv and front.json after every trial.

A search that is killed leaves the best trials so far. Models of trials that are neither on the
front nor picked for a budget are deleted unless all are to be kept.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from compress.analysis.budgets import Winner, budgets_of, candidate, winners
from compress.analysis.goals import Goals
from compress.config.errors import UserError
from compress.records.csv_text import csv_text
from compress.records.metrics import METRICS
from compress.records.recipe import recipe, remake_command
from compress.records.schema import FILE, FinishedRun, parse_record, read_record, write_record
from compress.search.limits import FRONT
from compress.search.trial_store import TrialStore
from compress.search.trials import FOLDER, RECORD
from compress.serve.folder import is_plain_name
from compress.store.run_folder import delete_model, written_files
from compress.system.files import write_atomically

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeasibleTrial:
    """A trial that was finished and meets the constraints."""

    number: int
    folder: Path
    record: FinishedRun


@dataclass
class Front:
    """The best trials so far.

    Attributes:
        folder: folder of the search.
        keep: "all", or "front" to keep only the models of the best trials.
    """

    trial_store: TrialStore
    folder: Path
    keep: str
    _loaded: dict[int, FeasibleTrial | None] = field(default_factory=dict)

    @property
    def goals(self) -> Goals:
        """Those of the search."""
        return self.trial_store.goals

    def update(self) -> None:
        """Rewrites front.csv and front.json."""
        found = self.feasible()
        best = self.best(found)
        picks = self.picks(found)
        picked = [*best, *(each for pick in picks.values() for each in pick.values())]
        if self.keep == FRONT:
            numbers = {each.number for each in picked}
            for each in [*found, *self._complete(feasible=False)]:
                if each.number not in numbers:
                    self._discard(each)
        rows = [self._row(each) for each in best]
        counts = self.trial_store.trial_counts()
        page = {
            "search": self.trial_store.study.study_name,
            "objectives": dict(self.goals.objectives),
            "split": self.goals.split,
            "complete": counts.complete,
            "infeasible": counts.infeasible,
            "failed": counts.failed,
            "hypervolume": self.volume(best),
            "front": rows,
            "picks": [
                {"within": budget, **{kind: self._row(each) for kind, each in pick.items()}}
                for budget, pick in picks.items()
            ],
        }
        write_atomically(self.folder / "front.json", json.dumps(page, indent=1) + "\n")
        write_atomically(self.folder / "front.csv", csv_text(pd.DataFrame(rows)))

    def feasible(self) -> list[FeasibleTrial]:
        """All trials that were finished and meet the constraints, by number."""
        return self._complete(feasible=True)

    def best(self, found: list[FeasibleTrial]) -> list[FeasibleTrial]:
        """The trials that no other trial dominates."""
        front = self.goals.front([each.record for each in found])
        return [each for each, best in zip(found, front, strict=True) if best]

    def volume(self, found: list[FeasibleTrial]) -> float:
        """Hypervolume of the trials; see `Goals.volume`."""
        return self.goals.volume([each.record for each in found])

    def picks(self, found: list[FeasibleTrial]) -> dict[str, dict[str, FeasibleTrial]]:
        """For each budget, by name, the smallest, the fastest and the balanced trial.

        By point estimates, for which models are kept; a report recommends one by a test.
        """
        by_name = {str(each.number): each for each in found}
        return {
            winner.budget.name: {kind: by_name[each.name] for kind, each in winner.kinds.items()}
            for winner in self._winners(found)
        }

    def _winners(self, found: list[FeasibleTrial]) -> list[Winner]:
        """The best trials within each budget, by latency relative to the baseline.

        The metric of the budgets comes from the trials: without trials there are no budgets.
        """
        if not found:
            return []
        metric = found[0].record.metrics.score.metric
        candidates = [
            candidate(
                str(each.number), each.record, self.goals.split, 1 / each.record.speedup[0].counted
            )
            for each in found
        ]
        return winners(candidates, budgets_of(metric))

    def _row(self, found: FeasibleTrial) -> dict[str, Any]:
        evaluated = self.goals.on_split(found.record)
        metrics = found.record.metrics
        speed = found.record.speedup[0]
        return {
            "trial": found.number,
            "recipe": recipe(found.record),
            **{
                f"objective_{name}": METRICS[name].read(evaluated) for name in self.goals.objectives
            },
            metrics.score.metric: metrics.score.value,
            "score_low": metrics.score.low,
            "score_high": metrics.score.high,
            "size_bytes": metrics.size_bytes,
            "speedup": speed.ratio,
            "speedup_low": speed.low,
            "speedup_high": speed.high,
            "difference": speed.counts,
            "latency_ms": metrics.latency[0].median_ms,
            "folder": str(found.folder),
            "command": remake_command(found.record),
        }

    def _complete(self, feasible: bool) -> list[FeasibleTrial]:
        """Complete trials that meet the constraints, or those that do not, read once each."""
        found = []
        for trial in self.trial_store.trials():
            broken = any(excess > 0 for excess in trial.constraints.values())
            if trial.state != TrialState.COMPLETE or broken == feasible:
                continue
            if trial.number not in self._loaded:
                self._loaded[trial.number] = _found(trial)
            if (each := self._loaded[trial.number]) is not None:
                found.append(each)
        return found

    def _discard(self, each: FeasibleTrial) -> None:
        # Not the folder in the study: the search may have been moved, or run on another machine.
        record = discard_model(self.folder / str(each.number), each.record)
        self._loaded[each.number] = replace(each, record=record)


def discard_model(folder: Path, record: FinishedRun) -> FinishedRun:
    """Deletes a run's model, or those of its folds, and removes it from the record.

    Only a model in the run's own folder with a plain name is deleted: the record comes from a file
    or a database, which must not be able to name anything else.

    Returns:
        The updated record.
    """
    if record.folds is not None and record.folds.kept:
        gone = replace(record, folds=replace(record.folds, kept=False))
        _rewrite_record(gone, folder)
        for each in filter(is_plain_name, record.folds.folders):
            if (folder / each / FILE).is_file():
                fold = read_record(folder / each / FILE)
                if fold.status == "ok":
                    discard_model(folder / each, fold)
        return gone
    if record.model is None or not is_plain_name(record.model):
        return record
    model = folder / record.model
    if not model.is_dir():
        return record
    try:
        written_files(model)
    except UserError as error:
        log.warning("keeping a model that is not among the best: %s", error)
        return record
    gone = replace(record, model=None)
    _rewrite_record(gone, folder)
    delete_model(model)
    return gone


def _rewrite_record(record: FinishedRun, folder: Path) -> None:
    """Rewrites a record before its model is deleted, so that it never names a partial model."""
    if (folder / FILE).is_file():
        write_record(record, folder)


def _found(trial: FrozenTrial) -> FeasibleTrial | None:
    """A trial with its record; None, with a warning, if that cannot be read."""
    where = f"trial {trial.number} of the study"
    try:
        record = parse_record(trial.user_attrs[RECORD], where)
        if record.status != "ok":
            raise UserError(f"{where} has a record without figures")
    except UserError as error:
        log.warning("skipped: %s", error)
        return None
    return FeasibleTrial(trial.number, Path(trial.user_attrs[FOLDER]), record)
