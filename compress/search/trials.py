"""What a study says of its trials: the attributes that they have, and which of them count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from compress.search.space import Point, point_key

# User attributes of a trial. A failed one without a reason counts for nothing: it is void, and
# says why, or it was lost.
DRIVER, POINT, VOID = "driver", "point", "void"
RECORD, FOLDER, REASON, REJECTED = "record", "folder", "reason", "rejected"


@dataclass(frozen=True)
class TakenTrial:
    """A trial of this driver to run.

    Attributes:
        before: the numbers of trials with this point that were lost; one may have ended first.
    """

    trial: Trial
    point: Point
    before: tuple[int, ...] = ()

    @property
    def number(self) -> int:
        """The trial's."""
        return self.trial.number


@dataclass(frozen=True)
class TrialCounts:
    """How many trials there are of each kind; those that are void count for nothing.

    Attributes:
        lost: points to be run again.
    """

    complete: int
    infeasible: int
    failed: int
    running: int
    lost: int

    @property
    def finished(self) -> int:
        """Those that have used up a part of the budget."""
        return self.complete + self.infeasible + self.failed


def is_counted(trial: FrozenTrial) -> bool:
    """Whether a trial uses up a part of the budget."""
    return trial.state != TrialState.FAIL or REASON in trial.user_attrs


def is_abandoned(trial: FrozenTrial) -> bool:
    """Whether a trial ended by no fault of its own, before its run did."""
    drawn = POINT in trial.user_attrs and VOID not in trial.user_attrs
    return drawn and not is_counted(trial)


def reasons_of(trials: Iterable[FrozenTrial]) -> dict[str, int]:
    """Why trials that count failed, the most frequent reason first, with how many."""
    failed = (trial for trial in trials if trial.state == TrialState.FAIL and is_counted(trial))
    return dict(Counter(str(trial.user_attrs[REASON]) for trial in failed).most_common())


def key_of(trial: FrozenTrial) -> str:
    """The same text for trials of equal points; of one that has drawn none, that of no point."""
    return point_key(trial.user_attrs.get(POINT, {}))
