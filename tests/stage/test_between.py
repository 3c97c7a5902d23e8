"""Runs that measure the models between their stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compress.interfaces import Pruner
from compress.records.schema import RunRecord
from tests.configs import compose_config, settings_of
from tests.slow import slow

Runs = Callable[..., RunRecord]
CHAIN = (
    "pruner=chain",
    "pruner.order=[heads,neurons]",
    "pruner.steps.heads.sparsity=0.5",
    "pruner.steps.neurons.sparsity=0.5",
)
RECOVERY = "pruner.recovery.epochs=1"


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        *slow(
            [
                ((), []),
                (("quantizer=int8_dynamic",), []),
                (("student=layers", "student.keep=2"), []),
                (("pruner=heads", RECOVERY), ["pruner"]),
                (CHAIN, ["pruner 1: heads"]),
                (("student=layers", "student.keep=2", "quantizer=int8_dynamic"), ["student"]),
                (("pruner=heads", "quantizer=int8_dynamic"), ["pruner"]),
            ]
        ),
        (
            ("student=layers", "student.keep=2", *CHAIN, RECOVERY, "quantizer=int8_dynamic"),
            ["student", "pruner 1: heads", "pruner 2: neurons", "pruner: recovery"],
        ),
    ],
)
def test_every_model_between_the_teacher_and_the_last_is_measured_once(
    overrides: tuple[str, ...], stages: list[str], run_config: Runs, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    record = run_config("measure_stages=true", *overrides, folder=folder)
    assert [each.stage for each in record.stage_metrics] == stages
    assert not list(folder.glob(".new-*"))
    assert record.measuring_seconds is not None
    assert record.measuring_seconds > 0


@pytest.mark.slow
def test_the_figures_are_those_of_runs_that_end_there(run_config: Runs) -> None:
    record = run_config("measure_stages=true", *CHAIN, "quantizer=int8_dynamic")
    first = run_config(*CHAIN, "pruner.order=[heads]")
    both = run_config(*CHAIN)
    for found, alone in zip(record.stage_metrics, (first, both), strict=True):
        assert found.metrics.score == alone.metrics.score
        assert found.metrics.size_bytes == alone.metrics.size_bytes
        assert found.comparison == alone.comparison
        assert len(found.speedup) == len(found.metrics.latency) == 2


def test_runs_measure_none_unless_asked(run_config: Runs) -> None:
    assert compose_config().measure_stages is False
    assert run_config("pruner=heads", "quantizer=int8_dynamic").stage_metrics == ()


@pytest.mark.parametrize("name", ["none", "wanda", "gradual", "chain"])
def test_the_last_part_is_the_pruner_itself(name: str) -> None:
    pruner = settings_of("pruner", name)
    assert isinstance(pruner, Pruner)
    parts = [part for _, part in pruner.parts()]
    assert parts[-1:] == ([] if name == "none" else [pruner])
