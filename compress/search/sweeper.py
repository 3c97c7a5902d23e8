"""The Hydra sweeper `hydra/sweeper=pareto`: runs a search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from compress.config.errors import ConfigError
from compress.config.explain import shown
from compress.job import run_job

if TYPE_CHECKING:
    from compress.search.run import Search

# Hydra's default launcher.
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class ParetoSweeper(Sweeper):
    """Finds trade-offs between several objectives; see docs/search.md."""

    def __init__(self, n_trials: int, max_hours: float | None, max_failures: int | None) -> None:
        """Stores the budget, over all restarts and machines.

        Args:
            n_trials: number of finished, infeasible and failed trials.
            max_hours: total time of all drivers; null for no limit.
            max_failures: number of trials that may fail; null for no limit.

        Raises:
            ConfigError: a value is not a number or out of range.
        """
        check_budget(n_trials, max_hours, max_failures)
        self._budget, self._hours, self._failures = n_trials, max_hours, max_failures

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra."""
        # Used by launchers only. It belongs to a script that other processes cannot import, so the
        # search's own workers run `run_job`.
        self._task = task_function
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Runs or resumes the search.

        Args:
            arguments: overrides of the command line. Sweeps become dimensions.

        Raises:
            UserError: a setting is wrong, or differs from the study's.
            SystemExit: the search ended before its budget was used up.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        if OmegaConf.select(self.config, "search") is None:
            raise ConfigError("hydra/sweeper=pareto needs a search: +search=pareto")
        # Imported here: Hydra loads its plugins in every command, and most are not a search.
        from compress.search.run import run_search

        budget = self._budget, self._hours, self._failures
        run_search(make_search(self.config, self.hydra_context, arguments, self._task, budget))


def check_budget(n_trials: int, max_hours: float | None, max_failures: int | None) -> None:
    """Checks the budget of a search.

    Raises:
        ConfigError: a value is not a number or out of range.
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


def make_search(
    config: DictConfig,
    context: HydraContext,
    arguments: Sequence[str],
    task: TaskFunction,
    budget: tuple[int, float | None, int | None],
) -> Search:
    """A search from its config.

    Args:
        config: of the command, with Hydra's part.
        context: Hydra's.
        arguments: overrides of the command line. Sweeps become dimensions.
        task: what a launcher runs.
        budget: trials, hours and failures.

    Raises:
        UserError: a setting is wrong.
    """
    from compress.search.job import Setup
    from compress.search.limits import Limits
    from compress.search.plan import make_plan, read_settings, thread_share
    from compress.search.run import Search

    trials, hours, failures = budget
    settings, plan = read_settings(config), make_plan(config, context, arguments)
    launcher = None
    if config.hydra.launcher._target_ == BASIC:
        share = thread_share(config, settings.workers)
        plan = replace(plan, fixed=(*plan.fixed, *share))
    else:
        if settings.trial_timeout is not None or settings.early_stopping is not None:
            raise ConfigError(
                "search.trial_timeout and search.early_stopping need the search's own workers; "
                "got another hydra/launcher, whose jobs are not monitored"
            )
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=config
        )
    return Search(
        plan=plan,
        settings=settings,
        budget=trials,
        limits=Limits(hours, failures, settings.trial_timeout, settings.early_stopping),
        folder=Path(config.hydra.sweep.dir),
        setup=Setup(context, config, run_job),
        launcher=launcher,
    )
