from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compress.records.schema import Comparison, FinishedRun, Speedup
from compress.report.contest import deciding_split
from compress.report.recommend import Advice, advise
from compress.report.sections import sections
from tests.records.test_schema import evaluated_by, make_metrics, make_record
from tests.report.test_points import at_shapes

ROOT = Path("sweep")


def advice_on(**records: FinishedRun) -> Advice:
    """On runs of one section, by name; the teacher has 0.91 accuracy, 2000 bytes, 10 ms."""
    [section] = sections((ROOT / name, record) for name, record in records.items())
    return advise(section, ROOT)


def run(accuracy: float, size: int = 1000, ms: float = 5.0, validation: float | None = None,
        **changes: object) -> FinishedRun:  # fmt: skip
    """A run that was scored on validation rows too, if they are given; its teacher has 0.9."""
    record = make_record(accuracy, size, ms, **changes)
    if validation is None:
        return record
    ours, theirs = (make_metrics(each).score for each in (validation, 0.9))
    return replace(
        record,
        metrics=replace(record.metrics, validation=replace(ours, samples=80)),
        baseline=replace(record.baseline, validation=replace(theirs, samples=80)),
    )


def test_the_verdict_names_the_run_and_what_it_costs() -> None:
    found = advice_on(a=run(0.905, 1000, 2.0), b=run(0.905, 1000, 5.0))
    assert found.ship == "a"
    assert found.words[0] == (
        "Ship run a: 0.0 MB instead of 0.0, 5.0 times as fast (4.5 to 5.5), accuracy 0.905 "
        "(0.855 to 0.955) where the teacher has 0.910."
    )


def test_validation_rows_choose_and_test_rows_are_shown() -> None:
    # By its test rows b would win; by the validation rows it loses 5 %.
    found = advice_on(a=run(0.88, 1000, validation=0.895), b=run(0.91, 500, validation=0.85))
    assert (found.split, found.ship) == ("validation", "a")
    assert "accuracy 0.880" in found.words[0]
    assert "On the validation rows its accuracy changes by -0.0050." in found.words[1]
    assert "Chosen on 80 validation rows; the figures are of 100 test rows" in found.words[2]


def test_without_validation_scores_of_all_the_test_rows_choose_and_that_is_said() -> None:
    found = advice_on(a=run(0.88, validation=0.9), b=run(0.91, 500))
    assert (found.split, found.ship) == ("evaluation", "b")
    assert "the figures of the chosen run are optimistic" in found.words[2]


@pytest.mark.parametrize(
    ("comparison", "winner", "strict"),
    [
        (Comparison(0.9, 9, 5, 0.4), "a", False),  # lost 2.5 %, which may be chance
        (Comparison(0.9, 40, 5, 1e-6), "b", False),
        (None, "b", True),  # of before: any loss counts
    ],
)
def test_no_measurable_loss_is_evaluated_on_the_rows_that_choose(
    comparison: Comparison | None, winner: str, strict: bool
) -> None:
    found = advice_on(
        # On the test rows a's loss is no more than chance, which must not matter.
        a=run(0.9, 500, validation=0.875, validation_comparison=comparison),
        b=run(0.9, 1000, validation=0.9, validation_comparison=comparison),
    )
    won = {pick.name: " ".join(pick.wins) for pick in found.picks}
    assert [name for name, wins in won.items() if "no measurable loss" in wins] == [winner]
    assert ("no measurable loss means no loss at all" in found.words[2]) == strict


def test_runs_that_win_several_times_are_one_pick_and_the_one_to_ship_is_first() -> None:
    found = advice_on(
        small=run(0.905, 100, 9.0), quick=run(0.905, 1900, 1.0), middle=run(0.905, 300, 2.0)
    )
    assert [pick.name for pick in found.picks] == ["middle", "small", "quick"]
    assert all(len(pick.wins) == 1 for pick in found.picks)
    assert found.picks[0].wins[0].startswith("balanced: no measurable loss, at most 1 %")
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
    found = advice_on(a=run(0.91, size, speedup=(speed,)))
    assert found.ship is None
    assert found.words[0].startswith("Keep the teacher: no run within the budgets of")
    assert [pick.name for pick in found.picks] == ["a"], "it is still the best there is"


def test_a_run_that_is_no_worse_comes_before_a_better_product_at_a_price() -> None:
    slower = Speedup(1, 32, 0.5, 0.4, 0.6)
    found = advice_on(tiny=run(0.91, 200, 20.0, speedup=(slower,)), both=run(0.91, 1900, 8.0))
    assert found.ship == "both"
    assert found.picks[0].wins == ("fastest: no measurable loss, at most 1 % of accuracy lost, "
                                   "at most 3 % of accuracy lost",)  # fmt: skip
    middle = run(0.91, 1900, 9.0)
    found = advice_on(
        tiny=run(0.91, 200, 20.0, speedup=(slower,)), both=middle, large=run(0.91, 3000, 3.0)
    )
    assert found.picks[0].name == "both"
    assert found.picks[0].wins == (
        "balanced: neither larger nor measurably slower than the teacher",
    )


def test_nothing_within_any_budget_is_said_with_the_nearest_run() -> None:
    worse = Comparison(0.5, 40, 2, 1e-8)
    found = advice_on(a=run(0.5, comparison=worse), b=run(0.8, comparison=worse))
    assert found.ship is None
    assert found.picks == ()
    assert found.words[0].startswith(
        "Ship none of these runs: each loses more than 3 % of accuracy. The nearest to the "
        "teacher is run b, at 0.800 (0.750 to 0.850) where the teacher has 0.910"
    )


def test_what_cannot_be_told_from_the_winner_is_named() -> None:
    found = advice_on(
        a=run(0.91, 1000, 5.0),
        twin=run(0.9, 1010, 5.2),  # within 1 % of the bytes; 1.73 to 2.12 overlaps 1.8 to 2.2
        larger=run(0.9, 1500, 5.0),
        slower=run(0.9, 1005, 9.0),
        worse=run(0.7, 1005, 5.0),
    )
    assert found.ship == "a"
    alone, twins = found.words[3:]
    assert (
        alone == "By accuracy alone 100 test rows do not distinguish it from 3 of the 4 other runs."
    )
    assert twins.startswith("It is statistically indistinguishable from run twin:")


def test_a_busy_machine_is_said_of_the_winner_alone() -> None:
    base = run(0.91, 500)
    busy = replace(base.environment, busy="something")
    sentence = "Other processes used the CPU when this run began: time it again."
    assert sentence in advice_on(a=replace(base, environment=busy), b=run(0.91)).words
    calm = advice_on(a=base, b=replace(run(0.91), environment=busy))
    assert sentence not in calm.words


def test_runs_without_the_shape_that_counts_take_no_part() -> None:
    found = advice_on(
        a=at_shapes((1, 32), ms=5.0),
        b=at_shapes((1, 32), (1, 8), ms=4.0),
        c=at_shapes((1, 8), ms=1.0),
    )
    assert (found.shape, found.ship) == ((1, 32), "b")
    assert found.words[-1] == "1 of 3 runs were not timed at 1 × 32 and are left out."


def test_two_splits_never_mix() -> None:
    assert deciding_split([run(0.9, validation=0.9)]) == "validation"
    assert deciding_split([run(0.9, validation=0.9), run(0.9)]) == "evaluation"


@pytest.mark.parametrize(
    ("metric", "teacher", "near", "far", "verdict", "reason"),
    [
        (
            "spearman", 0.9, 0.895, 0.8,
            "Ship run near: 0.0 MB instead of 0.0, 2.00 times as fast (1.80 to 2.20), "
            "Spearman correlation 0.895 (0.850 to 0.940) where the teacher has 0.900.",
            "With at most 0.01 of Spearman correlation lost it is the balanced one",
        ),
        (
            "perplexity", 20.0, 20.1, 25.0,
            "Ship run near: 0.0 MB instead of 0.0, 2.00 times as fast (1.80 to 2.20), perplexity "
            "20.10 (19.09 to 21.11) where the teacher has 20.00.",
            "With perplexity at most 1 % higher it is the balanced one",
        ),
    ],
)  # fmt: skip
def test_the_verdict_is_about_the_score_of_the_task(
    metric: str, teacher: float, near: float, far: float, verdict: str, reason: str
) -> None:
    found = advice_on(
        near=evaluated_by(metric, near, teacher, size=1000),
        far=evaluated_by(
            metric, far, teacher, size=500, comparison=Comparison(None, None, None, 0.0)
        ),
    )
    assert found.ship == "near"
    assert found.words[0] == verdict
    assert found.words[1].startswith(reason)
    assert not any("accuracy" in words for words in found.words)


@pytest.mark.parametrize(
    ("metric", "teacher", "values", "words"),
    [
        ("spearman", 0.9, (0.5, 0.8), "each loses more than 0.03 of Spearman correlation. The "
         "nearest to the teacher is run b, at 0.800 (0.760 to 0.840) where the teacher has 0.900"),
        ("perplexity", 20.0, (40.0, 25.0), "each has a perplexity more than 3 % higher. The "
         "nearest to the teacher is run b, at 25.00 (23.75 to 26.25) where the teacher has 20.00"),
    ],
)  # fmt: skip
def test_nothing_within_a_budget_of_another_score(
    metric: str, teacher: float, values: tuple[float, float], words: str
) -> None:
    worse = Comparison(None, None, None, 1e-8)
    a, b = (evaluated_by(metric, value, teacher, comparison=worse) for value in values)
    assert words in advice_on(a=a, b=b).words[0]


def test_the_change_on_the_rows_that_chose_is_told_in_the_scores_unit() -> None:
    record = evaluated_by("perplexity", 20.4, 20.0)
    ours, theirs = (replace(record.baseline.score, value=each) for each in (20.1, 20.0))
    both = replace(
        record,
        metrics=replace(record.metrics, validation=ours),
        baseline=replace(record.baseline, validation=theirs),
    )
    reasons = advice_on(a=both).words[1]
    assert "On the validation rows its perplexity changes by +0.5 %. On the test rows: " in reasons
    assert "+2.0 %, no significant change (p = 1)" in reasons
