"""Sweeps of experiments whose runs are not run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from compress.experiment.sweeper import RowsSweeper
from tests.configs import ROOT


class Listing(Launcher):
    """Keeps what it is asked to launch."""

    def __init__(self) -> None:
        self.jobs: list[list[str]] = []

    def setup(self, **_: Any) -> None: ...

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        self.jobs += map(list, job_overrides)
        done = JobReturn()
        done.status = JobStatus.COMPLETED
        done.return_value = 0.0
        return [done] * len(job_overrides)


def sweep(
    folder: Path, *arguments: str, name: str = "config", conf: Path = ROOT / "conf"
) -> list[list[str]]:
    """The overrides of each run that `python run.py -m` would launch with these arguments."""
    with initialize_config_dir(str(conf)):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        overrides = [*arguments, f"hydra.sweep.dir={folder}"]
        config = hydra.compose_config(name, overrides, run_mode=RunMode.MULTIRUN)
        sweeper, launcher = RowsSweeper(), Listing()
        sweeper.hydra_context = HydraContext(
            config_loader=hydra.config_loader, callbacks=Callbacks()
        )
        sweeper.config, sweeper.launcher = config, launcher
        task = OmegaConf.to_container(config.hydra.overrides.task)
        assert isinstance(task, list)
        sweeper.sweep(task)
    return launcher.jobs
