"""A speed-up counts only when its interval excludes 1 and the noise floor: everywhere."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from compress.analysis.decision import Rule
from compress.analysis.goals import Goals, parse_bound, parse_goals
from compress.experiment.definition import Row
from compress.records.metrics import METRICS, objective_values, settled
from compress.records.schema import FinishedRun, Generation, Speedup, write_record
from compress.records.words import (
    NO_DIFFERENCE,
    fast_words,
    plain_words,
    speedup_words,
    summary_words,
)
from compress.report.compare_page import compare_folders, comparison_markdown
from compress.report.contest import contest_of
from compress.report.experiment import Line
from compress.report.experiment_page import _parts
from compress.report.html.page import pick_row
from compress.report.html.panels.front import front_runs
from compress.report.html.panels.waterfall import _time_steps, levels
from compress.report.paper.caption import front_lines
from compress.report.paper.latex import latex_tables
from compress.report.plotted import shape_columns
from compress.report.points import FRONT, latency_figure, places, size_figure
from compress.report.probe import Probe, latencies, show_probe
from compress.report.recommend import advise
from compress.report.sections import sections
from compress.report.write import figures
from compress.serve.folder import RunSpec
from compress.store.card import model_card
from tests.records.test_schema import evaluated_by, make_metrics, make_record, shippable
from tests.report.records import with_stages
from tests.report.test_report import screen

ROOT = Path("sweep")
SHAPE = (1, 32)
# Ratio, interval and floor, and whether that is a difference.
INTERVALS = [
    ((1.27, 0.95, 6.64), None, False),
    ((1.27, 0.95, 6.64), 1.02, False),
    ((1.27, 1.2, 1.3), None, True),
    ((1.27, 1.2, 1.3), 1.02, True),
    ((1.27, 1.2, 1.3), 1.2, False),
    ((1.01, 1.005, 1.015), None, True),
    ((1.01, 1.005, 1.015), 1.02, False),
    ((1.5, 1.0, 2.0), None, False),
    ((0.8, 0.5, 1.01), None, False),
    ((0.8, 0.75, 0.85), None, True),
    ((0.8, 0.75, 0.85), 1.1, True),
    ((0.8, 0.75, 0.85), 1.2, False),
    ((0.99, 0.985, 0.995), 1.02, False),
    ((1.0, 1.0, 1.0), None, False),
]


def timed(ends: tuple[float, float, float], floor: float | None) -> FinishedRun:
    """A run of half its teacher's bytes, whose medians tell of the ratio whatever its interval."""
    speed = Speedup(*SHAPE, *ends, floor)
    return shippable(make_record(0.905, 1000, 10.0 / ends[0], speedup=(speed,)))


def on_screen(record: FinishedRun, tmp_path: Path) -> str:
    write_record(record, tmp_path)
    return screen(tmp_path, width=200)


def in_markdown(record: FinishedRun, tmp_path: Path) -> str:
    return " ".join(figures("0", "none", record).values())


def on_card(record: FinishedRun, _: Path) -> str:
    return model_card(record, RunSpec("torch", "X"), plain=True)


def in_latex(record: FinishedRun, _: Path) -> str:
    # In a column of a paper there is room for a sign, which the caption explains.
    table = latex_tables(sections([(ROOT / "0", record)])).replace("--", " to ")
    return table.replace(r"$\approx$1 (", f"{NO_DIFFERENCE} (interval ")


def in_caption(record: FinishedRun, _: Path) -> str:
    return " ".join(" ".join(front_lines([(ROOT / "0", record)], SHAPE, {0: "1"})).split())


def on_page(record: FinishedRun, _: Path) -> str:
    [section] = sections([(ROOT / "0", record)])
    advice = advise(section, ROOT)
    [words] = shape_columns([record], SHAPE)["speedup_words"]
    rows = [word for pick in advice.picks for word in pick_row(advice, pick)]
    return " ".join([*advice.words, *rows, words])


def in_experiment(record: FinishedRun, _: Path) -> str:
    line = Line("row", Row((), {}, ()), (), (ROOT / "0", record))
    return " ".join(_parts(line, "speedup"))


def of_probe(record: FinishedRun, _: Path) -> str:
    out = io.StringIO()
    show_probe(Probe({"cpu/x": record}, {}, SHAPE), Console(file=out, width=200))
    return out.getvalue().replace("–", " to ")


def of_comparison(record: FinishedRun, tmp_path: Path) -> str:
    write_record(record, tmp_path)
    return comparison_markdown(compare_folders(tmp_path, tmp_path))


PLACES = [
    on_screen, in_markdown, on_card, in_latex, in_caption, on_page, in_experiment, of_probe,
    of_comparison,
]  # fmt: skip


@pytest.mark.parametrize(("ends", "floor", "counts"), INTERVALS)
def test_one_rule_says_whether_a_speedup_counts(
    ends: tuple[float, float, float], floor: float | None, counts: bool
) -> None:
    speed = Speedup(*SHAPE, *ends, floor)
    assert speed.counts is counts
    assert speed.counted == (ends[0] if counts else 1.0)
    interval = f"{ends[1]:.2f} to {ends[2]:.2f}"
    denial = f"{NO_DIFFERENCE} (interval {interval})"
    assert speedup_words(speed) == (f"{ends[0]:.2f} ({interval})" if counts else denial)
    assert fast_words(speed) == (
        f"{ends[0]:.2f} times as fast ({interval})"
        if counts
        else f"{NO_DIFFERENCE} in time (interval {interval})"
    )


def test_a_headline_has_its_interval_and_a_large_ratio_no_digits_that_it_does_not_have() -> None:
    assert fast_words(Speedup(*SHAPE, 4.63, 4.41, 4.84)) == "4.6 times as fast (4.4 to 4.8)"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("ends", "floor", "counts"), [INTERVALS[i] for i in (0, 2, 6, 8, 9)])
def test_every_text_says_it(
    place: Callable[[FinishedRun, Path], str],
    ends: tuple[float, float, float],
    floor: float | None,
    counts: bool,
    tmp_path: Path,
) -> None:
    said = " ".join(place(timed(ends, floor), tmp_path).split())
    assert (NO_DIFFERENCE in said) != counts
    # The number itself is said of nothing that does not count.
    assert (f"{ends[0]:.2f} (" in said or f"{ends[0]:.2f} times" in said) == counts
    if place is not on_screen or counts:
        assert f"{ends[1]:.2f} to {ends[2]:.2f}" in said


@pytest.mark.parametrize(("ends", "floor", "counts"), INTERVALS)
def test_nothing_is_chosen_by_a_speedup_that_does_not_count(
    ends: tuple[float, float, float], floor: float | None, counts: bool
) -> None:
    record = timed(ends, floor)
    ratio = ends[0] if counts else 1.0
    [section] = sections([(ROOT / "0", record)])
    [candidate] = [
        s.candidate for s in contest_of(section, ROOT, Rule()).decision.standings.values()
    ]
    assert candidate.latency_ms == pytest.approx(10.0 / ratio)
    figure = latency_figure([record], SHAPE)
    assert figure.values[0] == pytest.approx(10.0 / ratio)
    assert figure.low[0] <= figure.values[0] <= figure.high[0]
    assert latencies({"cpu/x": record}, SHAPE) == {"cpu/x": pytest.approx(10.0 / ratio)}
    found = objective_values(record, ("speedup", "latency_ms", "tokens_per_second"))
    assert found == pytest.approx([ratio, 10.0 / ratio, 3200 * ratio])
    # The record keeps what was measured.
    assert METRICS["speedup"].read(record) == ends[0]
    shapes = shape_columns([record], SHAPE)
    assert shapes["speedup"].tolist() == [ratio]
    # Tokenization is not what was compared.
    [own] = record.metrics.latency
    latency = (replace(own, tokenize_ms=0.2),)
    record = replace(record, metrics=replace(record.metrics, latency=latency))
    assert objective_values(record, ("text_to_label_ms",)) == pytest.approx([10.0 / ratio + 0.2])
    assert shape_columns([record], SHAPE)["text_to_label"].tolist() == [own.median_ms + 0.2]


def goals(**bounds: str) -> Goals:
    objectives = {"speedup": "maximize", "latency_ms": "minimize"}
    return parse_goals(objectives, bounds, "evaluation")


@pytest.mark.parametrize(
    ("bounds", "record", "met"),
    [
        ({"speedup": ">= 1.2"}, timed((1.27, 0.95, 6.64), None), False),
        ({"speedup": ">= 1.2"}, timed((1.27, 1.21, 1.3), None), True),
        ({"speedup": ">= 1.2"}, timed((1.27, 1.21, 1.3), 1.25), False),
        ({"latency_ms": "<= 0.9 * baseline"}, timed((1.27, 0.95, 6.64), None), False),
        ({"latency_ms": "<= 0.9 * baseline"}, timed((1.27, 1.21, 1.3), None), True),
        ({"tokens_per_second": ">= 1.1 * baseline"}, timed((1.27, 0.95, 6.64), None), False),
        ({"latency_ms": "<= 1 * baseline"}, timed((0.8, 0.5, 1.01), None), True),
        ({"latency_ms": "<= 1 * baseline"}, timed((0.8, 0.75, 0.85), None), False),
    ],
)
def test_bounds_are_held_against_what_counts(
    bounds: dict[str, str], record: FinishedRun, met: bool
) -> None:
    [excess] = goals(**bounds).excesses(record).values()
    assert (excess <= 0) == met
    [(name, text)] = bounds.items()
    row = Row((), {}, (parse_bound("goals", name, text),))
    [goal] = Line("row", row, (), (ROOT / "0", record)).goals()
    assert goal.met == met


def test_a_search_ranks_by_what_counts() -> None:
    lucky, sure = timed((3.0, 0.9, 9.0), None), timed((1.5, 1.4, 1.6), None)
    assert goals().values(lucky) == [1.0, 10.0]
    assert goals().front([lucky, sure]) == [False, True]
    assert goals().volume([lucky]) == 0.0
    runs = [(ROOT / "lucky", lucky), (ROOT / "sure", sure)]
    assert [folder.name for folder, _ in front_runs(runs)] == ["sure"]
    every = [size_figure([lucky, sure]), latency_figure([lucky, sure], SHAPE)]
    assert places(every)[1] == FRONT != places(every)[0]


def test_what_a_model_writes_counts_by_its_own_interval() -> None:
    slow = Generation(8, 4, 6, 9.0, 100.0)
    fast = Generation(8, 4, 6, 5.0, 180.0, 1.8, 0.9, 3.0)
    record = make_record()
    record = replace(
        record,
        metrics=replace(record.metrics, generation=fast),
        baseline=replace(record.baseline, generation=slow),
    )
    name = "generated_tokens_per_second"
    assert METRICS[name].read(settled(record)) == 100.0
    sure = replace(record.metrics, generation=replace(fast, speedup_low=1.7))
    assert METRICS[name].read(settled(replace(record, metrics=sure))) == 180.0


@pytest.mark.parametrize(
    ("ends", "median", "shown"),
    [
        ((1.27, 0.95, 6.64), 7.9, "≈7.90 ms (10.00), speed-up: no measurable difference (interval "
         "0.95 to 6.64)"),
        ((1.27, 1.2, 1.3), 7.9, " 7.90 ms (10.00), speed-up: 1.27 (1.20 to 1.30)"),
        # The medians of all passes can say the contrary of the rounds in turns.
        ((1.1, 1.05, 1.2), 10.4, "≈10.40 ms (10.00), speed-up: 1.10 (1.05 to 1.20)"),
    ],
)  # fmt: skip
def test_a_median_that_its_interval_denies_is_marked(
    ends: tuple[float, float, float],
    median: float,
    shown: str,
    tmp_path: Path,
) -> None:
    record = make_record(ms=median, speedup=(Speedup(*SHAPE, *ends),))
    assert shown in summary_words(record)
    mark = shown.strip().partition(" ")[0]
    assert f" {mark} 10.00 " in f" {in_markdown(record, tmp_path)} "
    assert f"| {mark} ms | 10.00 ms |" in on_card(record, tmp_path)


def test_zeros_that_bought_time_are_not_said_to_have_bought_none() -> None:
    for ends, counts in (((1.27, 0.95, 6.64), False), ((1.27, 1.2, 1.3), True)):
        zeros = make_record().history
        record = replace(timed(ends, None), metrics=make_metrics(0.9, 2000), history=zeros)
        [words] = plain_words(record)
        assert (NO_DIFFERENCE in words) != counts


def test_a_step_that_its_intervals_deny_is_no_change() -> None:
    record = with_stages(timed((1.27, 0.95, 6.64), None), "student", "pruner")
    times = [level.latency_ms for level in levels(record, 10.0)]
    assert times[-1][0] == 10.0
    assert _time_steps(times) == ["-17%", "≈", "≈"]


def test_the_axis_is_not_stretched_by_an_interval_below_the_floor() -> None:
    figure = latency_figure([timed((1.01, 1.005, 1.015), 1.02)], SHAPE)
    assert figure.high[0] == figure.values[0] == 10.0
    assert math.isclose(figure.low[0], 10.0 / 1.015)


def test_a_teacher_that_knows_nothing_is_remarked_on() -> None:
    said = "entity F1 0.0000 (teacher 0.0000, so it has learned nothing to lose), "
    assert summary_words(evaluated_by("entity_f1", 0.0, 0.0)).startswith(said)
    assert "nothing" not in summary_words(evaluated_by("entity_f1", 0.0, 0.1))
    assert "nothing" not in summary_words(evaluated_by("perplexity", 5.0, 4.0))
