from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from compress.records.schema import (
    Comparison,
    Data,
    Environment,
    FailedRun,
    FinishedRun,
    Latency,
    ModelMetrics,
    RunRecord,
    RunStart,
    Score,
    Speedup,
    StageRecord,
    read_record,
    write_record,
)
from compress.records.scores import SCORES


def make_metrics(accuracy: float = 0.9, size: int = 1000, ms: float = 5.0) -> ModelMetrics:
    return ModelMetrics(
        score=Score(
            "accuracy", accuracy, accuracy - 0.05, accuracy + 0.05, 100, 32, "test",
            {"f1_macro": accuracy, "f1": 0.8, "mcc": 0.4, "top5": 0.99},
        ),
        parameters=100,
        nonzero_parameters=75,
        sparsity=0.5,
        model_sparsity=0.25,
        size_bytes=size,
        latency=(
            Latency(1, 32, 50, ms, 0.1, None, None, 1000 / ms, 32_000 / ms, tokenize_ms=0.5),
        ),
        tokenizer="transformers",
        peak_memory_bytes=4000,
        precision="float32",
        zipped_bytes=size * 3 // 4,
        bitmask_bytes=size // 2,
        resident_bytes=9000,
    )  # fmt: skip


def make_record(accuracy: float = 0.9, size: int = 1000, ms: float = 5.0, **changes: object):  # type: ignore[no-untyped-def]
    record = FinishedRun(
        started="2026-01-01T00:00:00+00:00",
        seconds=1.5,
        seed=0,
        choices={"teacher": "t", "student": "none", "pruner": "wanda", "task": "rt"},
        overrides=("pruner=wanda", "pruner.sparsity=0.5"),
        config={"pruner": {"sparsity": 0.5}},
        knobs={"pruner": ("sparsity", "pattern"), "student": ("keep",)},
        model="model",
        environment=Environment("cpu X", "cpu, 2 threads", 0.1, {"torch": "2"}),
        data=Data("rows", 10, 2, 3, "abc"),
        metrics=make_metrics(accuracy, size, ms),
        baseline=make_metrics(0.91, 2000, 10.0),
        speedup=(Speedup(1, 32, 10.0 / ms, 0.9 * 10 / ms, 1.1 * 10 / ms, 1.02),),
        comparison=Comparison(agreement=0.95, n_regressed=3, n_improved=2, p_value=1.0),
        baseline_model="../baseline",
        stages=(StageRecord("teacher", 1.0, "computed"),),
        history=({"stage": "teacher"}, {"stage": "pruner", "expected_zeros": {"weight": 25}}),
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]


def shippable(record: FinishedRun) -> FinishedRun:
    """The run where a loss of 0.3 is allowed, without zeros that save nothing."""
    allowed = {"decision": {"margin": 0.3, "alpha": 0.05}}
    steps = ({"stage": "teacher"}, {"stage": "pruner"})
    return replace(record, config={**record.config, **allowed}, history=steps)


def evaluated_by(metric: str, value: float, teacher: float, **changes: object):  # type: ignore[no-untyped-def]
    """A run of a task that is not evaluated by accuracy; intervals are of ± 5 % of the value."""
    compared = Comparison(None, None, None, 1.0, "a test", 0.002)
    record = make_record(**{"comparison": compared, **changes})
    scores = {
        part: Score(metric, each, 0.95 * each, 1.05 * each, 100, 32, "test")
        for part, each in (("metrics", value), ("baseline", teacher))
    }
    return replace(
        record,
        **{part: replace(getattr(record, part), score=score) for part, score in scores.items()},
    )


# Language models alone have these.
WRITING = {"generated_tokens_per_second", "time_to_first_token_ms"}
RELIABILITY = {"nll", "brier", "ece"}  # of classifiers whose probabilities were measured


def absent_scores(record: FinishedRun) -> set[str]:
    """What the record's task is not evaluated by."""
    absent = RELIABILITY if record.metrics.calibration is None else set()
    return absent | (SCORES.keys() - record.metrics.score.by_name().keys())


def as_failed(record: RunRecord, error: str = "no") -> FailedRun:
    """The run as if it had failed."""
    start = {each.name: getattr(record, each.name) for each in fields(RunStart)}
    return FailedRun(**start, status="failed", error=error)


def make_failed(error: str = "no", **changes: object):  # type: ignore[no-untyped-def]
    """A run without figures."""
    return replace(as_failed(make_record(), error), **changes)  # type: ignore[arg-type]


def test_writer_and_reader_agree(tmp_path: Path) -> None:
    for record in (make_record(), make_failed()):
        assert read_record(write_record(record, tmp_path)) == record


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path)
    before = (tmp_path / "metrics.json").read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record(make_record(seconds=math.nan), tmp_path)
    assert (tmp_path / "metrics.json").read_text() == before


class Odd:
    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (1e308, 1e308),
        ([1, math.inf], [1, "inf"]),
        ((math.nan,), ["nan"]),
        ({"a": {"b": [math.nan]}}, {"a": {"b": ["nan"]}}),
        ({math.nan: 1, None: 2, 3: 4}, {"nan": 1, "None": 2, "3": 4}),
        (10**30, 10**30),
        (True, True),
        (None, None),
        ("nan", "nan"),
        (b"bytes", "b'bytes'"),
        (Path("a/b"), "a/b"),
        (Odd(), "odd"),
    ],
)
def test_a_config_is_recorded_whatever_is_in_it(
    value: object, written: object, tmp_path: Path
) -> None:
    path = write_record(make_record(config={"free": value}), tmp_path)
    raw = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert raw["config"] == {"free": written}
    assert read_record(path).config == {"free": written}
