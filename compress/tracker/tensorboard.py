"""TensorBoard: event files in each run's folder. The curves are there while a run trains.

`tensorboard --logdir outputs` shows all runs below a folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, final

from pydantic.dataclasses import dataclass

from compress.core.monitor import Monitor
from compress.records.curve import CurvePoint, curves
from compress.records.recipe import recipe
from compress.records.schema import FinishedRun
from compress.system.packages import require
from compress.tracker.components.figures import figures
from compress.tracker.components.tracking import LiveCurves, Tracker

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from compress.records.schema import RunRecord

log = logging.getLogger(__name__)

FOLDER, EVENTS = "tensorboard", "events.out.tfevents.*"
LOSS, VALIDATION = "loss", "validation_loss"


@final
@dataclass(frozen=True, kw_only=True)
class TensorBoardTracker(Tracker):
    """Writes event files: curves as `loss/pruner`, figures as `figures/accuracy` at step 0.

    A stage that was found in the cache did not train: its curve is written when the run has ended.
    """

    def check(self) -> None:
        """Raises a UserError if the package is not there."""
        require("tracker=tensorboard", "tensorboard", "tensorboard")

    @contextmanager
    def watching(self, folder: Path, outer: Monitor) -> Iterator[Monitor]:
        """Within it, each point of a curve is on the disk as soon as there is one."""
        # Of a run that this folder held before. What else lies there was not written by it.
        for old in (folder / FOLDER).glob(EVENTS):
            old.unlink()
        writer = _writer(folder)

        def tell(training: str, point: CurvePoint) -> None:
            _add(writer, training, point)
            writer.flush()

        try:
            yield LiveCurves(outer, tell)
        finally:
            # The run goes on to its record, which has the curves too.
            try:
                writer.close()
            except OSError as error:
                log.error("the curves in %s are not whole: %s", writer.log_dir, error)

    def log(self, record: RunRecord, folder: Path, shared: Path) -> None:
        """Adds the figures, what was done, and the curves that were not seen live."""
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        files = sorted((folder / FOLDER).glob(EVENTS))
        events = (event for file in files for event in EventFileLoader(str(file)).Load())
        live = {value.tag for event in events for value in event.summary.value}
        with closing(_writer(folder)) as writer:
            history = record.history if isinstance(record, FinishedRun) else ()
            for training, points in curves(history):
                if f"{LOSS}/{training}" not in live:
                    for point in points:
                        _add(writer, training, point)
            for name, value in figures(record).items():
                writer.add_scalar(f"figures/{name}", value, 0)
            # Indented, because TensorBoard reads Markdown.
            writer.add_text("recipe", indent(recipe(record), "    "))
            if record.error is not None:
                writer.add_text("error", indent(record.error, "    "))


def _writer(folder: Path) -> SummaryWriter:
    # Imported here: it takes a second, and only runs with this tracker need it.
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / FOLDER))


def _add(writer: SummaryWriter, training: str, point: CurvePoint) -> None:
    for name, loss in ((LOSS, point.loss), (VALIDATION, point.validation_loss)):
        if loss is not None:
            writer.add_scalar(f"{name}/{training}", loss, point.step)
