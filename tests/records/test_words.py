from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.records.schema import Comparison, FinishedRun, Speedup
from compress.records.words import (
    change_words,
    plain_words,
    saved_words,
    shared_words,
    speedup_words,
    target_sparsity,
    warnings,
)
from tests.records.test_schema import make_metrics, make_record

SAME_TIME = Speedup(1, 32, 1.0, 0.99, 1.01, 1.02)
FASTER = Speedup(1, 32, 2.0, 1.9, 2.1, 1.02)
ZEROS = "Half of the block weights are zero, but the torch runtime stores and multiplies zeros "


def run(size: int = 2000, *speeds: Speedup, **changes: Any) -> FinishedRun:
    """Of wanda at a sparsity of 0.5; its teacher takes 2000 bytes."""
    record = make_record(0.9, size, speedup=speeds or (SAME_TIME,))
    return replace(record, metrics=replace(record.metrics, **changes))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (run(), ZEROS + "like any number: no bytes saved, no measurable difference in time."),
        (run(2010), ZEROS + "like any number: no bytes saved, no measurable difference in time."),
        (run(2000, SAME_TIME, FASTER), ZEROS + "like any number: no bytes saved."),
        (
            run(2000, replace(SAME_TIME, floor=None, low=1.001)),
            ZEROS + "like any number: no bytes saved.",
        ),
        (run(600), ZEROS + "like any number: what this model saves, it saves by other means."),
        (
            run(sparsity=0.37, runtime="openvino"),
            "37 % of the block weights are zero, but the openvino runtime stores and multiplies "
            "zeros like any number: no bytes saved, no measurable difference in time.",
        ),
    ],
)
def test_zeros_that_buy_nothing(record: FinishedRun, words: str) -> None:
    assert plain_words(record) == [words]


def test_nothing_is_said_where_no_zeros_were_asked() -> None:
    assert plain_words(run(sparsity=0.001)) == []
    assert plain_words(make_record(history=())) == [], "rounding made them"


@pytest.mark.parametrize(
    ("precision", "runtime", "words"),
    [
        (
            "float32",
            "torch",
            ["int4 saves bytes and no time: the torch runtime computes in float32 as before."],
        ),
        ("int8", "torch", []),
        ("float32", "openvino", []),
        (None, "torch", []),
    ],
)
def test_formats_that_are_only_stored(
    precision: str | None, runtime: str, words: list[str]
) -> None:
    record = run(500, precision=precision, runtime=runtime)
    if precision is None:
        record = replace(record, baseline=replace(record.baseline, precision=None))
    assert plain_words(replace(record, choices={"quantizer": "int4"}, history=())) == words


def test_speed_inside_the_noise_is_no_difference() -> None:
    assert speedup_words(SAME_TIME) == "no measurable difference (interval 0.99 to 1.01)"
    assert speedup_words(FASTER) == "2.00 (1.90 to 2.10)"
    assert speedup_words(replace(FASTER, floor=None)) == "2.00 (1.90 to 2.10)"


@pytest.mark.parametrize(
    ("p_value", "words"),
    [
        (0.7, "-0.0100, no significant change (p = 0.7)"),
        (0.05, "-0.0100, no significant change (p = 0.05)"),
        (0.0123, "-0.0100 (p = 0.012)"),
        (1e-9, "-0.0100 (p < 0.001)"),
    ],
)
def test_change_of_accuracy(p_value: float, words: str) -> None:
    found = Comparison(0.9, 2, 1, p_value)
    assert change_words(make_record(comparison=found)) == words


def test_what_was_asked_and_what_is_saved() -> None:
    assert target_sparsity(make_record()) == 0.5
    assert target_sparsity(make_record(config={"pruner": {"steps": {}}})) is None
    assert target_sparsity(make_record(config={})) is None
    assert saved_words(make_record(size=500)) == "75 %"
    assert saved_words(make_record(size=2001)) == "0 %"
    assert saved_words(make_record(baseline=make_metrics(size=500))) == "-100 %"


def test_warnings_name_their_runs() -> None:
    base = make_record()
    busy = replace(base, environment=replace(base.environment, busy="2 of 2 taken"))
    other = replace(base, environment=replace(base.environment, device="cpu, 1 thread"))
    runs = {name: (Path(name), record) for name, record in (("a", base), ("b", busy), ("c", other))}
    assert warnings([]) == warnings([runs["a"], runs["a"]]) == []
    assert warnings([runs["a"], runs["b"]]) == [
        "The machine was busy with something else at the start of run b: times may be off. How "
        "busy is in results.csv."
    ]
    assert warnings([runs["a"], runs["c"]]) == [
        "2 machines, whose times do not compare: cpu X, cpu, 2 threads (run a); "
        "cpu X, cpu, 1 thread (run c)."
    ]


def test_a_sentence_of_many_runs_is_said_once() -> None:
    same, other = run(), run(sparsity=0.9)
    said = shared_words([(Path("0"), same), (Path("1"), other), (Path("2"), same)])
    assert [line.partition(" of ")[0] for line in said] == ["Runs 0, 2: Half", "Run 1: 90 %"]
    many = shared_words([(Path(f"A{i}"), same) for i in range(15)])
    assert ["A10, A11, 3 more: Half" in line for line in many] == [True]
