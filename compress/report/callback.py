"""A Hydra callback: the report at the end of every multirun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class ReportAfterMultirun(Callback):
    """Writes the sweep's tables and plots, shows the short table, and exits with 1 on failures."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra once all jobs are done.

        Raises:
            SystemExit: with status 1 if a run failed; the others are all there.
        """
        # Imported here: Hydra builds callbacks before it composes the config, even for --help.
        from compress.report.screen import show
        from compress.report.terminal import open_console
        from compress.report.write import write_report

        folder = Path(config.hydra.sweep.dir)
        if not folder.is_dir():
            return  # nothing was begun
        report = write_report([folder], folder)
        show(report, open_console())
        broken = report.collection.failed or report.collection.broken
        # A search goes on over points that cannot be had; what it has found is its result.
        if broken and config.get("search") is None:
            raise SystemExit(1)
