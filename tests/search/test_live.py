from __future__ import annotations

import io
from unittest.mock import Mock, patch

import pytest
from rich.console import Console

from compress.search.front import FeasibleTrial, Front
from compress.search.live import LiveScreen, best_words
from compress.search.trials import TakenTrial, TrialCounts
from tests.search.test_front import found_of, front_of


@pytest.mark.parametrize(
    ("metric", "way", "trials", "said"),
    [
        ("accuracy", "maximize", (), ""),
        ("accuracy", "maximize", ((0.8, 90),), "; best so far: accuracy 0.8, size_bytes 90"),
        # Each figure's own best, whichever trial has it.
        ("accuracy", "maximize", ((0.8, 90), (0.85, 95), (0.7, 50)),
         "; best so far: accuracy 0.85, size_bytes 50"),
        ("perplexity", "minimize", ((21.5, 90), (19.25, 95)),
         "; best so far: perplexity 19.25, size_bytes 90"),
    ],
)  # fmt: skip
def test_the_best_figures_are_named(
    metric: str, way: str, trials: tuple[tuple[float, int], ...], said: str
) -> None:
    front, found = front_of(metric, way), found_of(metric, 0.9, *trials)
    with patch.object(Front, "feasible", lambda _: found):
        assert best_words(front) == said


def test_a_result_is_a_line_without_a_terminal() -> None:
    stream = io.StringIO()
    with LiveScreen(Console(file=stream, width=40), front_of("accuracy", "maximize")) as screen:
        screen.update([])
        screen.print_result(Mock(spec=TakenTrial, number=3, point={"pruner": "[wanda]"}), "12 s")
    assert stream.getvalue() == "3 pruner=[wanda]: 12 s\n"


def test_a_log_says_each_half_minute_what_the_workers_do() -> None:
    stream = io.StringIO()
    worker = Mock(taken=Mock(number=3), place=0, stage="student", step=(4, 9), seconds=61.0,
                  paused=False, waits_to_measure=False)  # fmt: skip
    with LiveScreen(Console(file=stream, width=80), front_of("accuracy", "maximize")) as screen:
        screen.update([worker])
        screen._drawn -= 29
        screen.update([worker])
        assert stream.getvalue() == ""
        screen._drawn -= 2
        screen.update([worker])
        screen.update([worker])
    assert stream.getvalue() == "0: trial 3, student, step 4 of 9, 61 s\n"


def test_the_summary_counts_and_says_what_is_left() -> None:
    front = front_of("accuracy", "maximize")
    store: Mock = front.trial_store  # type: ignore[assignment]
    store.budget = 10
    store.trial_counts.return_value = TrialCounts(2, 1, 1, running=0, abandoned=0)
    found: list[FeasibleTrial] = []
    with patch.object(Front, "feasible", lambda _: found):
        screen = LiveScreen(Console(file=io.StringIO()), front)
        words = "4 of 10 trials: 2 finished, 1 infeasible, 1 failed"
        assert screen._summary() == words
        screen._began -= 120
        screen.print_result(Mock(spec=TakenTrial, number=0, point={}), "")
        assert screen._summary() == f"{words}; about 12 min left"
