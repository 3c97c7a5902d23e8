"""What each choice of a sweep does to score, size and speed, all else equal."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter, Range1d, Row, Span
from bokeh.plotting import figure

from compress.analysis.effects import Change, Effect, effects
from compress.records.recipe import MISSING, entry
from compress.records.schema import FinishedRun
from compress.records.score_words import kind_of
from compress.records.scores import ScoreKind
from compress.records.words import shape_words
from compress.report.html.panel import BLUE, GREY, Panel, named_ticks, plain_figure
from compress.report.html.panels.labels import short
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
        ratio: whether changes are of logarithms, and shown as factors.
    """

    name: str
    title: str
    ratio: bool

    def shown(self, value: float) -> float:
        """A change in the chart's unit."""
        return math.exp(value) if self.ratio else value


def outcomes_of(kind: ScoreKind) -> tuple[Outcome, ...]:
    """The charts, the score's first."""
    words = f"{kind.words}, as a factor" if kind.relative else f"change of {kind.words}"
    return (
        Outcome("score", words, ratio=kind.relative),
        Outcome("size", "size, as a factor", ratio=True),
        Outcome("speed", "speed, as a factor", ratio=True),
    )


def effects_panel(section: Section) -> Panel | None:
    """The effect of each level of each choice; None if no two runs differ in one choice alone."""
    records = [record for _, record in section.runs]
    found = effects(settings_of(records), _outcomes(records), MATCHED)
    if not found:
        return None
    # Of many levels those that most is known of, in the order in which they were.
    kept = sorted(range(len(found)), key=lambda i: (-found[i].pairs, i))[:MOST]
    drawn = [found[i] for i in sorted(kept)]
    shape = records[0].metrics.latency[0]
    pairs = sum(effect.pairs for effect in found)
    words = (
        "Each row holds one setting against another in pairs of runs that are equal in everything "
        "else; the dot is the mean over the n pairs, the line its 95 % interval (none for a single "
        "pair), which may go on beyond the edge. A line that does not cross the grey one is a "
        "change that the pairs agree on. "
        f"Among {len(records)} runs there are {pairs} such pair{'s' if pairs > 1 else ''}. "
        f"Speed is that of {shape_words(shape)}."
    )
    if section.kind.better == "lower":
        words += f" Of {section.kind.words} less is better."
    if len(drawn) < len(found):
        words += f" Drawn are the {len(drawn)} of {len(found)} rows with the most pairs."
    charts = [
        _chart(outcome, drawn, first=i == 0) for i, outcome in enumerate(outcomes_of(section.kind))
    ]
    return Panel("What each choice does", words, Row(children=charts))


def settings_of(records: Sequence[FinishedRun]) -> list[dict[str, str]]:
    """What each run was set to: the choices of its groups, and every key that some run overrides.

    Args:
        records: of runs that share what none of them overrides.
    """
    words = (word.lstrip("+~").partition("=")[0] for each in records for word in each.overrides)
    keys = [key for key in dict.fromkeys(words) if not key.startswith("hydra")]
    return [_settings(record, keys) for record in records]


def _settings(record: FinishedRun, keys: Sequence[str]) -> dict[str, str]:
    """Values come from the config: a run that does not override a key has the default."""
    found = dict(record.choices)
    for key in keys:
        value = functools.reduce(entry, key.split("."), record.config)
        if key not in found and value is not MISSING:
            found[key] = str(value)
    return {"seed": str(record.seed), **found}


def _outcomes(records: Sequence[FinishedRun]) -> dict[str, list[float]]:
    """In the order of `outcomes_of`."""
    ours = [record.metrics for record in records]
    values = [metrics.score.value for metrics in ours]
    return {
        "score": [*map(math.log, values)] if kind_of(ours[0].score).relative else values,
        "size": [math.log(metrics.size_bytes) for metrics in ours],
        "speed": [math.log(record.speedup[0].counted) for record in records],
    }


def _chart(outcome: Outcome, drawn: Sequence[Effect], *, first: bool) -> figure:
    """Dots and whiskers, the first row on top; the first chart names the rows of all."""
    shown = _range(outcome, [effect.changes[outcome.name] for effect in drawn])
    # Nearer ends have hardly a mark of a logarithmic axis between them.
    logarithmic = outcome.ratio and shown.end > NEAR * shown.start
    chart = plain_figure(
        width=CHART + (NAMES if first else 0),
        height=ROW * len(drawn) + FRAME,
        tools="",
        toolbar_location=None,
        x_axis_label=outcome.title,
        x_axis_type="log" if logarithmic else "linear",
        x_range=shown,
        y_range=Range1d(len(drawn) - 0.4, -0.6),
    )
    nothing = outcome.shown(0.0)
    chart.add_layout(Span(location=nothing, dimension="height", line_color=GREY, line_width=2))
    source = ColumnDataSource(_columns(outcome, drawn))
    chart.segment("low", "row", "high", "row", source=source, color=BLUE, line_width=2)
    dots = chart.scatter("mean", "row", source=source, size=9, color=BLUE)
    tips = [("", "@name"), (outcome.title, "@told"), ("pairs", "@pairs")]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    chart.ygrid.visible = False
    chart.xaxis.formatter = NumeralTickFormatter(format="0.[00]" if outcome.ratio else "0.[0000]")
    chart.xaxis.ticker.num_minor_ticks = 0
    chart.xaxis.ticker.desired_num_ticks = 3
    if first:
        named_ticks(chart.yaxis[0], [_name(effect) for effect in drawn])
        chart.yaxis.major_label_text_font_size = "13px"
    else:
        chart.yaxis.visible = False
    return chart


def _columns(outcome: Outcome, drawn: Sequence[Effect]) -> dict[str, list[Any]]:
    """A row each; of a single pair both ends are at the mean."""
    columns: dict[str, list[Any]] = {name: [] for name in ("mean", "low", "high", "told")}
    for effect in drawn:
        change = effect.changes[outcome.name]
        mean, low, high = (outcome.shown(value) for value in _ends(change))
        for name, value in (("mean", mean), ("low", low), ("high", high)):
            columns[name].append(value)
        form = "{:.2f}" if outcome.ratio else "{:+.4f}"
        ends = "" if change.low is None else f" ({form.format(low)} to {form.format(high)})"
        columns["told"].append(form.format(mean) + ends)
    names = [f"{e.key}: {e.level} against {e.reference}" for e in drawn]
    pairs = [effect.pairs for effect in drawn]
    return {**columns, "row": list(range(len(drawn))), "name": names, "pairs": pairs}


def _name(effect: Effect) -> str:
    return (
        f"{short(effect.key, 27)}: {short(effect.level, 16)} vs {short(effect.reference, 12)} "
        f"(n = {effect.pairs})"
    )


def _range(outcome: Outcome, changes: Sequence[Change]) -> Range1d:
    """All dots and no change at all, and of the whiskers what is not far beyond.

    Those of two pairs are mostly longer than all else together: t is 12.7 for them.
    """
    means = [0.0, *(change.mean for change in changes)]
    ends = [end for change in changes for end in _ends(change)]
    width = max(means) - min(means) or max(map(abs, ends)) or LEAST
    low = max(min(means) - width, min(means + ends))
    high = min(max(means) + width, max(means + ends))
    room = 0.06 * (high - low) or LEAST  # where nothing changes at all
    return Range1d(outcome.shown(low - room), outcome.shown(high + room))


def _ends(change: Change) -> tuple[float, float, float]:
    mean = change.mean
    low = mean if change.low is None else change.low
    high = mean if change.high is None else change.high
    return mean, low, high
