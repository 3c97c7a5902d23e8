from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compress.analysis.decision import Rule
from compress.records.schema import Comparison, FinishedRun, Speedup
from compress.report.contest import deciding_split
from compress.report.recommend import Advice, advise
from compress.report.sections import sections
from tests.records.test_schema import evaluated_by, make_metrics, make_record
from tests.report.test_points import at_shapes

ROOT = Path("sweep")
ROWS = 2000


def advice_on(rule: Rule | None = None, **records: FinishedRun) -> Advice:
    """On runs of one section, by name; the teacher has 0.91 accuracy, 2000 bytes, 10 ms."""
    [section] = sections((ROOT / name, record) for name, record in records.items())
    return advise(section, ROOT, rule)


def run(name: str, size: int = 1000, ms: float = 5.0, lost: int = 10, won: int = 10,
        rows: int = ROWS, test: float = 0.91, **changes: object) -> FinishedRun:  # fmt: skip
    """A run of a recipe of its own, with its changes on so many validation rows."""
    values: dict[str, object] = {
        "config": {"student": {"layers": name}},
        "choices": {"teacher": "t", "student": "layers", "pruner": "none", "task": "rt"},
        "history": ({"stage": "teacher"}, {"stage": "student"}),
        "validation_comparison": Comparison(0.9, lost, won, 1.0),
    }
    record = make_record(test, size, ms, **{**values, **changes})
    ours, theirs = (
        replace(make_metrics(each).score, samples=rows) for each in (0.9 + (won - lost) / rows, 0.9)
    )
    return replace(
        record,
        metrics=replace(record.metrics, validation=ours),
        baseline=replace(record.baseline, validation=theirs),
    )


def test_the_verdict_names_the_run_what_it_costs_and_why() -> None:
    found = advice_on(a=run("a", 1000, 2.0, 12, 10), b=run("b", 1000, 5.0))
    assert found.ship == "a"
    assert found.words[0] == (
        "Ship run a: 0.0 MB instead of 0.0, 5.0 times as fast (4.5 to 5.5), accuracy 0.910 "
        "(0.860 to 0.960) where the teacher has 0.910."
    )
    assert found.words[1] == (
        "On the 2,000 validation rows that choose it lost 0.1 points; a loss of 1 point of "
        "accuracy or more is excluded (p = 0.0011, one-sided). On the 100 test rows, which choose "
        "nothing, it lost nothing (not significant, p = 1)."
    )
    assert "Of the 2 runs that may be shipped it has the smallest product" in found.words[2]


def test_validation_rows_choose_and_test_rows_are_shown() -> None:
    found = advice_on(a=run("a", test=0.88), b=run("b", 500, lost=150, test=0.91))
    assert (found.split, found.ship) == ("validation", "a")
    assert "accuracy 0.880" in found.words[0]
    assert found.words[-1] == (
        "Run b (0.0 MB, 2.00 times as fast (1.80 to 2.20)) lost 7.0 points on the rows that "
        "choose: more than 1 point of accuracy (p < 0.001)."
    )


def test_without_validation_scores_of_all_the_test_rows_choose_and_that_is_said() -> None:
    other = run("b", 500, comparison=Comparison(1.0, 0, 0, 1.0), validation_comparison=None)
    same = Comparison(1.0, 0, 0, 1.0)
    many = replace(other.metrics.score, samples=ROWS)
    other = replace(
        other, metrics=replace(other.metrics, score=many, validation=None),
        baseline=replace(other.baseline, score=many, validation=None), comparison=same,
    )  # fmt: skip
    found = advice_on(b=other)
    assert (found.split, found.ship) == ("evaluation", "b")
    assert "the figures of the chosen run are optimistic" in " ".join(found.words)


def test_too_few_rows_are_said_with_both_candidates_and_how_many_would_do() -> None:
    safe = run("safe", 1500, lost=0, won=0, rows=543)
    better = run("better", 300, 4.0, 20, 14, rows=543)
    found = advice_on(safe=safe, better=better)
    assert found.ship == "safe"
    assert (
        "Run better may be better: 0.0 MB, 2.5 times as fast (2.2 to 2.8). It lost 1.1 points "
        "(on the test rows it lost nothing), but 543 validation rows are too few to show that it "
        "would lose less than 1 point of accuracy; "
        "so close to the margin, no practical number of rows would be enough." in found.words[0]
    )
    assert found.picks[-1].wins == ("smaller product of size and time, but too few rows to decide",)
    nearer = advice_on(safe=safe, better=run("better", 300, 4.0, 16, 14, rows=543))
    assert "It lost 0.4 points" in nearer.words[0]
    assert nearer.words[0].endswith("; about 8,700 would decide.")
    alone = advice_on(better=better)
    assert alone.ship is None
    assert alone.words[0].startswith(
        "543 validation rows are too few to decide: no run that is smaller or faster is shown to "
        "lose less than 1 point of accuracy. The best candidate is run better: 0.0 MB"
    )
    assert alone.words[0].endswith("Until then keep the teacher.")


def test_a_wider_margin_admits_what_a_narrow_one_does_not() -> None:
    runs = {"a": run("a", lost=15), "b": run("b", 200, lost=45)}
    assert advice_on(**runs).ship == "a"
    assert advice_on(Rule(margin=0.05), **runs).ship == "b"
    strict = {"decision": {"margin": 0.001, "alpha": 0.05}}
    found = advice_on(a=run("a", config=strict))
    assert found.rule == Rule(margin=0.001)
    assert found.ship is None


def test_of_runs_as_small_and_as_fast_the_best_on_the_rows_that_choose_wins() -> None:
    found = advice_on(a=run("a", won=11), b=run("b", 1005, 4.95, won=13), c=run("c", 1990))
    assert found.ship == "b"
    assert found.words[2] == (
        "Run a is as small and as fast, within 1 % of the bytes and the noise floor of time "
        "(1.020); of these it has the best accuracy on the rows that choose."
    )


def with_pruner(record: FinishedRun, pruner: str) -> FinishedRun:
    """The same recipe, but for its pruner, which zeroes weights."""
    step = {"stage": "pruner", "expected_zeros": {"weight": 25}}
    return replace(
        record,
        choices={**record.choices, "pruner": pruner},
        config={**record.config, "pruner": {"name": pruner}},
        history=record.history if pruner == "none" else (*record.history, step),
    )


def test_zeros_that_save_nothing_are_not_shipped_without_the_model_that_has_none() -> None:
    zeros = with_pruner(run("a", 1000, won=14), "wanda")
    alone = advice_on(zeros=zeros)
    assert alone.ship is None
    assert "no run shows the model without them: add pruner=none" in alone.words[-1]
    plain = with_pruner(run("a", 1000, won=12), "none")
    assert advice_on(zeros=zeros, plain=plain).ship == "zeros"
    assert advice_on(zeros=replace(zeros, metrics=plain.metrics), plain=plain).ship == "plain"


def test_seeds_are_one_recipe_and_never_a_lucky_one() -> None:
    lucky = {
        name: run("lucky", 500, lost=lost, won=won, seed=seed)
        for seed, (name, lost, won) in enumerate(
            [("l0", 60, 10), ("l1", 5, 15), ("l2", 62, 10)])
    }  # fmt: skip
    steady = {
        name: run("steady", lost=lost, won=10, seed=seed)
        for seed, (name, lost) in enumerate([("s0", 11), ("s1", 8), ("s2", 10)])
    }
    assert advice_on(l1=lucky["l1"], **steady).ship == "l1"
    found = advice_on(**lucky, **steady)
    assert found.ship == "s0"
    assert found.picks[0].others == ("s1", "s2")
    assert "That is the mean of seeds 0, 1, 2; run s0 is the lowest seed's" in found.words[1]


def test_a_run_that_misses_the_searchs_constraint_is_not_recommended() -> None:
    search = {
        "objectives": {"accuracy": "maximize"},
        "constraints": {"size_bytes": "<= 600"},
        "split": "validation",
    }
    large = run("large", 900, config={"search": search, "student": {"layers": "large"}})
    assert advice_on(large=large).ship is None
    assert "misses the search's constraint size_bytes <= 600" in advice_on(large=large).words[-1]
    small = run("small", 600, config={"search": search, "student": {"layers": "small"}})
    assert advice_on(large=replace(large, metrics=large.metrics), small=small).ship == "small"


def test_the_best_at_something_are_one_pick_each_and_the_one_to_ship_is_first() -> None:
    found = advice_on(
        small=run("small", 100, 9.0), quick=run("quick", 1900, 1.0), middle=run("middle", 300, 2.0)
    )
    assert [pick.name for pick in found.picks] == ["middle", "small", "quick"]
    assert [pick.wins for pick in found.picks] == [
        ("to ship",),
        ("smallest shown to lose less than 1 point of accuracy",),
        ("fastest shown to lose less than 1 point of accuracy",),
    ]
    assert found.picks[2].latency_ms == 1.0


@pytest.mark.parametrize(
    ("size", "speed"),
    [
        (2000, Speedup(1, 32, 1.2, 0.9, 1.5, 1.6)),  # no difference in time
        (2000, Speedup(1, 32, 1.04, 1.03, 1.05)),  # too little to matter
        (500, Speedup(1, 32, 0.9, 0.8, 0.94)),  # a quarter of the bytes, but slower
        (2200, Speedup(1, 32, 3.0, 2.9, 3.1)),  # three times as fast, but larger
    ],
)
def test_the_teacher_is_kept_where_nothing_is_gained(size: int, speed: Speedup) -> None:
    found = advice_on(a=run("a", size, speedup=(speed,)))
    assert (found.ship, found.picks) == (None, ())
    assert found.words[0] == (
        "Keep the teacher: no run is smaller or faster, and not worse in the other."
    )


def test_nothing_within_the_margin_is_said_with_the_nearest_run() -> None:
    found = advice_on(a=run("a", lost=800, test=0.5), b=run("b", lost=300, test=0.8))
    assert found.ship is None
    assert found.words[0].startswith(
        "Keep the teacher: no run that is smaller or faster and may be shipped is shown to lose "
        "less than 1 point of accuracy. The nearest is run b: 0.0 MB instead of 0.0"
    )


def test_a_busy_machine_is_said_of_the_winner_alone() -> None:
    base = run("a", 500)
    busy = replace(base.environment, busy="something")
    sentence = "Other processes used the CPU when this run began: time it again."
    assert sentence in advice_on(a=replace(base, environment=busy), b=run("b")).words
    assert sentence not in advice_on(a=base, b=run("b", environment=busy)).words


def test_runs_without_the_shape_that_counts_take_no_part() -> None:
    found = advice_on(
        a=at_shapes((1, 32), ms=5.0),
        b=at_shapes((1, 32), (1, 8), ms=4.0),
        c=at_shapes((1, 8), ms=1.0),
    )
    assert found.shape == (1, 32)
    assert found.words[-1] == "1 of 3 runs were not timed at 1 × 32 and are left out."


def test_two_splits_never_mix() -> None:
    bare = run("b", validation_comparison=None)
    assert deciding_split([run("a")]) == "validation"
    assert deciding_split([run("a"), bare]) == "evaluation"


def scored(metric: str, value: float, teacher: float, error: float, name: str) -> FinishedRun:
    """A run of a task that is not evaluated by accuracy, on test rows."""
    compared = Comparison(None, None, None, 0.5, "a test", error)
    return evaluated_by(
        metric, value, teacher, size=1000, comparison=compared,
        config={"student": {"layers": name}}, history=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "teacher", "near", "far", "verdict", "reason"),
    [
        (
            "spearman", 0.9, 0.899, 0.8,
            "Ship run near: 0.0 MB instead of 0.0, 2.00 times as fast (1.80 to 2.20), "
            "Spearman correlation 0.899 (0.854 to 0.944) where the teacher has 0.900.",
            "it lost 0.001; a loss of 0.01 of Spearman correlation or more is excluded (p <",
        ),
        (
            "perplexity", 20.0, 20.02, 25.0,
            "Ship run near: 0.0 MB instead of 0.0, 2.00 times as fast (1.80 to 2.20), perplexity "
            "20.02 (19.02 to 21.02) where the teacher has 20.00.",
            "it raised perplexity by 0.1 %; a loss of 1 % of perplexity or more is excluded (p <",
        ),
    ],
)  # fmt: skip
def test_the_verdict_is_about_the_score_of_the_task(
    metric: str, teacher: float, near: float, far: float, verdict: str, reason: str
) -> None:
    found = advice_on(
        near=scored(metric, near, teacher, 0.002, "near"),
        far=replace(scored(metric, far, teacher, 0.002, "far")),
    )
    assert found.ship == "near"
    assert found.words[0] == verdict
    assert reason in found.words[1]
    assert not any("accuracy" in words for words in found.words)


@pytest.mark.parametrize(
    ("metric", "teacher", "value", "words"),
    [
        ("spearman", 0.9, 0.8, "is shown to lose less than 0.01 of Spearman correlation. The "
         "nearest is run a: 0.0 MB"),
        ("perplexity", 20.0, 25.0, "is shown to raise perplexity by less than 1 %. The nearest is "
         "run a"),
    ],
)  # fmt: skip
def test_nothing_within_the_margin_of_another_score(
    metric: str, teacher: float, value: float, words: str
) -> None:
    assert words in advice_on(a=scored(metric, value, teacher, 0.002, "a")).words[0]
