"""How a search went: its hypervolume over its trials."""

from __future__ import annotations

from bokeh.models import ColumnDataSource, HoverTool

from compress.records.recipe import recipe
from compress.report.html.panel import BLUE, Panel, plain_figure
from compress.report.html.panels.labels import short
from compress.search.past import PastSearch, growth

WIDTH, HEIGHT = 760, 300
FLAT = 0.25  # of the trials without any gain: then more of them promise little


def progress(search: PastSearch) -> Panel | None:
    """The hypervolume after each trial; None of a single one, or if none is worth anything."""
    volumes = growth(search)
    if len(volumes) < 2 or volumes[-1] <= 0:
        return None
    gains = [i for i, volume in enumerate(volumes) if volume > (volumes[i - 1] if i else 0.0)]
    chart = plain_figure(
        width=WIDTH,
        height=HEIGHT,
        x_axis_label="finished trials",
        y_axis_label="hypervolume",
        y_range=(0.0, min(1.0, 1.1 * volumes[-1]) if volumes[-1] < 1 else 1.1 * volumes[-1]),
    )
    chart.step(list(range(1, len(volumes) + 1)), volumes, mode="after", color=BLUE, line_width=2)
    source = ColumnDataSource(
        {
            "count": [i + 1 for i in gains],
            "volume": [volumes[i] for i in gains],
            "trial": [search.trials[i].number for i in gains],
            "recipe": [recipe(search.trials[i].record) for i in gains],
        }
    )
    dots = chart.scatter("count", "volume", source=source, size=8, color=BLUE)
    tips = [("trial", "@trial"), ("recipe", "@recipe"), ("hypervolume", "@volume{0.0000}")]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    return Panel(f"How the search {short(search.name, 40)} went", _words(search, gains), chart)


def _words(search: PastSearch, gains: list[int]) -> str:
    """What the curve is, and whether it was still rising."""
    count, last = len(search.trials), gains[-1] + 1
    since = count - last
    words = (
        "The hypervolume is how much of the best that can be thought of was found, all objectives "
        f"({', '.join(search.goals.objectives)}) together: 0 is no better than the teacher in size "
        "and time, 1 is out of reach. A dot is a trial that added to it. The last one was trial "
        f"{search.trials[gains[-1]].number}, after {last} of the {count} trials that were finished"
    )
    if since >= FLAT * count:
        return f"{words}; the {since} after it found nothing better, and more may not either."
    return f"{words}: more trials may find more."
