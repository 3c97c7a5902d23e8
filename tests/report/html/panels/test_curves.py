from __future__ import annotations

import pytest

from compress.report.html.panels.curves import MOST, NAMED, POINTS, curves
from tests.report.html.panels.drawn import columns, legend, plots
from tests.report.records import curve, plain, section_of, trained


def test_each_training_is_drawn_once_by_stage() -> None:
    teacher, early, late = curve(), curve(start=1.0), curve(start=2.0)
    panel = curves(
        section_of(
            plain(history=(trained("teacher", teacher), trained("student", early))),
            plain(history=(trained("teacher", teacher), trained("student", late))),
            plain(history=(trained("teacher", teacher), trained("student", late))),
        )
    )
    assert panel is not None
    assert [plot.title.text for plot in plots(panel)] == ["teacher", "student"]
    assert [legend(plot) for plot in plots(panel)] == [["#0, #1, #2"], ["#0", "#1, #2"]]
    steps, losses = columns(plots(panel)[0], "step", "loss")
    assert steps == [point["step"] for point in teacher]
    assert losses == [point["loss"] for point in teacher]
    assert {each.click_policy for plot in plots(panel) for each in plot.legend} == {"hide"}


def test_a_stage_that_trains_twice_has_two_figures() -> None:
    twice = (trained("pruner", curve()), trained("pruner", curve(start=2.0)))
    panel = curves(section_of(plain(history=twice)))
    assert panel is not None
    assert [plot.title.text for plot in plots(panel)] == ["pruner", "pruner_2"]


def test_losses_that_were_not_taken_are_left_out() -> None:
    points = [{"step": 1, "epoch": 0.5, "loss": None, "validation_loss": 0.25}]
    panel = curves(section_of(plain(history=(trained("teacher", points),))))
    assert panel is not None
    assert columns(plots(panel)[0], "step", "loss") == [[1], [0.25]]


@pytest.mark.parametrize(
    "step", [{"stage": "teacher"}, {"stage": "teacher", "notes": None}, trained("teacher", [])]
)
def test_nothing_is_drawn_without_a_curve(step: dict[str, object]) -> None:
    assert curves(section_of(plain(history=(step,)))) is None


def test_a_curve_that_cannot_be_read_is_said(caplog: pytest.LogCaptureFixture) -> None:
    broken = trained("student", [{"step": "many"}])
    whole = plain(history=(trained("teacher", curve()),))
    panel = curves(section_of(plain(history=(broken,)), whole))
    assert panel is not None
    assert [legend(plot) for plot in plots(panel)] == [["#1"]]
    assert "run #0: its learning curves cannot be read" in caplog.text


def test_of_many_trainings_and_points_some_are_drawn_and_it_is_said() -> None:
    many = [plain(history=(trained("student", curve(start=1 + i)),)) for i in range(MOST + 2)]
    panel = curves(section_of(*many))
    assert panel is not None
    assert len(legend(plots(panel)[0])) == MOST
    assert f"Drawn are {MOST} of {MOST + 2} trainings" in panel.words
    long = trained("student", curve(3 * POINTS, validated=10_000))
    shared = curves(section_of(*[plain(history=(long,))] * (NAMED + 3)))
    assert shared is not None
    assert len(columns(plots(shared)[0], "step")[0]) == POINTS
    assert legend(plots(shared)[0]) == ["#0, #1, #2, #3, 3 more"]
