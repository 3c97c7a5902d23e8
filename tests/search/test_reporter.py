from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from unittest.mock import Mock

import pytest

from compress.analysis.goals import parse_goals
from compress.core.monitor import Forecast, Rejected
from compress.search.limits import EarlyStopping
from compress.search.reporter import JobSpec, Reporter


def reporter(
    baseline: dict[str, float], look: EarlyStopping | None = None, **constraints: str
) -> Reporter:
    goals = parse_goals({"accuracy": "maximize"}, constraints, "validation")
    silent = Mock(poll=lambda: False)
    return Reporter(silent, JobSpec(0, (), goals.constraints, baseline, look))


@pytest.mark.parametrize(
    ("forecast", "constraints", "broken"),
    [
        (Forecast(100, 400), {"parameters": "<= 50"}, {"parameters <= 50": 1.0}),
        (Forecast(100, 400), {"parameters": "<= 100", "size_bytes": "<= 400"}, {}),
        (Forecast(100, 400), {"size_bytes": "<= 200"}, {"size_bytes <= 200": 1.0}),
        (Forecast(None, None), {"size_bytes": "<= 200"}, {}),
        # From below, a forecast of the least says nothing.
        (Forecast(100, 400), {"parameters": ">= 200"}, {}),
        # As a share of what the baseline takes, once that is known.
        (
            Forecast(100, 400),
            {"size_bytes": "<= 0.25 * baseline"},
            {"size_bytes <= 0.25 * baseline": 0.6},
        ),
        (Forecast(100, 400), {"parameters": "<= 0.25 * baseline"}, {}),
    ],
)
def test_a_forecast_rejects_what_is_sure_to_break_a_bound(
    forecast: Forecast, constraints: dict[str, str], broken: dict[str, float]
) -> None:
    made = reporter({"size_bytes": 1000.0}, **constraints)
    if not broken:
        made.forecast(lambda: forecast)
        return
    with pytest.raises(Rejected, match="or more, allowed is <="):
        made.forecast(lambda: forecast)
    assert made.rejection is not None
    assert made.rejection.excesses == pytest.approx(broken)


LOOK = EarlyStopping(after=0.5, margin=0.1)


@pytest.mark.parametrize(
    ("stage", "done", "accuracy", "look", "constraints", "excess"),
    [
        # 0.9 of 0.8 is 0.72; with the margin 0.62 is enough.
        ("student", 50, 0.60, LOOK, {"accuracy": ">= 0.9 * baseline"}, 0.12 / 0.72),
        ("pruner", 99, 0.60, LOOK, {"accuracy": ">= 0.9 * baseline"}, 0.12 / 0.72),
        ("student", 50, 0.63, LOOK, {"accuracy": ">= 0.9 * baseline"}, None),
        ("student", 49, 0.60, LOOK, {"accuracy": ">= 0.9 * baseline"}, None),
        ("teacher", 50, 0.60, LOOK, {"accuracy": ">= 0.9 * baseline"}, None),
        ("student", 50, 0.60, None, {"accuracy": ">= 0.9 * baseline"}, None),
        ("student", 50, 0.60, LOOK, {"size_bytes": "<= 10"}, None),
        ("student", 50, 0.60, LOOK, {"accuracy": "<= 0.1"}, None),
        ("student", 50, 0.50, LOOK, {"accuracy": ">= 0.8"}, 0.3 / 0.8),
    ],
)
def test_early_stopping_ends_what_is_too_far_from_the_accuracy_asked_for(
    stage: str,
    done: int,
    accuracy: float,
    look: EarlyStopping | None,
    constraints: dict[str, str],
    excess: float | None,
) -> None:
    made = reporter({"accuracy": 0.8}, look, **constraints)
    made.stage(stage)
    if excess is None:
        made.look(done, 100, lambda: {"accuracy": accuracy})
        assert made.rejection is None
        return
    with pytest.raises(Rejected, match=f"after {done} of 100 steps in the {stage} stage"):
        made.look(done, 100, lambda: {"accuracy": accuracy})
    assert made.rejection is not None
    assert list(made.rejection.excesses.values()) == pytest.approx([excess])


def test_a_stage_is_looked_at_once() -> None:
    made = reporter({}, LOOK, accuracy=">= 0.8")
    looks = iter([0.75, 0.1])
    made.stage("student")
    for done in (50, 51, 100):
        made.look(done, 100, lambda: {"accuracy": next(looks)})
    made.stage("pruner")
    with pytest.raises(Rejected):
        made.look(50, 100, lambda: {"accuracy": next(looks)})


def test_a_stage_that_goes_on_is_looked_at_and_the_one_inside_it_is_not() -> None:
    made = reporter({}, LOOK, accuracy=">= 0.8")
    made.stage("student")
    made.stage("supernet")
    made.look(50, 100, pytest.fail)
    made.resume("student")
    with pytest.raises(Rejected, match="in the student stage"):
        made.look(50, 100, lambda: {"accuracy": 0.1})


def test_it_is_not_looked_at_before_the_baseline_is_known() -> None:
    made = reporter({}, LOOK, accuracy=">= 0.9 * baseline")
    made.stage("student")
    made.look(50, 100, pytest.fail)


@pytest.mark.parametrize(
    ("metric", "value", "bound", "ended"),
    [
        # 1.05 of 20 is 21; 10 % more is what the margin still hopes to win.
        ("perplexity", 23.0, "<= 1.05 * baseline", False),
        ("perplexity", 23.5, "<= 1.05 * baseline", True),
        ("perplexity", 30.0, ">= 0.5 * baseline", False),  # says nothing of how bad it may be
        ("quality", -3.1, ">= -3", False),
        ("quality", -3.11, ">= -3", True),
    ],
)
def test_early_stopping_knows_which_way_a_score_is_better(
    metric: str, value: float, bound: str, ended: bool
) -> None:
    made = reporter({"perplexity": 20.0}, LOOK, **{metric: bound})
    made.stage("student")
    if not ended:
        made.look(50, 100, lambda: {metric: value})
        return
    with pytest.raises(Rejected, match=f"in the student stage {metric} is .*, too far from"):
        made.look(50, 100, lambda: {metric: value})
    assert made.rejection is not None
    # Named as it is for every trial: the sampler tells constraints apart by their names.
    assert [name.partition(" ")[0] for name in made.rejection.excesses] == [metric]
    assert str(value) not in next(iter(made.rejection.excesses))


def test_a_score_that_is_not_taken_in_training_is_left_to_the_end() -> None:
    made = reporter({"perplexity": 20.0}, LOOK, mcc=">= 0.5")
    made.stage("student")
    made.look(50, 100, lambda: {"perplexity": 900.0})
    assert made.rejection is None


class Ended(Exception):
    """Stands in for the end of the process."""


DOES: list[Callable[[Reporter], object]] = [
    lambda made: made.stage("student"),
    lambda made: made.step(1, 1),
    lambda made: made.quiet().__enter__(),
]


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr("os._exit", end)


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize("unread", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("does", DOES, ids=["stage", "step", "quiet"])
def test_a_worker_without_a_driver_ends_at_once(
    does: Callable[[Reporter], object], unread: bool
) -> None:
    """An error would be recorded as the trial's, and be believed by the next driver."""
    ours, theirs = multiprocessing.Pipe()
    if unread:
        theirs.send("a word that the driver had no time for")
    ours.close()
    with theirs, pytest.raises(Ended):
        does(Reporter(theirs, JobSpec(0, (), (), {})))


@pytest.mark.usefixtures("ends")
def test_a_driver_that_goes_while_it_is_asked_for_quiet_ends_its_worker() -> None:
    ours, theirs = multiprocessing.Pipe()
    threading.Timer(0.05, ours.close).start()
    with theirs, pytest.raises(Ended):
        DOES[-1](Reporter(theirs, JobSpec(0, (), (), {})))
