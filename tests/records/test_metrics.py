from __future__ import annotations

import math
from dataclasses import replace

import pytest

from compress.config.errors import ConfigError
from compress.problem import classification
from compress.records.metrics import METRICS, check_objectives, objective_values
from compress.records.schema import Comparison
from compress.records.scores import SCORES
from tests.records.test_schema import WRITING, absent_scores, evaluated_by, make_failed, make_record


def test_every_metric_reads_a_finite_number() -> None:
    record = make_record()
    values = {name: metric.read(record) for name, metric in METRICS.items()}
    unknown = {name for name, value in values.items() if not math.isfinite(value)}
    assert unknown == absent_scores(record) | WRITING
    assert values["latency_ms"] == 5.0
    assert values["speedup"] == 2.0
    assert values["zipped_bytes"] == 750
    assert values["agreement"] == 0.95
    assert values["tokens_per_second"] == 6400
    assert values["text_to_label_ms"] == 5.5
    assert (values["f1"], values["mcc"], values["top5"]) == (0.8, 0.4, 0.99)


def test_what_was_not_measured_is_nan() -> None:
    record = make_record(comparison=Comparison(None, None, None, 1.0))
    names = ("zipped_bytes", "bitmask_bytes", "resident_bytes")
    [timed] = record.metrics.latency
    score = replace(record.metrics.score, others={"f1_macro": 0.9})
    unknown_now = {
        **dict.fromkeys(names),
        "latency": (replace(timed, tokens_per_second=None, tokenize_ms=None),),
        "score": score,
    }
    record = replace(record, metrics=replace(record.metrics, **unknown_now))
    values = {name: metric.read(record) for name, metric in METRICS.items()}
    unknown = {name for name, value in values.items() if math.isnan(value)}
    assert {"f1", "mcc", "top5"} <= absent_scores(record)
    assert unknown == absent_scores(record) | WRITING | {
        "agreement", "bitmask_bytes", "resident_bytes", "text_to_label_ms", "tokens_per_second",
        "zipped_bytes",
    }  # fmt: skip


def test_quality_is_higher_where_a_model_is_better() -> None:
    for metric, better, worse in (("spearman", 0.9, 0.8), ("perplexity", 20.0, 21.0)):
        values = [
            METRICS["quality"].read(evaluated_by(metric, each, 1.0)) for each in (better, worse)
        ]
        assert values[0] > values[1]
        assert METRICS[metric].read(evaluated_by(metric, better, 1.0)) == better


def test_objectives_in_order_and_nan_for_failures() -> None:
    assert objective_values(make_record(), ("latency_ms", "accuracy")) == [5.0, 0.9]
    assert all(math.isnan(v) for v in objective_values(make_failed(), ("accuracy",) * 2))


@pytest.mark.parametrize("names", [(), ("accuracy", "beauty")])
def test_unknown_objectives_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(
        ConfigError, match=r"objectives must be among quality, accuracy, .*; got (none|beauty)"
    ):
        check_objectives(names, ("accuracy",))


def test_a_score_that_the_task_lacks_is_refused() -> None:
    check_objectives(("quality", "accuracy", "f1"), ("accuracy", "f1"))
    with pytest.raises(
        ConfigError, match="objectives has mcc, but the task's scores are accuracy, f1_macro, f1"
    ):
        check_objectives(("accuracy", "mcc", "f1"), ("accuracy", "f1_macro", "f1"))


def test_every_other_score_can_be_computed() -> None:
    assert {"accuracy", *classification.OTHERS} <= set(SCORES) < set(METRICS)
