"""Sweeps of experiments whose runs are not run."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from compress.experiment.sweeper import RowsSweeper
from tests.configs import ROOT


def sweep(folder: Path, *arguments: str) -> list[list[str]]:
    """The overrides of each run that `python run.py -m` would launch with these arguments."""
    with initialize_config_dir(str(ROOT / "conf")):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        overrides = [*arguments, f"hydra.sweep.dir={folder}"]
        sweeper = RowsSweeper()
        sweeper.config = hydra.compose_config("config", overrides, run_mode=RunMode.MULTIRUN)
        sweeper.hydra_context = HydraContext(
            config_loader=hydra.config_loader, callbacks=Callbacks()
        )
        sweeper.launcher = Mock()
        sweeper.launcher.launch.return_value = []
        sweeper.sweep(OmegaConf.to_object(sweeper.config.hydra.overrides.task))
    jobs: list[list[str]] = sweeper.launcher.launch.call_args.args[0]
    return jobs
