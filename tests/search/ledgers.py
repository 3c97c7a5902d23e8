"""What tests of the ledger share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from optuna.trial import TrialState

from compress.analysis.goals import parse_goals
from compress.search.ledger import Ledger
from compress.search.owner import Owner
from compress.search.space import point_key
from compress.search.trials import POINT, Claim
from tests.search.records import record_of

GOALS = parse_goals(
    {"accuracy": "maximize", "size_bytes": "minimize"},
    {"accuracy": ">= 0.5 * baseline"},
    "validation",
)


WIDE = {"a.x": "interval(0.0, 1.0)", "b": "choice(one, two)"}


NARROW = {"b": "choice(one, two)", "c": "choice(1, 2, 3)"}


NOBODY = 2**22 + 1  # above the largest process number of any system


Ledgers = Callable[..., Ledger]


def here() -> Owner:
    return Owner.here()


def die(ledger: Ledger) -> None:
    """Has the driver of a ledger be a process that is gone."""
    ledger.owner = replace(ledger.owner, pid=NOBODY)
    ledger._heard = 0.0
    ledger.beat()


def finish(ledger: Ledger, claim: Claim) -> None:
    ledger.finish(claim, record_of(), Path("folder"))


def claimed(ledger: Ledger) -> Claim:
    claim = ledger.claim()
    assert claim is not None
    return claim


def complete(ledger: Ledger) -> list[str]:
    states = (TrialState.COMPLETE,)
    return [point_key(t.user_attrs[POINT]) for t in ledger.trials() if t.state in states]
