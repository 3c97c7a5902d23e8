"""The runs of a plain sweep, `-m` with comma-separated values: checked before the first begins."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from compress.config.ending import one_line
from compress.config.errors import UserError

log = logging.getLogger(__name__)


class CheckGrid(Callback):
    """Builds each run of a plain sweep, which loads nothing, before the first of them begins.

    A value with which no run is valid is a mistake, and ends the program. Where a value goes with
    some of the others alone, as a format with a runtime, the runs that it does not go with are
    named, will be recorded as failed, and the others go on.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra before a sweep.

        Raises:
            SystemExit: there is a value with which no run is valid.
        """
        if config.hydra.sweeper._target_.rpartition(".")[2] != BasicSweeper.__name__:
            return  # the others have checks of their own
        try:
            jobs = _jobs(config.hydra.overrides.task)
        except HydraException:
            return  # its sweeper reports the error next
        loader = GlobalHydra.instance().config_loader()
        wrong = {job: why for job in jobs if (why := refusal(loader, config, job)) is not None}
        if words := _mistake(jobs, wrong):
            # Hydra only warns of an Exception here.
            raise SystemExit(f"error: {words}")
        for why in dict.fromkeys(wrong.values()):
            named = [_named(job, jobs) for job, reason in wrong.items() if reason == why]
            count = f"{len(named)} of {len(jobs)} runs"
            log.warning("warning: %s will fail: %s: %s", count, "; ".join(named), why)


def _jobs(arguments: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of each run, as Hydra's sweeper makes them."""
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    [found] = BasicSweeper.split_arguments(overrides, None)
    return [tuple(job) for job in found]


def refusal(loader: ConfigLoader, config: DictConfig, job: Sequence[str]) -> str | None:
    """Why a run of a sweep is not valid; None if it is. It is built, and nothing is loaded."""
    from compress.build import build_run

    try:
        build_run(loader.load_sweep_config(config, list(job)))
    except (HydraException, OmegaConfBaseException, UserError) as error:
        return one_line(error)
    return None


def _mistake(jobs: Sequence[tuple[str, ...]], wrong: Mapping[tuple[str, ...], str]) -> str | None:
    """What to say of values with which no run is valid; None if there is no such value."""
    valid = {word for job in jobs if job not in wrong for word in job}
    if not valid:
        reasons = dict.fromkeys(wrong.values())
        return "; ".join(reasons)
    never = {word: why for job, why in wrong.items() for word in job if word not in valid}
    if not never:
        return None
    words = "; ".join(f"with {word}: {why}" for word, why in never.items())
    return f"some runs are invalid, and none was started: {words}"


def _named(job: Sequence[str], jobs: Sequence[tuple[str, ...]]) -> str:
    """What tells a run from the others."""
    shared = set.intersection(*map(set, jobs))
    # Hydra writes "2:4" as "2\\:4".
    return " ".join(word.replace("\\", "") for word in job if word not in shared)
