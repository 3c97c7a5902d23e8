"""What each choice of a sweep does to score, size and speed, all else equal."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter, Row, Span
from bokeh.plotting import figure
from jaxtyping import Float

from compress.analysis.effects import Effect, effects
from compress.records.recipe import MISSING, entry
from compress.records.schema import FinishedRun
from compress.records.scores import ScoreKind
from compress.records.words import shape_words
from compress.report.html.panel import BLUE, GREY, Panel, named_ticks, rows_figure, short
from compress.report.sections import Section

MOST = 30  # levels that are drawn
CHART, NAMES, ROW, FRAME = 190, 320, 26, 90  # pixels: all three are to fit into 900
# Held equal in a pair, but no choices between models: what they do is not asked.
MATCHED = frozenset({"seed", "search", "cache", "tracker"})
LEAST = 0.01  # of a change that an axis shows
NEAR = 2.0  # factors that far apart, or less, are on a linear axis


@dataclass(frozen=True)
class Outcome:
    """One of the charts.

    Attributes:
        values: of each run.
        ratio: whether values are logarithms, and changes of them shown as factors.
    """

    title: str
    values: list[float]
    ratio: bool


def effects_panel(section: Section) -> Panel | None:
    """The effect of each level of each choice; None if no two runs differ in one choice alone."""
    records = [record for _, record in section.runs]
    outcomes = _outcomes(section.kind, records)
    values = {outcome.title: outcome.values for outcome in outcomes}
    found = effects(settings_of(records), values, MATCHED)
    if not found:
        return None
    # Of many levels those that most is known of, in the order in which they were.
    kept = sorted(range(len(found)), key=lambda i: (-found[i].pairs, i))[:MOST]
    drawn = [found[i] for i in sorted(kept)]
    pairs = sum(effect.pairs for effect in found)
    words = (
        "Each row compares two settings over pairs of runs that are equal in everything else; the "
        "dot is the mean over the n pairs, the line its 95 % interval (none for a single pair), "
        "which may extend beyond the edge. An interval that does not cross the gray line is a "
        "significant change. "
        f"Among {len(records)} runs there are {pairs} such pair{'s' if pairs > 1 else ''}. "
        f"Speed is that of {shape_words(records[0].metrics.latency[0])}."
    )
    if section.kind.better == "lower":
        words += f" Of {section.kind.words} less is better."
    if len(drawn) < len(found):
        words += f" The {len(drawn)} of {len(found)} rows with the most pairs are shown."
    charts = [_chart(outcome, drawn, first=outcome is outcomes[0]) for outcome in outcomes]
    return Panel("What each choice does", words, Row(children=charts))


def settings_of(records: Sequence[FinishedRun]) -> list[dict[str, str]]:
    """What each run was set to: its choices, and every key that some run overrides."""
    words = (word.lstrip("+~").partition("=")[0] for each in records for word in each.overrides)
    keys = [key for key in dict.fromkeys(words) if not key.startswith("hydra")]
    found = []
    for record in records:
        settings = {"seed": str(record.seed), **record.choices}
        for key in keys:
            # From the config: a run that does not override a key has the default.
            value = functools.reduce(entry, key.split("."), record.config)
            if key not in settings and value is not MISSING:
                settings[key] = str(value)
        found.append(settings)
    return found


def _outcomes(kind: ScoreKind, records: Sequence[FinishedRun]) -> tuple[Outcome, ...]:
    scores = [record.metrics.score.value for record in records]
    sizes = [record.metrics.size_bytes for record in records]
    speeds = [record.speedup[0].counted for record in records]
    if kind.relative:
        score = Outcome(f"{kind.words}, as a factor", np.log(scores).tolist(), True)
    else:
        score = Outcome(f"change of {kind.words}", scores, False)
    return (
        score,
        Outcome("size, as a factor", np.log(sizes).tolist(), True),
        Outcome("speed, as a factor", np.log(speeds).tolist(), True),
    )


def _chart(outcome: Outcome, drawn: Sequence[Effect], *, first: bool) -> figure:
    """Dots and whiskers, the first row on top; the first chart names the rows of all."""
    changes = [effect.changes[outcome.title] for effect in drawn]
    ends = np.array([(each.mean, each.low, each.high) for each in changes], dtype=float)
    ends = np.where(np.isnan(ends), ends[:, :1], ends)  # of a single pair both are at the mean
    limits, nothing, form = _limits(ends), 0.0, "{:+.4f}"
    if outcome.ratio:
        ends, limits, nothing, form = np.exp(ends), np.exp(limits), 1.0, "{:.2f}"
    # Nearer ends have hardly a mark of a logarithmic axis between them.
    logarithmic = outcome.ratio and limits[1] > NEAR * limits[0]
    chart = rows_figure(
        len(drawn),
        width=CHART + (NAMES if first else 0),
        height=ROW * len(drawn) + FRAME,
        x_axis_label=outcome.title,
        x_axis_type="log" if logarithmic else "linear",
        x_range=tuple(limits),
    )
    chart.add_layout(Span(location=nothing, dimension="height", line_color=GREY, line_width=2))
    source = _source(drawn, ends, form)
    chart.segment("low", "row", "high", "row", source=source, color=BLUE, line_width=2)
    dots = chart.scatter("mean", "row", source=source, size=9, color=BLUE)
    tips = [("", "@name"), (outcome.title, "@told"), ("pairs", "@pairs")]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    chart.xaxis.formatter = NumeralTickFormatter(format="0.[00]" if outcome.ratio else "0.[0000]")
    chart.xaxis.ticker.num_minor_ticks = 0
    chart.xaxis.ticker.desired_num_ticks = 3
    if first:
        names = [
            f"{short(each.key, 27)}: {short(each.level, 16)} vs {short(each.reference, 12)} "
            f"(n = {each.pairs})"
            for each in drawn
        ]
        named_ticks(chart.yaxis[0], names)
        chart.yaxis.major_label_text_font_size = "13px"
    else:
        chart.yaxis.visible = False
    return chart


def _source(
    drawn: Sequence[Effect], ends: Float[np.ndarray, "rows 3"], form: str
) -> ColumnDataSource:
    told = []
    for effect, (mean, low, high) in zip(drawn, ends, strict=True):
        interval = f" ({form.format(low)} to {form.format(high)})" if effect.pairs > 1 else ""
        told.append(form.format(mean) + interval)
    return ColumnDataSource(
        {
            "mean": ends[:, 0],
            "low": ends[:, 1],
            "high": ends[:, 2],
            "told": told,
            "row": list(range(len(drawn))),
            "name": [f"{e.key}: {e.level} against {e.reference}" for e in drawn],
            "pairs": [effect.pairs for effect in drawn],
        }
    )


def _limits(ends: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, " ends"]:
    """All dots and no change at all, and of the whiskers what is not far beyond.

    Those of two pairs are mostly longer than all else together: t is 12.7 for them.
    """
    means = np.append(ends[:, 0], 0.0)
    width = np.ptp(means) or np.abs(ends).max() or LEAST
    low = max(means.min() - width, min(ends.min(), 0.0))
    high = min(means.max() + width, max(ends.max(), 0.0))
    room = 0.06 * (high - low) or LEAST  # where nothing changes at all
    return np.array([low - room, high + room])
