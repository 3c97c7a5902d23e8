"""Which plain sweeps begin: every run is checked before the first."""

from __future__ import annotations

import logging
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from omegaconf import OmegaConf

from compress.cli import call
from compress.config.errors import UserError
from compress.experiment import grid

TINY = ("teacher=tiny_random", "device.benchmark.seconds=0.05", "controls=never")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        pytest.param(
            ("pruner=wanda", "pruner.sparsity=0.3,1.5"),
            "some runs are invalid, and none was started: with pruner.sparsity=1.5: "
            r"pruner.sparsity must be in \[0, 1\), got 1.5",
            id="one value",
        ),
        pytest.param(
            ("pruner=wandaa,wanda",),
            "none was started: with pruner=wandaa: pruner=wandaa is not available",
            id="one choice",
        ),
        pytest.param(
            ("seed=0,1", "task.limit=-1"), "^task.limit must be > 0 or null, got -1$", id="all"
        ),
        pytest.param(
            ("quantizer=fp16,int8_static", "device=cpu"), "with quantizer=int8_static: ", id="pair"
        ),
    ],
)
def test_a_value_with_which_no_run_is_valid_ends_a_sweep_before_it_begins(
    words: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=reason):
        call("sweep", [*TINY, *words])
    assert list(tmp_path.rglob("*.json")) == list(tmp_path.rglob("multirun.yaml")) == []


def test_a_run_whose_values_do_not_go_together_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusal(_: object, __: object, job: tuple[str, ...]) -> str | None:
        return "they do not go" if {"seed=1", "teacher.layers=2"} <= set(job) else None

    monkeypatch.setattr(grid, "refusal", refusal)
    monkeypatch.setattr(grid.GlobalHydra, "instance", MagicMock)
    words = ["seed=0,1", "teacher.layers=1,2", "teacher=tiny_random"]
    caplog.set_level(logging.WARNING)
    sweeper = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"}
    config = OmegaConf.create({"hydra": {"sweeper": sweeper, "overrides": {"task": words}}})
    grid.CheckGrid().on_multirun_start(config)
    assert caplog.messages == [
        "warning: 1 of 4 runs will fail: seed=1 teacher.layers=2: they do not go"
    ]
