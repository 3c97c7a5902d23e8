from __future__ import annotations

import math
from pathlib import Path

import pytest

from compress.analysis.intervals import holm, paired_t_p_value
from compress.analysis.recipes import Compared, Run, compared, groups, recipes_of
from tests.records.test_schema import make_record


def runs(name: str, *accuracies: float, first: int = 0) -> list[Run]:
    """A recipe with a seed for each accuracy, the last seed first."""
    config = {"student": {"layers": name}}
    found = [
        (Path(name) / str(seed), make_record(accuracy, seed=seed, config=config))
        for seed, accuracy in enumerate(accuracies, start=first)
    ]
    return found[::-1]


def test_runs_that_differ_in_what_is_beside_the_model_are_one_recipe() -> None:
    base = {"student": {"layers": 3}, "device": {"threads": 2}}
    beside = {"seed": 4, "cache": {"dir": "x"}, "search": {"name": "y"}, "controls": "never"}
    same = [(Path("a"), make_record(config=base, seed=1)),
            (Path("b"), make_record(config={**base, **beside}, seed=0))]  # fmt: skip
    [recipe] = recipes_of(same)
    assert [folder.name for folder, _ in recipe.runs] == ["b", "a"]
    others = (
        {"config": {**base, "student": {"layers": 2}}},
        {"config": {**base, "device": {"threads": 1}}},
        {"config": base, "choices": {"teacher": "t", "task": "rt", "pruner": "none"}},
    )
    for other in others:
        assert len(recipes_of([*same, (Path("c"), make_record(**other))])) == 2


def test_a_seed_that_was_run_twice_counts_once() -> None:
    [recipe] = recipes_of([*runs("a", 0.9, 0.8), *runs("a", 0.9)])
    assert recipe.values(lambda record: record.metrics.score.value) == {0: 0.9, 1: 0.8}


def test_recipes_are_tested_against_the_best_of_them_over_common_seeds() -> None:
    found = recipes_of(
        [
            *runs("best", 0.90, 0.91, 0.92),
            *runs("worse", 0.80, 0.82, 0.81),
            *runs("near", 0.895, 0.912, 0.91),
            *runs("apart", 0.5, 0.5, first=2),  # one seed in common
            *runs("single", 0.99),
        ]
    )
    worse = paired_t_p_value([-0.1, -0.09, -0.11])
    near = paired_t_p_value([-0.005, 0.002, -0.01])
    corrected = holm([worse, near])
    assert corrected[0] == pytest.approx(2 * worse)
    none = Compared(False, None)
    best, first, second, *others = compared(found)
    assert best == Compared(True, None)
    assert [first.p_value, second.p_value] == pytest.approx(corrected)
    assert others == [none, none]
    assert compared(found[-1:]) == [none]


def pruned(pruner: str, sparsity: float, *accuracies: float) -> list[Run]:
    config = {"pruner": {"name": pruner, "sparsity": sparsity}}
    choices = {"teacher": "t", "task": "rt", "pruner": pruner}
    return [
        (Path(f"{pruner}-{sparsity}-{seed}"),
         make_record(accuracy, seed=seed, config=config, choices=choices))
        for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def test_pruners_are_compared_at_one_sparsity() -> None:
    found = recipes_of(
        [
            *pruned("wanda", 0.3, 0.90, 0.91),
            *pruned("wanda", 0.5, 0.80, 0.82),
            *pruned("magnitude", 0.3, 0.91, 0.91),
            *pruned("magnitude", 0.5, 0.70, 0.71),
        ]
    )
    assert groups(found) == [[0, 2], [1, 3]]
    assert [each.is_best for each in compared(found)] == [False, True, True, False]
    assert groups(found[:2]) == [[0, 1]], "one method: all of them"


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.04], [0.04]),
        # Holm 1979 by hand: 4 · 0.005, 3 · 0.01, 2 · 0.03, and no smaller than the one before
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.6, 0.7], [1.0, 1.0]),
    ],
)
def test_holms_correction(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)
    assert all(math.isfinite(each) for each in holm(p_values))
