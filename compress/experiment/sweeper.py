"""The Hydra sweeper `hydra/sweeper=rows`: runs the rows of an experiment, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from compress.config.compose import literal
from compress.config.errors import ConfigError
from compress.experiment.grid import refusal

if TYPE_CHECKING:
    from compress.experiment.definition import Experiment

log = logging.getLogger(__name__)


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
        jobs = list(self._jobs(arguments))
        self._check(jobs)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        log.info("%d runs: %s", len(jobs), ", ".join(label for label, _ in jobs))
        for result in self.launcher.launch([words for _, words in jobs], initial_job_idx=0):
            _ = result.return_value  # raises what ended a run before it was one

    def _jobs(self, arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Label and overrides of every run: those at the first point before those at the next."""
        # Imported here: Hydra is told of its plugins in every command, and most run no experiment.
        from compress.experiment.definition import (
            CROSS,
            ROW,
            joined,
            key_of,
            parse_arguments,
            points,
            selected,
        )

        fixed, sweeps, rows = parse_arguments(arguments)
        given = {*map(key_of, fixed), *map(key_of, sweeps)}
        own = [each for each in self._experiment(fixed).cross if key_of(each) not in given]
        cross = [*own, *sweeps]
        found = points(cross)
        for number, point in enumerate(found):
            # An option may be swept, too: then the rows differ from point to point.
            experiment = self._experiment([*fixed, *point])
            for name in selected(experiment, rows):
                folder, label = name, name
                if len(found) > 1:
                    folder, label = f"{name}-{number}", f"{name} ({', '.join(point)})"
                words = joined(experiment.rows[name].overrides, [*fixed, *point])
                place = f"hydra.sweep.subdir={folder}"
                yield label, joined(words, [f"{ROW}={name}", f"{CROSS}={literal(cross)}", place])

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

    def _check(self, jobs: Sequence[tuple[str, list[str]]]) -> None:
        """Builds every run, and loads nothing.

        Raises:
            ConfigError: some cannot be; names each, once for all that share a reason.
        """
        assert self.hydra_context is not None
        assert self.config is not None
        wrong: dict[str, list[str]] = {}
        for label, overrides in jobs:
            why = refusal(self.hydra_context.config_loader, self.config, overrides)
            if why is not None:
                wrong.setdefault(why, []).append(label)
        if wrong:
            words = "; ".join(f"{', '.join(labels)}: {why}" for why, labels in wrong.items())
            count = sum(map(len, wrong.values()))
            raise ConfigError(
                f"{count} of {len(jobs)} runs are invalid, and none was started: {words} "
                "(experiment.row=… names the rows to run)"
            )
