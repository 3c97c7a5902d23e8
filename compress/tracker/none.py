"""No tracker: a run's record lies in its folder, and the report draws from there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, final

from pydantic.dataclasses import dataclass

from compress.tracker.components.tracking import Tracker

if TYPE_CHECKING:
    from compress.records.schema import RunRecord


@final
@dataclass(frozen=True, kw_only=True)
class NoTracker(Tracker):
    """Takes nothing."""

    def log(self, record: RunRecord, folder: Path, shared: Path) -> None:
        """Leaves the run as it is."""
