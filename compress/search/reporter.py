"""What a search's worker says to its driver while a trial runs, and hears from it."""

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
TRAINING_STAGES = ("student", "pruner")  # the stages in which an early look says something
STEP_SECONDS = 0.2  # between two reports of steps


@dataclass(frozen=True)
class JobSpec:
    """A trial to run.

    Attributes:
        number: the trial's, and its folder's name.
        overrides: what the job is composed of.
        constraints: that a forecast can break.
        baseline: its figures by metric, as far as they are known by now.
        look: at models in training; null for none.
    """

    number: int
    overrides: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    baseline: Mapping[str, float]
    look: EarlyStopping | None = None


@dataclass(frozen=True)
class Rejection:
    """Why a trial was not finished, and how far it would have been beyond which constraints."""

    reason: str
    excesses: Mapping[str, float]


class Reporter(Monitor):
    """Tells the driver of a run, and asks it for quiet.

    Once the driver is gone, this process ends on the spot, as if it had been killed with it: nobody
    waits for the trial, and a record that the connection broke would pass for how it ended.
    """

    def __init__(self, connection: Connection, spec: JobSpec) -> None:
        """Reports on one trial."""
        self._connection, self._spec = connection, spec
        self._reported = 0.0
        self._stage, self._seen = "", False
        self.rejection: Rejection | None = None

    def forecast(self, forecast: Callable[[], Forecast]) -> None:
        """Rejects what is sure to break a constraint."""
        broken: dict[str, float] = {}
        words = []
        foreseen = None
        for each in self._spec.constraints:
            # A bound from above is broken for sure by what the model has at least.
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
        """Reports it, and ends the run if the driver wants that."""
        self._stage, self._seen = name, False
        self._send("stage", name)
        while self._connection.poll():
            self._obey(self._receive())

    def step(self, done: int, steps: int) -> None:
        """Reports it now and then."""
        now = time.monotonic()
        if now - self._reported > STEP_SECONDS or done == steps:
            self._reported = now
            self._send("step", (done, steps))

    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        """Ends a trial whose score is too far from what is asked for; looks once a stage."""
        asked = self._spec.look
        if (
            asked is None
            or self._seen
            or self._stage not in TRAINING_STAGES
            or done < asked.after * steps
        ):
            return
        self._seen = True
        bounds = [
            each
            for each in self._spec.constraints
            if _bounds_score(each) and self._is_bound_known(each)
        ]
        if not bounds:
            return
        found = scores()
        broken: dict[str, float] = {}
        words = []
        # A score that is not taken in training is judged at the end alone.
        for each in (each for each in bounds if each.metric in found):
            baseline, value = self._spec.baseline.get(each.metric, 0.0), found[each.metric]
            if each.excess(_improved(each.metric, value, asked.margin), baseline) > 0:
                broken[f"{each.metric} {each}"] = each.excess(value, baseline)
                words.append(f"{each.metric} is {value:.3f}, too far from {each}")
        where = f"after {done} of {steps} steps in the {self._stage} stage "
        self._reject(broken, where + " and ".join(words))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Waits until the driver holds the other workers."""
        self._send("quiet")
        while (word := self._receive()) != "go":
            self._obey(word)
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
        """Whether it is known by now what the bound is."""
        return not bound.factor or bound.metric in self._spec.baseline

    def _reject(self, broken: Mapping[str, float], reason: str) -> None:
        """Ends the run if a bound is broken."""
        if broken:
            self.rejection = Rejection(reason, broken)
            raise Rejected(reason, broken)

    def _obey(self, word: object) -> None:
        if word == "stop":
            raise Stopped


def _bounds_score(bound: Constraint) -> bool:
    """Whether it says how bad a score may be."""
    kind = SCORES.get(bound.metric)
    if kind is None:
        return bound.metric == QUALITY and bound.least
    return bound.least == (kind.better == "higher")


def _improved(metric: str, value: float, margin: float) -> float:
    """A score with its quality better by a margin."""
    return value + margin if metric == QUALITY else SCORES[metric].moved(value, margin)
