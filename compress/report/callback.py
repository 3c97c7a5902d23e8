"""A Hydra callback: the report at the end of every multirun."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from compress.config.errors import UserError
from compress.store.run_folder import RUN

log = logging.getLogger(__name__)


class ReportAfterMultirun(Callback):
    """Writes the sweep's report, shows the short table, tracks both, exits with 1 on failures."""

    _begun = False

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra, after the callback that may refuse the folder."""
        self._begun = True

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra once all jobs are done.

        Raises:
            SystemExit: with status 1 if a run failed, or the tracker did not take everything; all
                others are there.
        """
        # Imported here: Hydra builds callbacks before it composes the config, even for --help.
        from compress.job import track_sweep
        from compress.report.experiment import experiment_tables, without_unreadable
        from compress.report.experiment_page import show_tables
        from compress.report.screen import show
        from compress.report.write import write_report
        from compress.system.terminal import open_console

        folder = Path(config.hydra.sweep.dir)
        # Hydra calls it also after an error has ended a sweep: no other end may take its place.
        ended = sys.exc_info()[1] is not None
        # A folder that was refused is not ours to write into.
        if not self._begun or not any(folder.rglob(RUN)):
            return
        try:
            report = write_report([folder], folder)
        except UserError as error:
            if ended:
                return
            # Hydra only warns of an Exception here.
            raise SystemExit(f"error: {error}") from error
        console = open_console()
        show(report, console)
        if config.get("experiment") is not None:
            found = without_unreadable(report.collection)
            if any(record.settings("experiment") for _, record in found.runs):
                show_tables(experiment_tables(found), console)
        untracked = track_sweep(config, folder)
        for reason in dict.fromkeys(untracked):
            log.error("the sweep succeeded, but not all of it was tracked: %s", reason)
        broken = report.collection.failed or report.collection.broken
        # A search continues past points that fail; what it has found is its result.
        nothing = config.get("search") is None or not report.collection.ok
        if not ended and (untracked or (broken and nothing)):
            raise SystemExit(1)
