"""The Hydra sweeper `hydra/sweeper=rows`: runs the rows of an experiment, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from compress.config.ending import one_line
from compress.config.errors import ConfigError, UserError

if TYPE_CHECKING:
    from compress.experiment.definition import Experiment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        label: the row's name, and where there are several points, which one it is.
        overrides: all that it is composed of.
    """

    label: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Given:
    """A command line, sorted.

    Attributes:
        fixed: overrides of every run.
        sweeps: by key, what the rows are crossed with.
        rows: the rows that are asked for; None for all.
    """

    fixed: tuple[str, ...]
    sweeps: dict[str, str]
    rows: tuple[str, ...] | None


class RowsSweeper(Sweeper):
    """Runs each row of an experiment at each point that it is crossed with.

    All runs are composed and checked before the first of them begins.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Runs the rows.

        Args:
            arguments: overrides of the command line. They have the last word over a row's; sweeps
                among them are crossed with the rows, and `experiment.row=a,b` names the rows.

        Raises:
            ConfigError: there is no experiment, or runs are invalid; names them and the reasons.
        """
        assert self.config is not None
        assert self.launcher is not None
        if OmegaConf.select(self.config, "experiment") is None:
            raise ConfigError("hydra/sweeper=rows needs an experiment: +experiment=…")
        jobs = list(self._jobs(_sorted(arguments)))
        self._check(jobs)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        log.info("%d runs: %s", len(jobs), ", ".join(job.label for job in jobs))
        for result in self.launcher.launch([job.overrides for job in jobs], initial_job_idx=0):
            _ = result.return_value  # raises what ended a run before it was one

    def _jobs(self, given: Given) -> Iterator[Job]:
        """Every run, in order: those at the first point before those at the next."""
        # Imported here: Hydra is told of its plugins in every command, and most run no experiment.
        from compress.config.compose import literal
        from compress.experiment.definition import CROSS, ROW, joined, points, selected

        cross = _crossed(self._experiment(given.fixed).cross, given)
        found = points(cross)
        for number, point in enumerate(found):
            # An option may be swept, too: then the rows differ from point to point.
            experiment = self._experiment([*given.fixed, *point])
            for name in selected(experiment, given.rows):
                folder = name if len(found) == 1 else f"{name}-{number}"
                own = (f"{ROW}={name}", f"{CROSS}={literal(cross)}", f"hydra.sweep.subdir={folder}")
                overrides = joined(experiment.rows[name].overrides, [*given.fixed, *point])
                label = name if len(found) == 1 else f"{name} ({', '.join(point)})"
                yield Job(label, tuple(joined(overrides, own)))

    def _experiment(self, overrides: Sequence[str]) -> Experiment:
        """As some overrides make it. Those of other things may go with no more than some rows."""
        from compress.experiment.definition import key_of, parse_experiment

        steering = [each for each in overrides if key_of(each).startswith("experiment")]
        found = self._compose(steering).experiment
        return parse_experiment(OmegaConf.to_container(found, resolve=True))

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        return loader.load_sweep_config(self.config, list(overrides))

    def _check(self, jobs: Sequence[Job]) -> None:
        """Builds every run, and loads nothing.

        Raises:
            ConfigError: some cannot be; names each, once for all that share a reason.
        """
        from compress.build import build_run

        wrong: dict[str, list[str]] = {}
        for job in jobs:
            try:
                build_run(self._compose(job.overrides))
            except (HydraException, OmegaConfBaseException, UserError) as error:
                wrong.setdefault(one_line(error), []).append(job.label)
        if wrong:
            words = "; ".join(f"{', '.join(labels)}: {why}" for why, labels in wrong.items())
            count = sum(map(len, wrong.values()))
            raise ConfigError(
                f"{count} of {len(jobs)} runs are invalid, and none was started: {words} "
                "(experiment.row=… names the rows to run)"
            )


def _sorted(arguments: Sequence[str]) -> Given:
    """Which part each override of the command line has."""
    from compress.experiment.definition import ROW, key_of, points

    fixed, sweeps, rows = [], {}, None
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        words = override.input_line or ""
        if key_of(words) == ROW:
            rows = tuple(each.partition("=")[2] for (each,) in points([words]))
        elif override.is_sweep_override():
            sweeps[key_of(words)] = words
        else:
            fixed.append(words)
    return Given(tuple(fixed), sweeps, rows)


def _crossed(defined: Sequence[str], given: Given) -> list[str]:
    """The experiment's own sweeps, but for what the command line sets or sweeps, and its own."""
    from compress.experiment.definition import key_of

    taken = {*map(key_of, given.fixed), *given.sweeps}
    return [*(each for each in defined if key_of(each) not in taken), *given.sweeps.values()]
