"""report.html: one file that needs no network and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from bokeh.document import Document
from bokeh.embed import components
from bokeh.models import UIElement
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from compress.records.collect import Collection
from compress.records.recipe import recipe, remake_command
from compress.records.schema import FinishedRun
from compress.records.score_words import (
    document_bytes,
    has_own_index,
    lost_words,
    score_words,
)
from compress.records.words import change_words, megabytes, speedup_words
from compress.report.classes import class_rows, flipped_rows, probability_rows
from compress.report.controls import control_rows
from compress.report.folds import fold_figures, fold_rows
from compress.report.honesty import excluded, facts
from compress.report.html.choice import key_figures, links, page_title, section_title
from compress.report.html.frontier import frontier
from compress.report.html.panels import panels
from compress.report.points import Shape, latency_figure, run_name, speedup_at, teacher_ms
from compress.report.recommend import Advice, Pick
from compress.report.seeds import COLUMNS, seed_rows, seed_words

PAGE, CSV = "report.html", "results.csv"
BUNDLES = ["bokeh", "bokeh-widgets", "bokeh-tables"]
COLLAPSED = 10  # longer lists are folded


def render_page(
    collection: Collection,
    advice: Sequence[Advice],
    root: Path,
    summary: str,
    out: Path | None = None,
) -> str:
    """The whole page as HTML.

    Args:
        collection: all that was found, for what is not among the sections.
        advice: one a section.
        root: runs are named by their folders below it.
        summary: how many runs of each kind there are.
        out: the folder of the page, if it is not the root.
    """
    parts = [
        (each, frontier(each, root, number), list(panels(each.section)))
        for number, each in enumerate(advice, start=1)
    ]
    drawings: list[UIElement] = []
    for _, drawn, shown in parts:
        drawings += [*drawn.drawings(), *(panel.drawing for panel in shown if panel.drawing)]
    scripts, divs = _embedded(drawings)
    if scripts:
        scripts.append((Path(__file__).parent / "page.js").read_text(encoding="utf-8"))
    return _template().render(
        title=page_title(advice, root),
        summary=summary,
        parts=parts,
        div=divs,
        excluded=excluded(collection, root),
        root=root,
        out=out or root,
        scripts=[Markup(script) for script in scripts],
        hashes=[_hash(script) for script in scripts],
    )


def _template() -> Template:
    """The page's template, with the functions that it calls."""
    environment = Environment(
        loader=PackageLoader("compress.report.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "collapsed": COLLAPSED,
        "csv": CSV,
        "row": pick_row,
        "run_rows": run_rows,
        "recipe": recipe,
        "teacher": teacher_row,
        "controls": control_cells,
        "facts": facts,
        "section_title": section_title,
        "key_figures": key_figures,
        "lost": lost_words,
        "links": links,
        "panel_id": lambda *numbers: f"panel-{'-'.join(map(str, numbers))}",
        "probability_rows": probability_rows,
        "class_rows": class_rows,
        "flipped_rows": flipped_rows,
        "seed_columns": COLUMNS,
        "seed_rows": seed_rows,
        "seed_words": seed_words,
        "fold_figures": fold_figures,
        "fold_rows": fold_rows,
        "command": remake_command,
    }
    return environment.get_template("page.html")


def pick_row(advice: Advice, pick: Pick) -> tuple[str, ...]:
    """The figures of a pick as words: score, change, size, latency, speed-up."""
    return _row(pick.record, advice.shape, pick.latency_ms)


def run_rows(advice: Advice, root: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, recipe and figures of every run of a section, as `pick_row` has those of a pick."""
    records = [record for _, record in advice.section.runs]
    latencies = latency_figure(records, advice.shape).values
    for (folder, record), latency_ms in zip(advice.section.runs, latencies, strict=True):
        yield run_name(folder, root), recipe(record), _row(record, advice.shape, float(latency_ms))


def control_cells(advice: Advice) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Title and figures of each control, as `pick_row` has those of a pick."""
    records = [record for _, record in advice.section.runs]
    for row in control_rows(records):
        yield row.title, _row(row.record, advice.shape, row.latency(records, advice.shape))


def _row(record: FinishedRun, shape: Shape, latency_ms: float) -> tuple[str, ...]:
    ours, speed = record.metrics, speedup_at(record, shape)
    index = f", {document_bytes(ours.score)} bytes a document" if has_own_index(record) else ""
    return (
        score_words(ours.score),
        change_words(record),
        f"{megabytes(ours.size_bytes)} MB{index}",
        "–" if speed is None else f"{latency_ms:.2f} ms",
        "not timed" if speed is None else speedup_words(speed),
    )


def teacher_row(advice: Advice) -> tuple[str, ...]:
    """The teacher's figures, as `pick_row` has those of a pick."""
    records = [record for _, record in advice.section.runs]
    # Teachers of other seeds have other scores: this is the one of the run that is named first.
    theirs = advice.picks[0].record.baseline if advice.picks else records[0].baseline
    return (
        score_words(theirs.score),
        "",
        f"{megabytes(theirs.size_bytes)} MB",
        f"{teacher_ms(records, advice.shape):.2f} ms",
        "1",
    )


def _embedded(drawings: Sequence[UIElement]) -> tuple[list[str], dict[UIElement, Markup]]:
    """The scripts of the page and the elements that they draw into."""
    if not drawings:
        return [], {}
    library = "\n".join(Resources(mode="inline", components=BUNDLES).js_raw)
    document = Document()
    # All at once: after each root that is added alone Bokeh looks through all that are there.
    with document.models.freeze():
        for each in drawings:
            document.add_root(each)
    script, divs = components(drawings, wrap_script=False)
    # What ends the element would end the script in the middle; there is none in Bokeh's own.
    assert "</script" not in (library + script).lower()
    return [library, script], dict(zip(drawings, map(Markup, divs), strict=True))


def _hash(script: str) -> str:
    """What the page's policy knows a script by: no other inline script may run."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
