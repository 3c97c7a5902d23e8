"""A search: how it went, its trials, what decides, and what was lost, a drawing each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter

from compress.config.errors import UserError
from compress.records.recipe import recipe
from compress.report.html.panel import (
    BLUE,
    PALETTE,
    SKY,
    Panel,
    named_ticks,
    plain_figure,
    rows_figure,
    short,
)
from compress.report.html.panels.coordinates import coordinates
from compress.report.sections import Section
from compress.search.past import PastSearch, growth, past_searches

MOST_SETTINGS, MOST_REASONS = 16, 12  # that are drawn
WIDTH, HEIGHT = 820, 300  # pixels
FLAT = 0.25  # of the trials without any gain: then more of them promise little


def search_panels(section: Section) -> Iterator[Panel]:
    """The drawings of every search that runs of the section are trials of."""
    for search in past_searches(section.runs):
        # Imported here: Optuna takes a second, and only the reports of searches need it.
        from compress.search.importance import importances

        shares: Mapping[str, Mapping[str, float]] = {}
        remark = ""
        try:
            shares = importances(search)
        except UserError as error:
            remark = f"The importance of the settings is not shown: {error}."
        drawings = (
            _progress(search),
            coordinates(search, remark),
            _importance(search, shares),
            _losses(search),
        )
        yield from (panel for panel in drawings if panel is not None)


def _progress(search: PastSearch) -> Panel | None:
    """The hypervolume after each trial; None of a single one, or if none is worth anything."""
    volumes = growth(search)
    if len(volumes) < 2 or volumes[-1] <= 0:
        return None
    gains = [i for i, volume in enumerate(volumes) if volume > (volumes[i - 1] if i else 0.0)]
    top = 1.1 * volumes[-1]
    chart = plain_figure(
        width=760,
        height=HEIGHT,
        x_axis_label="finished trials",
        y_axis_label="hypervolume",
        y_range=(0.0, min(1.0, top) if volumes[-1] < 1 else top),
    )
    chart.step(list(range(1, len(volumes) + 1)), volumes, mode="after", color=BLUE, line_width=2)
    source = {
        "count": [i + 1 for i in gains],
        "volume": [volumes[i] for i in gains],
        "trial": [search.trials[i].number for i in gains],
        "recipe": [recipe(search.trials[i].record) for i in gains],
    }
    dots = chart.scatter("count", "volume", source=source, size=8, color=BLUE)
    tips = [("trial", "@trial"), ("recipe", "@recipe"), ("hypervolume", "@volume{0.0000}")]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    count, last = len(search.trials), gains[-1] + 1
    words = (
        "The hypervolume of the Pareto front in all objectives "
        f"({', '.join(search.goals.objectives)}): 0 is no better than the teacher in size or time, "
        "1 is the unreachable ideal. A dot is a trial that increased it. The last one was trial "
        f"{search.trials[gains[-1]].number}, after {last} of the {count} finished trials"
    )
    if count - last >= FLAT * count:
        words += (
            f"; the {count - last} trials after it found nothing better, and more may not either."
        )
    else:
        words += ": more trials may find more."
    return Panel(f"How the search {short(search.name, 40)} went", words, chart)


def _importance(search: PastSearch, found: Mapping[str, Mapping[str, float]]) -> Panel | None:
    """A bar for each objective and setting, the heaviest settings on top; None without any."""
    if not found:
        return None
    weight = {key: sum(shares[key] for shares in found.values()) for key in search.keys}
    keys = sorted(weight, key=lambda key: -weight[key])[:MOST_SETTINGS]
    thick = 0.8 / len(found)
    chart = rows_figure(
        len(keys),
        width=WIDTH,
        height=16 * len(keys) * (len(found) + 1) + 90,
        x_axis_label="importance",
        x_range=(0, 1.05 * max(max(shares.values()) for shares in found.values())),
    )
    for place, (name, shares) in enumerate(found.items()):
        rows = [row - 0.4 + thick * (place + 0.5) for row in range(len(keys))]
        data = {"row": rows, "share": [shares[key] for key in keys], "key": keys}
        color = PALETTE[place % len(PALETTE)]
        bars = chart.hbar(
            "row", right="share", height=0.9 * thick, source=data, color=color, legend_label=name
        )
        tips = [("setting", "@key"), (name, "@share{0.0%}")]
        chart.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    chart.add_layout(chart.legend[0], "right")
    chart.xaxis.formatter = NumeralTickFormatter(format="0%")
    named_ticks(chart.yaxis[0], [short(key, 34) for key in keys])
    words = (
        "How much the distribution of each setting among the best tenth of the trials (at least "
        f"five) differs from that among all {len(search.trials)}, for each objective; the bars of "
        "an objective sum to 100 %. With few trials this is only an indication (conditional "
        "PED-ANOVA, arXiv:2601.20800)."
    )
    if len(keys) < len(search.keys):
        words += f" The {len(keys)} most important of {len(search.keys)} settings are shown."
    if even := [name for name in search.goals.objectives if name not in found]:
        words += f" For {', '.join(even)} the best trials have the same settings as the others."
    return Panel("Importance of the settings", words, chart)


def _losses(search: PastSearch) -> Panel | None:
    """How many trials failed or broke a constraint, by reason; None if none did."""
    shown = list(search.reasons.items())[:MOST_REASONS]
    if not shown:
        return None
    source = ColumnDataSource(
        {
            "row": list(range(len(shown))),
            "count": [count for _, count in shown],
            "reason": [reason for reason, _ in shown],
            "words": [f"{count} × {short(reason, 96)}" for reason, count in shown],
        }
    )
    chart = rows_figure(
        len(shown),
        width=WIDTH,
        height=34 * len(shown) + 70,
        x_axis_label="trials",
        x_range=(0, 1.05 * shown[0][1]),
    )
    bars = chart.hbar("row", height=0.8, right="count", source=source, color=SKY, alpha=0.5)
    chart.text(
        0, "row", "words", source=source, x_offset=6, text_baseline="middle", text_font_size="13px"
    )
    chart.yaxis.visible = False
    tips = [("trials", "@count"), ("reason", "@reason")]
    chart.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    words = (
        "Trials that failed or violate a constraint, by reason; numbers in a reason are omitted if "
        "they differ. A trial that violates several constraints counts for each. Trials that were "
        "stopped and run again are not included."
    )
    if len(shown) < len(search.reasons):
        words += f" The {len(shown)} most frequent of {len(search.reasons)} reasons are shown."
    return Panel("Failed and infeasible trials", words, chart)
