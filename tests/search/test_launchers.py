"""Hydra's launchers run the trials of a search: each one that is installed, on tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.search.test_sweeper import SEARCH, run

LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ("hydra.launcher.n_jobs=2",)),
    "submitit_local": (
        "hydra_plugins.hydra_submitit_launcher",
        ("hydra.launcher.cpus_per_task=1",),
    ),
    "ray": ("hydra_plugins.hydra_ray_launcher", ()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_runs_the_trials(tmp_path: Path, name: str) -> None:
    plugin, options = LAUNCHERS[name]
    pytest.importorskip(plugin, reason=f"the launcher {name} is not installed")
    done = run(
        tmp_path,
        *SEARCH,
        "pruner=none,heads",
        "pruner.sparsity=0.5,0.75,0.25",
        "search.constraints=null",
        "search.keep_artifacts=all",
        "search.workers=2",
        "hydra.sweeper.n_trials=4",
        f"hydra/launcher={name}",
        *options,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    front = json.loads((tmp_path / "search" / "front.json").read_text())
    # A quarter of two heads is none: that trial fails, by its own fault and alone.
    assert (front["complete"], front["failed"]) == (3, 1)
    records = list((tmp_path / "search").glob("[0-9]*/metrics.json"))
    assert len(records) == 4
