"""Weights & Biases: settings, figures and curves, online or in a folder to be synced.

Every run is one of theirs; those of a sweep have its folder's name as their group.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, final

from pydantic.dataclasses import dataclass

from compress.config.errors import ConfigError
from compress.records.curve import curves
from compress.records.recipe import recipe
from compress.records.schema import FinishedRun, RunRecord
from compress.system.packages import require
from compress.tracker.components.figures import figures
from compress.tracker.components.tracking import Tracker

# Neither errors nor usage are sent to the makers of the library.
PRIVACY = {"WANDB_ERROR_REPORTING": "false", "DO_NOT_TRACK": "true"}


@final
@dataclass(frozen=True, kw_only=True)
class WandbTracker(Tracker):
    """Logs runs to Weights & Biases when they have ended.

    Attributes:
        project: created if absent.
        entity: user or team; null for the default one. The key is WANDB_API_KEY, or of
            `wandb login`; a server is WANDB_BASE_URL.
        mode: "offline" writes below `dir`, to be uploaded by `wandb sync`.
        dir: folder of its files.
    """

    project: str
    entity: str | None
    mode: Literal["online", "offline"]
    dir: str

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: there is no project.
        """
        super().__post_init__()
        if not self.project:
            raise ConfigError("tracker.project must be a name, got nothing")

    def check(self) -> None:
        """Raises a UserError if the package is not there."""
        require("tracker=wandb", "wandb", "wandb")

    def log(self, record: RunRecord, folder: Path, shared: Path) -> None:
        """Makes a run of it, with the figures as its summary."""
        for name, value in PRIVACY.items():
            os.environ.setdefault(name, value)
        import wandb

        Path(self.dir).mkdir(parents=True, exist_ok=True)
        words = recipe(record)
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            dir=self.dir,
            name=f"{folder.name}: {words}",
            group=None if shared == folder else f"{shared.parent.name}/{shared.name}",
            config=dict(record.config),
            tags=[record.status],
            notes=record.error,
            mode=self.mode,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", save_code=False, disable_git=True,
                x_disable_stats=True, x_disable_meta=True,
            ),
        )  # fmt: skip
        for step, losses in _steps(record):
            run.log({**losses, "step": step})
        run.summary.update({"recipe": words, **figures(record)})
        run.finish(exit_code=int(record.status == "failed"))


def _steps(record: RunRecord) -> Iterator[tuple[int, dict[str, Any]]]:
    """The points of every curve at their steps, one training after the other."""
    history = record.history if isinstance(record, FinishedRun) else ()
    for training, points in curves(history):
        for point in points:
            losses = {"loss": point.loss, "validation_loss": point.validation_loss}
            yield (
                point.step,
                {f"{name}/{training}": v for name, v in losses.items() if v is not None},
            )
