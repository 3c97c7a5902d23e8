from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from compress.records import (
    METRICS,
    Data,
    Environment,
    Latency,
    ModelMetrics,
    RunRecord,
    Score,
    Speedup,
    StageRecord,
    check_objectives,
    objective_values,
    read_record,
    write_record,
)
from compress.settings import ConfigError, UserError


def make_metrics(accuracy: float = 0.9, size: int = 1000, ms: float = 5.0) -> ModelMetrics:
    return ModelMetrics(
        score=Score(accuracy, accuracy - 0.05, accuracy + 0.05, accuracy, 100, 32, "test"),
        parameters=100,
        nonzero_parameters=75,
        sparsity=0.5,
        model_sparsity=0.25,
        size_bytes=size,
        latency=(Latency(1, 32, 50, ms, 0.1, None, None, 1000 / ms),),
        peak_memory_bytes=4000,
    )


def make_record(accuracy: float = 0.9, size: int = 1000, ms: float = 5.0, **changes: object):  # type: ignore[no-untyped-def]
    record = RunRecord(
        schema=1,
        status="ok",
        error=None,
        started="2026-01-01T00:00:00+00:00",
        seconds=1.5,
        seed=0,
        choices={"teacher": "t", "student": "none", "pruner": "wanda", "task": "rt"},
        overrides=("pruner=wanda", "pruner.sparsity=0.5"),
        config={"pruner": {"sparsity": 0.5}},
        model="model",
        environment=Environment("cpu X", "cpu, 2 threads", 0.1, {"torch": "2"}),
        data=Data("rows", 10, 2, 3, "abc"),
        metrics=make_metrics(accuracy, size, ms),
        baseline=make_metrics(0.91, 2000, 10.0),
        speedup=(Speedup(1, 32, 10.0 / ms, 0.9 * 10 / ms, 1.1 * 10 / ms),),
        stages=(StageRecord("teacher", 1.0, "made"),),
        history=({"stage": "teacher"},),
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


FAILED = {"status": "failed", "error": "no", "metrics": None, "baseline": None, "speedup": ()}


def test_writer_and_reader_agree(tmp_path: Path) -> None:
    for record in (make_record(), make_record(**FAILED)):
        assert read_record(write_record(record, tmp_path)) == record


def test_every_metric_reads_a_finite_number() -> None:
    values = {name: metric.read(make_record()) for name, metric in METRICS.items()}
    assert all(math.isfinite(value) for value in values.values())
    assert values["latency_ms"] == 5.0
    assert values["speedup"] == 2.0


def test_objectives_in_order_and_nan_for_failures() -> None:
    assert objective_values(make_record(), ("latency_ms", "accuracy")) == [5.0, 0.9]
    assert all(math.isnan(v) for v in objective_values(make_record(**FAILED), ("accuracy",) * 2))


@pytest.mark.parametrize("names", [(), ("accuracy", "beauty")])
def test_unknown_objectives_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(
        ConfigError, match=r"objectives must be among accuracy, .*; got (none|beauty)"
    ):
        check_objectives(names)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 7}, "has schema 7, this version reads 1"),
        ({"status": "fine"}, "at status"),
        ({"metrics": {"score": 3}}, r"at metrics\.score"),
        ({"seconds": "long"}, "at seconds"),
    ],
)
def test_records_that_do_not_fit_are_refused(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    path = write_record(make_record(), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=reason):
        read_record(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_no_record_at_all_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(UserError, match=r"is no JSON|has schema None"):
        read_record(tmp_path / "metrics.json")


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path)
    before = (tmp_path / "metrics.json").read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(make_record(seconds=math.nan), tmp_path)
    assert (tmp_path / "metrics.json").read_text() == before
