"""When a search ends, and which models it leaves."""

from __future__ import annotations

import dataclasses

from pydantic.dataclasses import dataclass

from compress.config.fields import Fraction
from compress.config.settings import Settings

# What `search.keep_artifacts` may be.
ALL, FRONT = "all", "front"


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Settings):
    """When to look at a model in training, and when to give it up.

    Attributes:
        after: share of a training's steps.
        margin: a trial is given up if its score on the validation rows is then worse than what a
            constraint asks for by more than this, in quality (see `compress.records.scores`): in
            accuracy itself, in perplexity a share of it.
    """

    after: Fraction
    margin: Fraction


@dataclasses.dataclass(frozen=True)
class Limits:
    """When to stop before the budget of trials is used up; null for no such limit.

    Attributes:
        hours: of drivers at work, over all restarts.
        failures: trials that failed by their own fault.
        trial_seconds: that one trial may take; time in which it is held does not count.
        look: at models in training; with Hydra's launchers there is none.
    """

    hours: float | None
    failures: int | None
    trial_seconds: float | None
    look: EarlyStopping | None = None
