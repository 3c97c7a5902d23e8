from __future__ import annotations

import signal

import pytest

from compress.monitor import Forecast, Rejected
from compress.search.crew import Died
from compress.search.goals import parse_goals
from compress.search.job import Order, Reporter, own_gpu

GOALS = {"accuracy": "maximize"}


@pytest.mark.parametrize(
    ("code", "words"),
    [(-signal.SIGKILL, "SIGKILL; out of memory?"), (-signal.SIGSEGV, "SIGSEGV"), (7, "code 7")],
)
def test_the_end_of_a_worker_is_put_into_words(code: int, words: str) -> None:
    assert words in str(Died(code))


@pytest.mark.parametrize(
    ("named", "place", "found"),
    [
        ("0,1", 0, {"CUDA_VISIBLE_DEVICES": "0"}),
        ("0,1", 1, {"CUDA_VISIBLE_DEVICES": "1"}),
        ("4,7", 2, {"CUDA_VISIBLE_DEVICES": "4"}),
        ("3", 1, {}),
        ("", 0, {}),
    ],
)
def test_each_worker_has_a_gpu_where_there_are_several(
    named: str, place: int, found: dict[str, str]
) -> None:
    assert own_gpu(place, {"CUDA_VISIBLE_DEVICES": named}) == found


class Line:
    """A connection that nobody speaks on."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, message: object) -> None:
        self.sent.append(message)

    def poll(self) -> bool:
        return False


def reporter(baseline: dict[str, float], **constraints: str) -> Reporter:
    goals = parse_goals(GOALS, constraints, "validation")
    return Reporter(Line(), Order(0, (), goals.constraints, baseline))  # type: ignore[arg-type]


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
