"""A search read from the records of its trials; its study is not needed."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from compress.analysis.goals import Goals, parse_goals
from compress.analysis.pareto import hypervolume, pareto_front
from compress.config.errors import UserError
from compress.records.schema import FILE, FinishedRun, read_record

FRONT_FILE = "front.json"  # in the folder of a search
FIGURES = re.compile(r"\d(?:[\d,.]*\d)?(?:e[-+]?\d+)?")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PastTrial:
    """A finished trial.

    Attributes:
        point: overrides that differ between the trials, by key. Keys that the trial lacks are left
            out.
        values: its objectives, in order.
        feasible: whether it meets the constraints.
    """

    number: int
    record: FinishedRun
    point: Mapping[str, str]
    values: tuple[float, ...]
    feasible: bool


@dataclass(frozen=True)
class PastSearch:
    """A search, as its records describe it.

    Attributes:
        space: dimensions of the config; those given on the command line are missing.
        trials: finished trials by number, at least one.
        reasons: why trials have no figures or may not be chosen, with counts; reasons that differ
            only in figures are merged.
    """

    name: str
    goals: Goals
    space: Mapping[str, Any]
    trials: tuple[PastTrial, ...]
    reasons: Mapping[str, int]

    @property
    def keys(self) -> list[str]:
        """Keys of all points, in the order of the command lines."""
        return list(dict.fromkeys(key for trial in self.trials for key in trial.point))


def past_searches(runs: Iterable[tuple[Path, FinishedRun]]) -> Iterator[PastSearch]:
    """The searches that runs belong to.

    Args:
        runs: folder and record of each successful run. Runs that are not trials are skipped.
    """
    folders: dict[Path, list[tuple[Path, FinishedRun]]] = {}
    for folder, record in runs:
        if folder.name.isdecimal() and record.settings("search"):
            folders.setdefault(folder.parent, []).append((folder, record))
    for parent, trials in folders.items():
        if (parent / FRONT_FILE).is_file():
            search = _search(parent, sorted(trials, key=lambda trial: int(trial[0].name)))
            if search is not None:
                yield search


def growth(search: PastSearch) -> list[float]:
    """Hypervolume after each trial, in order; infeasible trials add nothing.

    See `Goals.shares` for its coordinates.
    """
    volume, found = 0.0, []
    front = np.empty((0, len(search.goals.objectives)))
    for trial in search.trials:
        shares = np.array(search.goals.shares(trial.record))
        if trial.feasible and not (front >= shares).all(axis=1).any():
            volume += _gain(front, shares)
            front = np.vstack([front[~(front <= shares).all(axis=1)], shares])
        found.append(volume)
    return found


def _gain(
    front: Float[np.ndarray, "points objectives"], shares: Float[np.ndarray, " objectives"]
) -> float:
    """Hypervolume that a point adds to a front: its box minus the part that the front covers.

    Of the front's points, clipped to the point's box, few are not dominated
    (While et al., "A fast way of calculating exact hypervolumes", 2012).
    """
    clipped = np.unique(np.minimum(front, shares), axis=0)
    inside = clipped[pareto_front(clipped, ["higher"] * len(shares))]
    return float(shares.prod()) - hypervolume(inside)


def _search(parent: Path, runs: Sequence[tuple[Path, FinishedRun]]) -> PastSearch | None:
    """The search in a folder; None if it cannot be read or no trial has all objectives."""
    first = runs[0][1]
    settings = first.settings("search")
    try:
        goals = parse_goals(*(settings.get(key) for key in ("objectives", "constraints", "split")))
    except UserError as error:
        log.warning("%s: cannot read the search's objectives: %s", parent, error)
        return None
    reasons = Counter(_reasons(parent, {folder for folder, _ in runs}))
    points = _points([record for _, record in runs])
    trials = []
    for (folder, record), point in zip(runs, points, strict=True):
        why = _missing_figures(goals, record)
        broken = [] if why else [k for k, beyond in goals.excesses(record).items() if beyond > 0]
        reasons.update([why] if why else [f"breaks {name}" for name in broken])
        if not why:
            values = tuple(goals.values(record))
            trials.append(PastTrial(int(folder.name), record, point, values, not broken))
    if not trials:
        return None
    name, space = str(settings.get("name", parent.name)), settings.get("space")
    space = space if isinstance(space, Mapping) else {}
    return PastSearch(name, goals, space, tuple(trials), _merged(reasons))


def _points(records: Sequence[FinishedRun]) -> list[dict[str, str]]:
    """Overrides of each run that differ between the runs."""
    written = [
        {key.lstrip("+"): value for key, _, value in (o.partition("=") for o in each.overrides)}
        for each in records
    ]
    keys = dict.fromkeys(key for each in written for key in each)
    differing = [key for key in keys if len({each.get(key) for each in written}) > 1]
    return [{key: each[key] for key in differing if key in each} for each in written]


def _missing_figures(goals: Goals, record: FinishedRun) -> str:
    """Why a run lacks objectives; "" if it has all of them."""
    assert record.metrics is not None, "only records whose status is ok are trials here"
    if goals.split == "validation" and record.metrics.validation is None:
        return "not scored on the validation rows"
    values = zip(goals.objectives, goals.values(record), strict=True)
    unknown = [name for name, value in values if math.isnan(value)]
    return f"{', '.join(unknown)} could not be measured" if unknown else ""


def _reasons(parent: Path, known: set[Path]) -> Iterator[str]:
    """Why each trial without figures has none."""
    for path in parent.glob(f"*/{FILE}"):
        if path.parent in known or not path.parent.name.isdecimal():
            continue
        try:
            record = read_record(path)
        except UserError:
            yield "its record cannot be read"
            continue
        # A successful one is from another machine, which another section reports.
        if record.status != "ok":
            yield f"{record.status}: {record.error or 'no reason recorded'}"


def _merged(reasons: Mapping[str, int]) -> dict[str, int]:
    """Reasons merged where they differ only in figures, the most frequent first."""
    alike: dict[str, list[str]] = {}
    for reason in reasons:
        alike.setdefault(FIGURES.sub("…", reason), []).append(reason)
    merged = {
        same[0] if len(same) == 1 else words: sum(reasons[each] for each in same)
        for words, same in alike.items()
    }
    return dict(sorted(merged.items(), key=lambda item: (-item[1], item[0])))
