"""Interface of trackers, which pass runs to a tool that shows many of them side by side."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config.settings import Settings
from compress.core.monitor import Forecast, Monitor
from compress.records.curve import CurvePoint, training_name

if TYPE_CHECKING:
    from compress.records.schema import RunRecord

log = logging.getLogger(__name__)


class Tracker(Settings, ABC):
    """A tool that runs are handed to. It changes nothing in them: metrics.json is there first."""

    def check(self) -> None:
        """Raises a UserError if what it needs is not installed; asks no server."""

    def watching(self, folder: Path, outer: Monitor) -> AbstractContextManager[Monitor]:
        """What watches the run of this folder, beside `outer`; most trackers wait for its end."""
        return nullcontext(outer)

    @abstractmethod
    def log(self, record: RunRecord, folder: Path, shared: Path) -> None:
        """Takes a run that has ended, well or not.

        Args:
            record: the content of metrics.json.
            folder: the run's own.
            shared: the folder of the sweep that it belongs to; its own if to none.

        Raises:
            Exception: of any kind, where the tool does not take it.
        """

    def log_report(self, shared: Path) -> None:
        """Takes what was written about a whole sweep into its folder, if the tool has a place."""


class LiveCurves(Monitor):
    """Tells of the points of every curve, and passes on to another monitor what is for it.

    A stage that comes once more makes a model between the stages, to be measured as well: what it
    trains is told of no further.
    """

    def __init__(self, outer: Monitor, tell: Callable[[str, CurvePoint], None]) -> None:
        """Starts to pass points to `tell`; after an error it gets none, and training goes on."""
        self._outer = outer
        self._tell: Callable[[str, CurvePoint], None] | None = tell
        self._stage, self._trainings = "", 0
        self._stages: set[str] = set()
        self._again = False

    def forecast(self, forecast: Callable[[], Forecast]) -> None:
        """Passed on."""
        self._outer.forecast(forecast)

    def stage(self, name: str) -> None:
        """Remembers the name of the next training."""
        self._stage, self._trainings = name, 0
        self._again = name in self._stages
        self._stages.add(name)
        self._outer.stage(name)

    def resume(self, name: str) -> None:
        """Remembers the name of the next training."""
        self._stage, self._trainings = name, 0
        self._outer.resume(name)

    def step(self, done: int, steps: int) -> None:
        """Passed on."""
        self._outer.step(done, steps)

    def look(self, done: int, steps: int, scores: Callable[[], Mapping[str, float]]) -> None:
        """Passed on."""
        self._outer.look(done, steps, scores)

    def training(self) -> Callable[[CurvePoint], None]:
        """Names the training; its points are for both."""
        theirs = self._outer.training()
        if self._again:
            return theirs
        self._trainings += 1
        name = training_name(self._stage, self._trainings)

        def point(each: CurvePoint) -> None:
            if self._tell is not None:
                try:
                    self._tell(name, each)
                except Exception as error:
                    log.error("the training goes on, its curve is not followed: %s", error)
                    self._tell = None
            theirs(each)

        return point

    def quiet(self) -> AbstractContextManager[None]:
        """Passed on."""
        return self._outer.quiet()
