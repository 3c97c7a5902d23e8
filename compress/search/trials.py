"""Trials in a study: their user attributes, and which of them count against the budget."""

from __future__ import annotations

from dataclasses import dataclass

from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from compress.search.space import Point, point_key

# User attributes of a trial. A failed one without a reason does not count: it is void, with VOID
# saying why, or it was abandoned.
DRIVER, POINT, VOID = "driver", "point", "void"
RECORD, FOLDER, REASON, REJECTED = "record", "folder", "reason", "rejected"


@dataclass(frozen=True)
class TakenTrial:
    """A trial of this driver to run.

    Attributes:
        before: numbers of abandoned trials with this point; one may have a record after all.
    """

    trial: Trial
    point: Point
    before: tuple[int, ...] = ()

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.trial.number


@dataclass(frozen=True)
class TrialCounts:
    """The number of trials in each state, void ones left out.

    Attributes:
        abandoned: points to be run again.
    """

    complete: int
    infeasible: int
    failed: int
    running: int
    abandoned: int

    @property
    def finished(self) -> int:
        """Number of trials that have used up a part of the budget."""
        return self.complete + self.infeasible + self.failed


def is_counted(trial: FrozenTrial) -> bool:
    """Whether a trial uses up a part of the budget."""
    return trial.state != TrialState.FAIL or REASON in trial.user_attrs


def is_abandoned(trial: FrozenTrial) -> bool:
    """Whether a trial was given up while its run was unfinished, through no fault of its own."""
    drawn = POINT in trial.user_attrs and VOID not in trial.user_attrs
    return drawn and not is_counted(trial)


def key_of(trial: FrozenTrial) -> str:
    """Key of a trial's point, equal for equal points; that of the empty point if none is drawn."""
    return point_key(trial.user_attrs.get(POINT, {}))
