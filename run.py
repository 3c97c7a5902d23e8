"""Compresses a transformer and measures it: `python run.py pruner=wanda`; `-m` sweeps."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from compress.cli import command_line
from compress.job import TRUSTED_TARGETS, run_job


@hydra.main(config_path="conf", config_name="config", execution_whitelist=TRUSTED_TARGETS)
def main(cfg: DictConfig) -> float | list[float]:
    """One run; returns its objectives to the sweeper."""
    return run_job(cfg)


if __name__ == "__main__":
    with command_line():
        main()
