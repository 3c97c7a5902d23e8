from __future__ import annotations

from pathlib import Path

import pytest

from compress.report.html.panels.front import front_first, front_runs, run_label, run_sign, spread
from tests.report.records import plain, section_of

BEST, SMALL, FAST = plain(0.9, 1000, 1.0), plain(0.7, 100, 1.0), plain(0.8, 900, 5.0)
WORSE = plain(0.6, 1000, 1.0)


def names(runs: list[tuple[Path, object]]) -> list[str]:
    return [folder.name for folder, _ in runs]


def test_the_front_comes_first_and_the_most_accurate_before_all() -> None:
    runs = section_of(WORSE, SMALL, FAST, BEST).runs
    assert names([*front_runs(runs)]) == ["3", "2", "1"]
    assert names([*front_first(runs, 4)]) == ["3", "2", "1", "0"]
    assert names([*front_first(runs, 2)]) == ["3", "1"]
    assert front_runs([]) == []


@pytest.mark.parametrize(
    ("count", "most", "kept"),
    [(3, 5, [0, 1, 2]), (5, 3, [0, 2, 4]), (9, 4, [0, 3, 5, 8]), (4, 1, [0]), (0, 2, [])],
)
def test_what_is_kept_of_many_lies_evenly_apart(count: int, most: int, kept: list[int]) -> None:
    assert spread(list(range(count)), most) == kept


def test_runs_are_named_as_in_the_plots() -> None:
    assert run_sign(Path("sweep/3")) == "#3"
    assert run_sign(Path("mine")) == "mine"
    assert run_label(Path("sweep/3"), plain()) == "#3 wanda sparsity=0.5"
