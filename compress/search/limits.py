"""When a search ends, and which models it leaves."""

from __future__ import annotations

from dataclasses import dataclass

# What `search.keep_artifacts` may be.
ALL, FRONT = "all", "front"


@dataclass(frozen=True)
class Limits:
    """When to stop before the budget of trials is used up; null for no such limit.

    Attributes:
        hours: of drivers at work, over all restarts.
        failures: trials that failed by their own fault.
        trial_seconds: that one trial may take; time in which it is held does not count.
    """

    hours: float | None
    failures: int | None
    trial_seconds: float | None
