"""Two runs or sweeps side by side: what differs, and what of the figures is more than noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.analysis.intervals import wilson_interval
from compress.records.collect import Collection
from compress.records.schema import RunRecord, Score, Speedup
from compress.records.scores import SCORES
from compress.report.compare import (
    Change,
    Difference,
    Pair,
    cautions,
    changes,
    differences,
    match,
    quality_difference,
    speedup_ratio,
)
from compress.report.compare_page import compare_folders, comparison_markdown
from tests.records.test_schema import evaluated_by, make_failed, make_metrics, make_record
from tests.report.test_report import put


def score_of(right: int, rows: int) -> Score:
    return Score("accuracy", right / rows, *wilson_interval(right, rows), rows, 32, "test")


def pair_of(left: RunRecord, right: RunRecord) -> Pair:
    return Pair((Path("a"), left), (Path("b"), right))


def found(left: RunRecord, right: RunRecord) -> dict[str, Change]:
    return {each.figure: each for each in changes(pair_of(left, right))}


def collection(*records: RunRecord) -> Collection:
    return Collection(tuple((Path(str(n)), each) for n, each in enumerate(records)), (), ())


# Newcombe 1998, "Interval estimation for the difference between independent proportions", table II,
# method 10, for p1 - p2.
@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_newcombes_interval_as_published(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    one, other = score_of(*first), score_of(*second)
    assert quality_difference(other, one) == pytest.approx(
        (one.value - other.value, low, high), abs=6e-5
    )
    back, back_low, back_high = quality_difference(one, other)
    assert (back_low, back_high) == pytest.approx((-high, -low), abs=6e-5)
    assert back == other.value - one.value


@pytest.mark.parametrize(
    ("left", "right", "floors", "expected"),
    [
        # 1.9 / 1.1 and 2.1 / 0.9
        ((1.0, 0.9, 1.1), (2.0, 1.9, 2.1), (None, None), (2.0, 1.9 / 1.1, 2.1 / 0.9, True)),
        ((1.0, 0.9, 1.1), (1.1, 1.0, 1.2), (None, None), (1.1, 1 / 1.1, 1.2 / 0.9, False)),
        ((2.0, 1.9, 2.1), (1.0, 0.9, 1.1), (None, None), (0.5, 0.9 / 2.1, 1.1 / 1.9, True)),
        # 1.1 / 1.01 = 1.089 is no more than the floor of 1.1 that one of the runs has.
        ((1.0, 0.99, 1.01), (1.15, 1.1, 1.2), (1.02, 1.1), (1.15, 1.1 / 1.01, 1.2 / 0.99, False)),
        ((1.0, 0.99, 1.01), (1.15, 1.1, 1.2), (1.02, 1.05), (1.15, 1.1 / 1.01, 1.2 / 0.99, True)),
    ],
)
def test_speedups_differ_outside_their_intervals_and_floors(
    left: tuple[float, float, float],
    right: tuple[float, float, float],
    floors: tuple[float | None, float | None],
    expected: tuple[float, float, float, bool],
) -> None:
    one, other = Speedup(1, 32, *left, floors[0]), Speedup(1, 32, *right, floors[1])
    assert speedup_ratio(one, other) == pytest.approx(expected)


def test_figures_side_by_side() -> None:
    """Accuracies of ± 0.05: 0.9 and 0.8 are 0.1 ± 0.0707 apart, 0.9 and 0.85 are not."""
    left, worse = make_record(0.9, 1_000_000, 5.0), make_record(0.8, 1_500_000, 2.0)
    assert list(found(left, worse).values()) == [
        Change("accuracy", "accuracy", "0.9000 (n = 100)", "0.8000 (n = 100)",
               "-0.1000 (-0.1707 to -0.0293)", "lower"),
        Change("size", "size, MB", "1.0", "1.5", "+500,000 bytes", "larger"),
        Change("speed-up", "speed-up 1×32", "2.00 (1.80 to 2.20)", "5.00 (4.50 to 5.50)",
               "× 2.50 (2.05 to 3.06)", "faster"),
        Change("memory", "resident memory, MB", "0.0", "0.0", "+0.0 %", "may be noise"),
        Change("memory", "peak memory, MB", "0.0", "0.0", "+0.0 %", "may be noise"),
    ]  # fmt: skip
    assert found(left, make_record(0.85))["accuracy"].verdict == "may be chance"
    assert found(worse, left)["accuracy"].verdict == "higher"
    same = found(left, left)
    verdicts = [each.verdict for each in same.values()]
    assert verdicts == ["may be chance", "the same", *["may be noise"] * 3]


@pytest.mark.parametrize(
    ("left", "right", "change", "verdict"),
    [
        (100_000_000, 104_000_000, "+4.0 %", "may be noise"),
        (100_000_000, 110_000_000, "+10.0 %", "more"),
        (100_000_000, 80_000_000, "-20.0 %", "less"),
        (None, 80_000_000, "–", "not measured in both"),
    ],
)
def test_memory(left: int | None, right: int | None, change: str, verdict: str) -> None:
    records = [
        make_record(metrics=replace(make_metrics(), peak_memory_bytes=size))
        for size in (left, right)
    ]
    row = found(*records)["peak memory, MB"]
    assert (row.change, row.verdict) == (change, verdict)


def test_a_shape_that_one_was_not_timed_at_is_said_so() -> None:
    other = make_record(speedup=(Speedup(8, 64, 2.0, 1.9, 2.1),))
    rows = found(make_record(), other)
    assert rows["speed-up 1×32"].verdict == "timed in one of them only"
    assert (rows["speed-up 8×64"].left, rows["speed-up 8×64"].right) == (
        "–", "2.00 (1.90 to 2.10)",
    )  # fmt: skip


BASE = make_record()
HERE = BASE.environment


@pytest.mark.parametrize(
    ("changed", "kinds", "word"),
    [
        ({}, [], ""),
        ({"choices": BASE.choices | {"task": "imdb"}}, ["accuracy"], "tasks differ: rt, imdb"),
        ({"data": replace(BASE.data, digest="other")}, ["accuracy"], "rows differ"),
        (
            {"environment": replace(HERE, machine="cpu Y")},
            ["memory", "speed-up"],
            "machines differ: cpu X, cpu, 2 threads; cpu Y, cpu, 2 threads",
        ),
        ({"environment": replace(HERE, device="cpu, 1 thread")}, ["memory", "speed-up"], "machine"),
        ({"environment": replace(HERE, versions={"torch": "3"}, load_average=9.0)}, [], ""),
        ({"baseline": make_metrics(size=3000)}, ["speed-up"], "teachers differ"),
    ],
)
def test_what_does_not_compare_is_said_and_gets_no_verdict(
    changed: dict[str, Any], kinds: list[str], word: str
) -> None:
    pair = pair_of(BASE, replace(BASE, **changed))
    warned = cautions(pair)
    assert sorted(warned) == kinds
    assert all(word in reason for reason in warned.values())
    left_out = {each.kind for each in changes(pair) if each.verdict == "does not compare"}
    assert left_out == set(kinds)


def test_only_what_differs_is_listed() -> None:
    left = make_record(
        seed=0, config={"pruner": {"sparsity": 0.5, "scope": [1, 2], "x": {}}, "seed": 0}
    )
    right = make_record(
        config={"pruner": {"sparsity": 0.7, "scope": [1, 2], "y": None}, "seed": 0},
        environment=replace(HERE, versions={"torch": "3"}, governor="powersave"),
        data=replace(BASE.data, digest="other"),
    )
    assert differences(pair_of(left, left)) == []
    assert differences(pair_of(left, right)) == [
        Difference("config pruner.sparsity", "0.5", "0.7"),
        Difference("config pruner.x", "{}", "–"),
        Difference("config pruner.y", "–", "null"),
        Difference("data digest", '"abc"', '"other"'),
        Difference("governor", "null", '"powersave"'),
        Difference("version torch", '"2"', '"3"'),
    ]


def with_sparsity(value: float, **changes: object) -> RunRecord:
    return make_record(  # type: ignore[no-any-return]
        overrides=(f"pruner.sparsity={value}",), config={"pruner": {"sparsity": value}}, **changes
    )


def test_runs_are_matched_by_overrides_then_recipe_and_seed_then_recipe() -> None:
    a, b, c = with_sparsity(0.3), with_sparsity(0.5), with_sparsity(0.7)
    spelled = replace(b, overrides=("pruner=wanda",))  # the config has 0.5 all the same
    matched = match(collection(a, b, c), collection(c, spelled, with_sparsity(0.9), a))
    places = [(pair.left[0].name, pair.right[0].name) for pair in matched.pairs]
    assert places == [("0", "3"), ("1", "1"), ("2", "0")]
    assert [folder.name for folder, _ in matched.only_right] == ["2"]
    assert matched.only_left == ()
    # Of two with one recipe the one with the seed is the partner; a task is never left.
    seeds = [replace(spelled, seed=seed, overrides=(f"seed={seed}",)) for seed in (1, 2)]
    other_task = replace(b, choices=b.choices | {"task": "imdb"})
    matched = match(collection(other_task, replace(b, seed=2)), collection(*seeds))
    assert [(p.left[0].name, p.right[0].name) for p in matched.pairs] == [("1", "1")]
    assert [folder.name for folder, _ in matched.only_left] == ["0"]


def test_two_lone_runs_are_compared_whatever_they_are() -> None:
    matched = match(collection(with_sparsity(0.3)), collection(make_failed(overrides=())))
    assert len(matched.pairs) == 1
    assert changes(matched.pairs[0]) == []
    assert cautions(matched.pairs[0]) == {}


@pytest.mark.parametrize(
    ("metric", "values", "change", "verdict"),
    [
        # Of ± 5 % each: 0.05 · √(0.8² + 0.9²) = 0.0602.
        ("spearman", (0.8, 0.9), "+0.1000 (+0.0398 to +0.1602)", "higher"),
        ("spearman", (0.8, 0.81), "+0.0100 (-0.0469 to +0.0669)", "may be chance"),
        # log 1.2 less and more √(log² 0.95 + log² 1.05) = 0.0708; the ends as values.
        ("perplexity", (20.0, 24.0), "+20.0 % (+11.8 % to +28.8 %)", "worse"),
        ("perplexity", (24.0, 20.0), "-16.7 % (-22.4 % to -10.6 %)", "better"),
        ("perplexity", (20.0, 20.5), "+2.5 % (-4.5 % to +10.0 %)", "may be chance"),
        ("perplexity", (20.0, 2000.0), "× 100.0 (× 93.2 to × 107.3)", "worse"),
    ],
)
def test_other_scores_side_by_side(
    metric: str, values: tuple[float, float], change: str, verdict: str
) -> None:
    row = next(iter(found(*(evaluated_by(metric, value, 1.0) for value in values)).values()))
    assert row.kind == row.figure == SCORES[metric].words
    assert (row.change, row.verdict) == (change, verdict)


def test_two_scores_do_not_compare_and_are_shown_all_the_same(tmp_path: Path) -> None:
    accurate, perplexed = make_record(0.9), evaluated_by("perplexity", 20.0, 19.0)
    assert cautions(pair_of(accurate, perplexed)) == {
        "accuracy, perplexity": "their primary metrics differ"
    }
    row = found(accurate, perplexed)["accuracy, perplexity"]
    assert (row.left, row.right, row.change, row.verdict) == (
        "0.9000 (n = 100)", "20.000 (n = 100)", "–", "does not compare",
    )  # fmt: skip
    a, b = put(tmp_path / "a", r0=accurate), put(tmp_path / "b", r0=perplexed)
    page = comparison_markdown(compare_folders(a, b))
    assert "Accuracy: the interval of the difference is Newcombe's" in page
    assert "Perplexity: the interval of the difference is Zou and Donner's" in page
