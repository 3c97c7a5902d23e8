from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compress.records.collect import Collection
from compress.records.schema import Comparison, RunRecord, Speedup, TransferText
from compress.records.scores import SCORES
from compress.report.honesty import LONGEST, excluded, facts
from compress.report.recommend import advise
from compress.report.sections import sections
from tests.records.test_schema import evaluated_by, make_failed, make_record

ROOT = Path("sweep")
BASE = make_record()
BUSY = replace(BASE, environment=replace(BASE.environment, busy="something"))


def told(*records: RunRecord) -> dict[str, str]:
    """The facts of a section of these runs, which are named 0, 1, …"""
    [section] = sections((ROOT / str(i), record) for i, record in enumerate(records))
    return dict(facts(advise(section, ROOT)))


def with_versions(versions: dict[str, str]) -> RunRecord:
    return replace(BASE, environment=replace(BASE.environment, versions=versions))


def timed_in(run: str) -> RunRecord:
    latency = tuple(replace(each, shared_with=run) for each in BASE.metrics.latency)
    return replace(BASE, metrics=replace(BASE.metrics, latency=latency))


def with_floor(floor: float | None) -> RunRecord:
    return replace(BASE, speedup=(Speedup(1, 32, 2.0, 1.9, 2.1, floor),))


def with_transfer(rows: int) -> RunRecord:
    found = TransferText(
        "sentences of a", 9000, rows, 40, 3, {"evaluation": 1, "validation": 0}, "d"
    )
    return replace(BASE, data=replace(BASE.data, transfer=found))


@pytest.mark.parametrize(
    ("records", "term", "words"),
    [
        (
            [BASE, with_transfer(8956), with_transfer(7), with_transfer(7)],
            "transfer text",
            "8,956 sentences of a; dropped of the 9,000 read: 40 of another length, 3 duplicates, "
            "1 that hold a row of evaluation, 0 that hold a row of validation. 7 sentences of a;",
        ),
        ([BASE], "machine", "cpu X; clock governor not readable"),
        ([BASE], "rows", "rows: 10 to train on, 2 to validate, 3 to test"),
        ([BASE], "accuracy", "on 100 test rows: 95 % Wilson intervals of up to ± 0.050"),
        ([with_versions({"torch": "2", "numpy": "1"})], "libraries", "torch 2, numpy 1"),
        ([BASE, with_versions({"torch": "3"})], "libraries", "torch 2 or 3"),
        ([BASE], "times at 1 × 32", "50 passes; the teacher's median was 10.00 ms."),
        ([BASE], "times at 1 × 32", "Noise floor (the teacher timed against itself): 1.020"),
        ([with_floor(1.01), with_floor(1.05)], "times at 1 × 32", "1.010 to 1.050. A speed-up"),
        ([BASE, with_floor(None)], "times at 1 × 32", "not measured for 1 of 2 runs"),
        ([BASE, replace(BASE, seed=1)], "seeds", "0, 1. Runs that differ only in the seed"),
        ([BASE, replace(BASE, model=None)], "models", "1 of 2 were deleted"),
        ([BASE, timed_in("0")], "shared timings", "1 of 2 runs have the times of another run"),
        ([BASE], "busy", "No other process used the CPU"),
        ([BASE, BUSY], "busy", "busy with something else at the start of run 1"),
        ([BASE], "in plain words", "Run 0: Half of the block weights are zero"),
    ],
)
def test_facts(records: list[RunRecord], term: str, words: str) -> None:
    assert words in told(*records)[term]


def test_what_goes_without_saying_is_left_out() -> None:
    assert not {"seeds", "models", "shared timings", "transfer text"} & told(BASE).keys()


def test_runs_without_figures_are_listed_by_reason() -> None:
    failed = make_failed()
    runs = (
        (ROOT / "0", BASE),
        (ROOT / "1", failed),
        (ROOT / "2", replace(failed, error="x" * (LONGEST + 1))),
        (ROOT / "3", failed),
        (ROOT / "4", replace(failed, status="infeasible", error="too large")),
    )
    found = excluded(Collection(runs, ("5/metrics.json is not valid JSON",), (ROOT / "6",)), ROOT)
    assert [(kind.title, kind.count) for kind in found] == [
        ("Failed", 3), ("Infeasible", 1), ("Unfinished", 1), ("Unreadable", 1),
    ]  # fmt: skip
    assert found[0].reasons == (("no", ("1", "3")), ("x" * LONGEST + " …", ("2",)))
    assert found[1].reasons == (("too large", ("4",)),)
    assert found[2].reasons[0][1] == ("6",)
    assert found[3].reasons[0][0] == "5/metrics.json is not valid JSON"
    assert excluded(Collection(runs[:1], (), ()), ROOT) == []


@pytest.mark.parametrize(("metric", "width"), [("spearman", "0.040"), ("perplexity", "0.04")])
def test_how_sure_another_score_is(metric: str, width: str) -> None:
    found = Comparison(None, None, None, 0.5, "a paired bootstrap", 0.01)
    said = told(evaluated_by(metric, 0.8, 1.0, comparison=found))
    assert said[SCORES[metric].words] == (
        f"on 100 test rows: 95 % intervals of up to ± {width}; against the teacher by a paired "
        "bootstrap"
    )
    assert "accuracy" not in said
