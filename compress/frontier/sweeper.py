"""The Hydra sweeper `hydra/sweeper=frontier`: finds finalists, then runs them as a search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from compress.config.errors import ConfigError
from compress.search.sweeper import ParetoSweeper, make_search


class FrontierSweeper(ParetoSweeper):
    """Trains and measures only what costs and a super-net promise; see docs/frontier.md."""

    def __init__(self, max_hours: float | None, max_failures: int | None) -> None:
        """Stores the budget.

        Args:
            max_hours: total time of all drivers, from the table of costs to the last finalist; null
                for no limit.
            max_failures: number of finalists that may fail; null for no limit.

        Raises:
            ConfigError: a value is not a number or out of range.
        """
        super().__init__(1, max_hours, max_failures)  # of trials as many as there are finalists

    def sweep(self, arguments: list[str]) -> None:
        """Runs or resumes the search.

        Args:
            arguments: overrides of the command line. Sweeps become dimensions.

        Raises:
            UserError: a setting is wrong, or differs from the study's.
            SystemExit: the search ended before all finalists were run.
        """
        config, context = self.config, self.hydra_context
        assert config is not None
        assert context is not None
        settings: Any = OmegaConf.to_container(config.get("search") or DictConfig({}), resolve=True)
        if "frontier" not in settings:
            raise ConfigError("hydra/sweeper=frontier needs a search: +search=frontier")
        # Imported here: Hydra loads its plugins in every command, and most are not a search.
        from rich.console import Console

        from compress.config.construct import build
        from compress.frontier.propose import Frontier, find_finalists
        from compress.frontier.sizes import proposed_sizes
        from compress.search.run import run_search
        from compress.system.terminal import plain

        began, console = time.perf_counter(), Console()

        def compose(words: Sequence[str]) -> DictConfig:
            return context.config_loader.load_sweep_config(config, list(words))

        def report(line: str) -> None:
            console.print(plain(line), soft_wrap=True)

        if sizes := proposed_sizes(arguments, compose):
            report(f"sizes for this teacher: {' '.join(sizes)}")
        budget = self._budget, self._hours, self._failures
        search = make_search(config, context, [*sizes, *arguments], self._task, budget)
        finalists = find_finalists(
            search.plan,
            build("search.frontier", Frontier, settings["frontier"]),
            compose,
            Path(config.hydra.sweep.dir),
            report,
        )
        points = tuple(dict(each.point) for each in finalists)
        spent = (time.perf_counter() - began) / 3600
        hours = self._hours and max(self._hours - spent, 0.0)
        run_search(
            replace(
                search,
                budget=len(points),
                settings=replace(search.settings, seed_points=points),
                limits=replace(search.limits, hours=hours),
            )
        )
