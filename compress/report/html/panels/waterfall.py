"""What each stage did to score, size and latency, run by run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from bokeh.models import Column, LayoutDOM
from bokeh.plotting import figure

from compress.records.schema import FinishedRun, ModelMetrics, Speedup
from compress.records.score_words import axis_words
from compress.records.scores import ScoreKind
from compress.records.words import UNCERTAIN, shape_words
from compress.report.html.panel import (
    BLACK,
    BLUE,
    GREY,
    SKY,
    Panel,
    named_ticks,
    short,
    side_by_side,
    still_figure,
)
from compress.report.html.panels.front import front_first, run_label
from compress.report.points import teacher_ms
from compress.report.sections import Section

MOST = 6  # runs that are drawn
WIDTH, HEIGHT, LABELS = 380, 170, 90
Interval: TypeAlias = tuple[float, float, float]  # a value, the ends of its 95 % interval


@dataclass(frozen=True)
class Level:
    """The model after one stage.

    Attributes:
        megabytes: of its files; exact.
        latency_ms: the baseline's median divided by the speed-up if that counts.
    """

    stage: str
    score: Interval
    megabytes: float
    latency_ms: Interval


def waterfall(section: Section) -> Panel | None:
    """Score, size and latency after each stage; None if no run measured them between stages."""
    told = [run for run in section.runs if run[1].stage_metrics]
    if not told:
        return None
    drawn = front_first(told, MOST)
    timed = section.baseline.latency[0]
    words = (
        "The model after each stage, from the teacher on the left to the saved model on the right; "
        "numbers are changes from the previous stage. Vertical lines are 95 % intervals: if two "
        "overlap, the stage may have changed nothing. Latency is the teacher's median divided by "
        f"the speed-up if significant, for {shape_words(timed)}; {UNCERTAIN} marks a change within "
        "the intervals. Models are quantized in the last stage only."
    )
    if len(drawn) < len(told):
        words += f" {len(drawn)} of {len(told)} runs are shown, those of the Pareto front first."
    baseline = teacher_ms((record for _, record in section.runs), (timed.batch, timed.length))
    charts = [
        _run(run_label(*run, most=40), section.kind, levels(run[1], baseline)) for run in drawn
    ]
    return Panel("What each stage did", words, side_by_side(charts))


def levels(record: FinishedRun, baseline_ms: float) -> tuple[Level, ...]:
    """The teacher, which takes `baseline_ms`, the model after each stage, and the final one."""

    def level(stage: str, metrics: ModelMetrics, speed: Speedup) -> Level:
        score = metrics.score
        return Level(
            stage,
            (score.value, score.low, score.high),
            metrics.size_bytes / 1e6,
            (baseline_ms / speed.counted, baseline_ms / speed.high, baseline_ms / speed.low),
        )

    quantizer = record.choices.get("quantizer", "none")
    return (
        level("teacher", record.baseline, Speedup(1, 1, 1.0, 1.0, 1.0)),
        *(level(each.stage, each.metrics, each.speedup[0]) for each in record.stage_metrics),
        level("saved" if quantizer == "none" else quantizer, record.metrics, record.speedup[0]),
    )


def _run(title: str, kind: ScoreKind, stages: Sequence[Level]) -> LayoutDOM:
    """Three charts below one another, with the stages' names under the last."""
    scores = [each.score for each in stages]
    sizes = [(each.megabytes,) * 3 for each in stages]
    times = [each.latency_ms for each in stages]
    charts = [
        _chart(axis_words(kind), scores, _steps(scores, "{:+.1%}" if kind.relative else "")),
        _chart("size (MB)", sizes, _steps(sizes, "{:+.0%}"), bars=True),
        _chart("latency (ms)", times, _time_steps(times), bars=True),
    ]
    charts[0].title.text = title
    charts[0].title.text_font_size = "13px"
    for upper in charts[:-1]:
        upper.xaxis.visible = False
    named_ticks(charts[-1].xaxis[0], [short(each.stage, 22) for each in stages])
    charts[-1].xaxis.major_label_orientation = 0.6
    charts[-1].height = HEIGHT + LABELS
    return Column(children=charts)


def _steps(values: Sequence[Interval], share: str) -> list[str]:
    """The changes over the stage before: as shares in this form, or where it is empty as such."""
    pairs = itertools.pairwise(middle for middle, _, _ in values)
    return [share.format(now / was - 1) if share else f"{now - was:+.3f}" for was, now in pairs]


def _time_steps(times: Sequence[Interval]) -> list[str]:
    """The changes over the stage before; where the intervals of both overlap there is none."""
    pairs = zip(itertools.pairwise(times), _steps(times, "{:+.0%}"), strict=True)
    return [
        words if low > high_before or high < low_before else UNCERTAIN
        for ((_, low_before, high_before), (_, low, high)), words in pairs
    ]


def _chart(
    title: str, values: Sequence[Interval], changes: Sequence[str], *, bars: bool = False
) -> figure:
    """One figure by stage: bars from zero, or points, where zero is far away."""
    places = list(range(len(values)))
    middle, low, high = (list(column) for column in zip(*values, strict=True))
    least = 0.0 if bars else min(low)
    room = 0.25 * (max(high) - least) or 1.0
    chart = still_figure(
        width=WIDTH,
        height=HEIGHT,
        x_range=(-0.6, len(values) - 0.4),
        y_range=(least if bars else least - room / 2, max(high) + room),
        y_axis_label=title,
        min_border_left=70,  # the charts of a run stay in line
    )
    chart.xgrid.visible = False
    chart.yaxis.ticker.num_minor_ticks = 0
    if bars:
        chart.vbar(places, width=0.6, top=middle, color=SKY)
    else:
        chart.line(places, middle, color=GREY, line_dash="dotted")
        chart.scatter(places, middle, size=9, color=BLUE)
    chart.segment(places, low, places, high, color=BLACK if bars else BLUE, line_width=2)
    chart.text(
        places[1:], high[1:], text=changes, text_align="center", text_baseline="bottom",
        y_offset=-3, text_font_size="13px",
    )  # fmt: skip
    return chart
