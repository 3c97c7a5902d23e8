"""Limits of a search and of its trials."""

from __future__ import annotations

import dataclasses

from pydantic.dataclasses import dataclass

from compress.config.fields import Fraction
from compress.config.settings import Settings

# Values of `search.keep_artifacts`.
ALL, FRONT = "all", "front"


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Settings):
    """Early stopping of trials during training.

    Attributes:
        after: fraction of the training steps after which the model is evaluated.
        margin: a trial is stopped if its validation score is then worse than a constraint by
            more than this, in quality (see `compress.records.scores`): absolute for accuracy,
            relative for perplexity.
    """

    after: Fraction
    margin: Fraction


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits besides the budget of trials; None for no limit.

    Attributes:
        hours: total time of all drivers, over all restarts.
        failures: number of failed trials.
        trial_seconds: time limit of one trial, pauses excluded.
        look: early stopping during training; None with Hydra's launchers.
        spent: hours that had passed before the first trial.
        least: number of finished trials before which the hours end nothing.
    """

    hours: float | None
    failures: int | None
    trial_seconds: float | None
    look: EarlyStopping | None = None
    spent: float = 0.0
    least: int = 0
