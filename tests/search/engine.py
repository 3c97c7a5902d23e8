"""Searches over jobs that are not models: `python -m tests.search.engine FOLDER …` runs one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from compress.analysis.goals import parse_goals
from compress.search.grammar import parse_space
from compress.search.job import Setup
from compress.search.limits import Limits
from compress.search.plan import Plan, SearchSettings
from compress.search.run import Search, run_search
from compress.search.sampler import SamplerSettings
from tests.search.faults import job

PRELOAD = (
    "compress.search.job",
    "tests.search.faults",
    "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper",
)
CONFIG = """
seed: 0
x: 0.5
fault: none
seconds: 0.0
hydra:
  sweep: {dir: %s, subdir: "${hydra.job.num}"}
  job: {chdir: false}
"""
SPACE = {"x": "range(0.1, 1.0, step=0.02)"}
OBJECTIVES = {"accuracy": "maximize", "size_bytes": "minimize"}


def search_of(
    folder: Path,
    *,
    space: dict[str, Any] = SPACE,
    budget: int = 4,
    workers: int = 1,
    storage: str = "sqlite",
    fixed: tuple[str, ...] = (),
    constraints: dict[str, str] | None = None,
    limits: Limits | None = None,
    keep: str = "all",
    sampler: str = "random",
    objectives: dict[str, str] = OBJECTIVES,
    task: Callable[[DictConfig], Any] = job,
) -> Search:
    """A search in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "config.yaml").write_text(CONFIG % (folder / "trials"))
    with initialize_config_dir(str(conf)):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("config", [], run_mode=RunMode.MULTIRUN)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    settings = SearchSettings(
        name="test",
        workers=workers,
        storage=storage,
        sampler=SamplerSettings(name=sampler, seed=0, options={}),
        seed_points=(),
        trial_timeout=None,
        early_stopping=None,
        keep_artifacts=keep,
    )
    goals = parse_goals(objectives, constraints, "validation")
    plan = Plan(parse_space(space), goals, fixed, {"space": str(space)})
    setup = Setup(context, config, task, preload=PRELOAD)
    return Search(
        plan, settings, budget, limits or Limits(None, None, None), folder / "trials", setup
    )


if __name__ == "__main__":
    options = OmegaConf.to_container(OmegaConf.from_dotlist(sys.argv[2:]))
    assert isinstance(options, dict)
    if "fixed" in options:
        options["fixed"] = tuple(options["fixed"])
    run_search(search_of(Path(sys.argv[1]), **options))
