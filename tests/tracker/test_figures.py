from __future__ import annotations

import math
from dataclasses import replace

from compress.records.metrics import METRICS
from compress.tracker.components.figures import figures
from tests.records.test_schema import WRITING, absent_scores, evaluated_by, make_failed, make_record


def test_a_run_has_every_metric_and_those_of_each_shape() -> None:
    record = make_record(0.9, 1000, 5.0)
    found = figures(record)
    names = ("latency_ms", "tokenize_ms", "speedup", "speedup_low", "speedup_high")
    shapes = {f"1x32/{name}" for name in names}
    assert set(found) == {*METRICS, *shapes, "seconds"} - absent_scores(record) - WRITING
    assert (found["accuracy"], found["size_bytes"], found["1x32/latency_ms"]) == (0.9, 1000, 5.0)
    assert (found["1x32/speedup"], found["1x32/speedup_low"]) == (2.0, 1.8)


def test_what_was_not_measured_is_left_out() -> None:
    record = make_record()
    metrics = replace(record.metrics, peak_memory_bytes=None)
    left_out = set(METRICS) - set(figures(replace(record, metrics=metrics)))
    assert left_out == {"peak_memory_bytes"} | absent_scores(record) | WRITING
    assert figures(make_failed()) == {"seconds": 1.5}


def test_a_score_has_its_own_name_and_a_quality_beside_it() -> None:
    found = figures(evaluated_by("perplexity", 20.0, 19.0))
    assert found["perplexity"] == 20.0
    assert found["quality"] == -math.log(20.0)
    assert "accuracy" not in found
