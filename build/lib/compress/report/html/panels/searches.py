"""A search: how it went, its trials, what decides, and what was lost, a drawing each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compress.config.errors import UserError
from compress.report.html.panel import Panel
from compress.report.html.panels.coordinates import coordinates
from compress.report.html.panels.importance import importance
from compress.report.html.panels.losses import losses
from compress.report.html.panels.progress import progress
from compress.report.sections import Section
from compress.search.past import PastSearch, past_searches


def search_panels(section: Section) -> Iterator[Panel]:
    """The drawings of every search that runs of the section are trials of."""
    for search in past_searches(section.runs):
        shares, remark = _importances(search)
        drawings = (
            progress(search),
            coordinates(search, remark),
            importance(search, shares),
            losses(search),
        )
        yield from (panel for panel in drawings if panel is not None)


def _importances(search: PastSearch) -> tuple[Mapping[str, Mapping[str, float]], str]:
    """By objective and setting; none, and why, where they cannot be computed."""
    # Imported here: Optuna takes a second, and only the reports of searches need it.
    from compress.search.importance import importances

    try:
        return importances(search), ""
    except UserError as error:
        return {}, f"Which settings decide is not drawn: {error}."
