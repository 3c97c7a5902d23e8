from __future__ import annotations

from typing import Any

import pytest

from compress.report.html.panel import Panel
from compress.report.html.panels.curves import MOST, NAMED, curves
from tests.report.html.panels.drawn import columns, legend, plots
from tests.report.records import curve, plain, section_of, trained


def drawn(*histories: tuple[dict[str, Any], ...]) -> Panel | None:
    """The panel of runs with these histories."""
    return curves(section_of(*(plain(history=history) for history in histories)))


def test_each_training_is_drawn_once_by_stage() -> None:
    teacher, early, late = curve(), curve(start=1.0), curve(start=2.0)
    first, second = plots(
        drawn(
            (trained("teacher", teacher), trained("student", early)),
            (trained("teacher", teacher), trained("student", late)),
            (trained("teacher", teacher), trained("student", late)),
        )
    )
    assert (first.title.text, legend(first)) == ("teacher", ["#0, #1, #2"])
    assert (second.title.text, legend(second)) == ("student", ["#0", "#1, #2"])
    steps, losses = columns(first, "step", "loss")
    assert steps == [point["step"] for point in teacher]
    assert losses == [point["loss"] for point in teacher]
    assert [each.click_policy for plot in (first, second) for each in plot.legend] == ["hide"] * 2


def test_a_stage_that_trains_twice_has_two_figures() -> None:
    found = plots(drawn((trained("pruner", curve()), trained("pruner", curve(start=2.0)))))
    assert [plot.title.text for plot in found] == ["pruner", "pruner_2"]


def test_losses_that_were_not_taken_are_left_out() -> None:
    points = [{"step": 1, "epoch": 0.5, "loss": None, "validation_loss": 0.25}]
    [plot] = plots(drawn((trained("teacher", points),)))
    assert columns(plot, "step", "loss") == [[1], [0.25]]


@pytest.mark.parametrize(
    "step", [{"stage": "teacher"}, {"stage": "teacher", "notes": None}, trained("teacher", [])]
)
def test_nothing_is_drawn_without_a_curve(step: dict[str, Any]) -> None:
    assert drawn((step,)) is None


def test_a_curve_that_cannot_be_read_is_said(caplog: pytest.LogCaptureFixture) -> None:
    broken = trained("student", [{"step": "many"}])
    [plot] = plots(drawn((broken,), (trained("teacher", curve()),)))
    assert legend(plot) == ["#1"]
    assert "run #0: its learning curves cannot be read" in caplog.text


def test_of_many_trainings_some_are_drawn_and_of_their_runs_named_and_it_is_said() -> None:
    panel = drawn(*((trained("student", curve(start=1 + i)),) for i in range(MOST + 2)))
    assert len(legend(plots(panel)[0])) == MOST
    assert f"{MOST} of {MOST + 2} trainings are shown" in panel.words
    [shared] = plots(drawn(*[(trained("student", curve()),)] * (NAMED + 3)))
    assert legend(shared) == ["#0, #1, #2, #3, 3 more"]
