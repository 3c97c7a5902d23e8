"""Messages between a search's worker and its driver while a trial runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from compress.analysis.goals import QUALITY, Constraint
from compress.core.monitor import Forecast, Monitor, Rejected, Stopped
from compress.records.metrics import METRICS
from compress.records.scores import SCORES
from compress.search.limits import EarlyStopping

ORPHANED = 1  # the exit code of a worker whose driver is gone
TRAINING_STAGES = ("student", "pruner")  # the stages whose models are evaluated for early stopping
STEP_SECONDS = 0.2  # between two reports of steps


@dataclass(frozen=True)
class JobSpec:
    """What a worker needs to run a trial, whose number names its folder.

    Attributes:
        constraints: checked before and during the run.
        baseline: known figures of the baseline by metric.
        look: early stopping during training; None for none.
    """

    number: int
    overrides: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    baseline: Mapping[str, float]
    look: EarlyStopping | None = None


@dataclass(frozen=True)
class Rejection:
    """Why a trial was stopped early, and by how much it would exceed each constraint."""

    reason: str
    excesses: Mapping[str, float]


class Reporter(Monitor):
    """Reports the progress of a run to the driver, and asks it to pause other workers.

    If the driver is gone, this process exits at once: the trial is abandoned, and a record of the
    broken connection would be mistaken for the result of the trial.
    """

    def __init__(self, connection: Connection, spec: JobSpec) -> None:
        """Creates the reporter of one trial."""
        self._connection, self._spec = connection, spec
        self._reported = 0.0
        self._stage, self._seen = "", False
        self.rejection: Rejection | None = None

    def forecast(self, forecast: Callable[[], Forecast]) -> None:
        """Stops a trial whose model is certain to break a constraint."""
        broken: dict[str, float] = {}
        words = []
        foreseen = None
        for each in self._spec.constraints:
            # An upper bound is broken for certain if the model's least figure exceeds it.
            figure = METRICS[each.metric].foreseen if each.metric in METRICS else None
            if each.least or figure is None or not self._is_bound_known(each):
                continue
            foreseen = foreseen or forecast()
            least = getattr(foreseen, figure)
            baseline = self._spec.baseline.get(each.metric, 0.0)
            if least is not None and (excess := each.excess(least, baseline)) > 0:
                broken[f"{each.metric} {each}"] = excess
                words.append(f"{each.metric} would be {least:,} or more, allowed is {each}")
        self._reject(broken, "; ".join(words))

    def stage(self, name: str) -> None:
        """Reports the stage, and stops the run if the driver asks for it."""
        self._stage, self._seen = name, False
        self._send("stage", name)
        while self._connection.poll():
            if self._receive() == "stop":
                raise Stopped

    def resume(self, name: str) -> None:
        """Reports the stage."""
        self._stage = name
        self._send("stage", name)

    def step(self, done: int, steps: int) -> None:
        """Reports the training step, at most once per `STEP_SECONDS`."""
        now = time.monotonic()
        if now - self._reported > STEP_SECONDS or done == steps:
            self._reported = now
            self._send("step", (done, steps))

    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        """Stops a trial whose score is too far from a constraint; checks once per stage."""
        asked = self._spec.look
        if (
            asked is None
            or self._seen
            or self._stage not in TRAINING_STAGES
            or done < asked.after * steps
        ):
            return
        self._seen = True
        constraints = filter(self._is_bound_known, self._spec.constraints)
        bounds = [each for each in constraints if _bounds_score(each)]
        if not bounds:
            return
        found = scores()
        broken: dict[str, float] = {}
        words = []
        # A score that is not computed during training is checked only at the end.
        for each in (each for each in bounds if each.metric in found):
            baseline, value = self._spec.baseline.get(each.metric, 0.0), found[each.metric]
            if each.excess(_improved(each.metric, value, asked.margin), baseline) > 0:
                broken[f"{each.metric} {each}"] = each.excess(value, baseline)
                words.append(f"{each.metric} is {value:.3f}, too far from {each}")
        where = f"after {done} of {steps} steps in the {self._stage} stage "
        self._reject(broken, where + " and ".join(words))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Waits until the driver has paused the other workers."""
        self._send("quiet")
        while (message := self._receive()) != "go":
            if message == "stop":
                raise Stopped
        try:
            yield
        finally:
            self._send("loud")

    def _send(self, kind: str, content: object = None) -> None:
        try:
            self._connection.send((kind, content))
        except OSError:
            os._exit(ORPHANED)

    def _receive(self) -> object:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            os._exit(ORPHANED)

    def _is_bound_known(self, bound: Constraint) -> bool:
        """Whether the bound's value is known, if it depends on the baseline."""
        return not bound.factor or bound.metric in self._spec.baseline

    def _reject(self, broken: Mapping[str, float], reason: str) -> None:
        """Stops the run if a bound is broken."""
        if broken:
            self.rejection = Rejection(reason, broken)
            raise Rejected(reason, broken)


def _bounds_score(bound: Constraint) -> bool:
    """Whether a constraint limits how bad a score may be."""
    kind = SCORES.get(bound.metric)
    if kind is None:
        return bound.metric == QUALITY and bound.least
    return bound.least == (kind.better == "higher")


def _improved(metric: str, value: float, margin: float) -> float:
    """A score with its quality better by a margin."""
    return value + margin if metric == QUALITY else SCORES[metric].moved(value, margin)
