"""The Hydra sweeper `hydra/sweeper=pareto`: has a search run for as long as its budget lasts."""

from __future__ import annotations

import math
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from compress.config.errors import ConfigError
from compress.config.explain import shown
from compress.job import run_job

# Where no other launcher is asked for.
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class ParetoSweeper(Sweeper):
    """Finds trade-offs between several objectives; see docs/search.md."""

    def __init__(self, n_trials: int, max_hours: float | None, max_failures: int | None) -> None:
        """Takes the budget, over all restarts and machines.

        Args:
            n_trials: that count: finished, infeasible or failed by their own fault.
            max_hours: of drivers at work; null for no limit.
            max_failures: trials that may fail; null for no limit.

        Raises:
            ConfigError: one is not above zero, or no number.
        """
        for name, value, least in (("n_trials", n_trials, 1), ("max_failures", max_failures, 0)):
            if value is None and name != "n_trials":
                continue
            if type(value) is not int or value < least:
                raise ConfigError(
                    f"hydra.sweeper.{name} must be an integer >= {least}, got {shown(value)}"
                )
        if max_hours is not None:
            number = type(max_hours) in (int, float)
            if not number or not 0 <= max_hours < math.inf:
                raise ConfigError(
                    f"hydra.sweeper.max_hours must be a number >= 0, got {shown(max_hours)}"
                )
        self._budget, self._hours, self._failures = n_trials, max_hours, max_failures

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra."""
        # For launchers. It is of a script, which no other process can import by its name: workers
        # of our own run what it runs.
        self._task = task_function
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Runs or carries on the search.

        Args:
            arguments: overrides of the command line. A sweep among them is a dimension.

        Raises:
            UserError: a setting is wrong, or the study was begun with others.
            SystemExit: it ended before its budget was used up.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        if OmegaConf.select(self.config, "search") is None:
            raise ConfigError("hydra/sweeper=pareto needs a search: +search=pareto")
        # Imported here: Hydra is told of its plugins in every command, and most are no search.
        from compress.search.job import Setup
        from compress.search.limits import Limits
        from compress.search.plan import make_plan, read_settings, thread_share
        from compress.search.run import Search, run_search

        settings = read_settings(self.config)
        plan = make_plan(self.config, self.hydra_context, arguments)
        launcher = None
        if self.config.hydra.launcher._target_ != BASIC:
            if settings.trial_timeout is not None or settings.early_stopping is not None:
                raise ConfigError(
                    "search.trial_timeout and search.early_stopping need the search's own workers; "
                    "got another hydra/launcher, whose jobs are not monitored"
                )
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=self.hydra_context, task_function=self._task, config=self.config
            )
        search = Search(
            plan=plan,
            settings=settings,
            budget=self._budget,
            limits=Limits(
                self._hours, self._failures, settings.trial_timeout, settings.early_stopping
            ),
            folder=Path(self.config.hydra.sweep.dir),
            setup=Setup(self.hydra_context, self.config, run_job),
            threads=thread_share(self.config, settings.workers),
            launcher=launcher,
        )
        run_search(search)
