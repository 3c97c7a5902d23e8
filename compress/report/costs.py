"""A table of costs in Markdown: how well it predicts, and the shapes that meet targets."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from compress.costs.fit import Fit
from compress.costs.samples import Sample
from compress.costs.table import Predicted, Table
from compress.costs.targets import Candidate, Targets
from compress.records.markdown import plain_text
from compress.report.tables import grouped, markdown_table

TITLE = "# Predicted costs"


def costs_page(
    table: Table,
    targets: Targets | None,
    listed: Sequence[Candidate],
    checked: Mapping[int, Sample | str],
    words: Mapping[str, Sequence[str]],
) -> str:
    """The page.

    Args:
        table: what was measured.
        targets: what the shapes are to meet, if anything.
        listed: the shapes to show, the best first.
        checked: by place in `listed`, what was measured of it for this page, or why nothing was.
        words: by runtime and format, the overrides of a run with it.
    """
    lines = [TITLE, ""]
    if table.pairs:
        lines += [*_setting(table), "", *_errors(table)]
        if doubt := table.doubt():
            lines += ["", f"**{plain_text(doubt)}**"]
    if targets is not None and listed:
        lines += ["", *_shapes(table, targets, listed)]
        first = [*words[listed[0].pair.name], *listed[0].sizes.overrides()]
        lines += ["", f"The first one: `python run.py {shlex.join(first)}`"]
    if checked:
        lines += ["", *_checked(listed, checked)]
    if table.refused:
        lines += ["", "## Not in the table", ""]
        reasons = grouped((reason, name) for name, reason in table.refused.items())
        lines += [
            f"- {plain_text(', '.join(names))}: {plain_text(reason)}"
            for reason, names in reasons.items()
        ]
    return "\n".join(lines) + "\n"


def _setting(table: Table) -> Iterator[str]:
    pair = next(iter(table.pairs.values()))
    found = pair.samples.conditions
    yield plain_text(f"Machine: {found['machine']}; {found['device']}.")
    times = zip(pair.shapes, pair.baseline_ms, strict=True)
    latencies = ", ".join(f"{ms:.2f} ms at {_shape(*shape)}" for shape, ms in times)
    size = pair.samples.baseline_bytes / 1e6
    yield f"Float32 teacher, eager: {latencies}; {size:.1f} MB."


def _errors(table: Table) -> Iterator[str]:
    """How far off a measured shape is when all others predict it."""
    first = next(iter(table.pairs.values()))
    columns = [*(f"time at {_shape(*shape)}" for shape in first.shapes), "bytes"]
    rows = [
        [
            *(name, str(len(pair.samples.found))),
            *(_error(fit, 1) for fit in pair.times),
            _error(pair.bytes, 2),
        ]
        for name, pair in table.pairs.items()
    ]
    yield "Relative error of a shape that is left out of the fit, median (worst):"
    yield ""
    yield from markdown_table(["runtime/format", "shapes measured", *columns], rows)


def _shapes(table: Table, targets: Targets, listed: Sequence[Candidate]) -> Iterator[str]:
    asked = [f"{ratio:g}× faster at {_shape(*shape)}" for shape, ratio in targets.faster.items()]
    if targets.smaller is not None:
        asked.append(f"{targets.smaller:g}× smaller")
    met = sum(each.margin >= 1 for each in listed)
    yield f"## {', '.join(asked)}"
    yield ""
    if met == 0:
        yield "No shape of the space is predicted to meet this; the closest ones:"
    else:
        yield "Shapes that are predicted to meet this; a margin of 1.1 is a tenth more than asked:"
    yield ""
    names = [table.family.named(each.sizes) for each in listed]
    shapes = listed[0].pair.shapes
    columns = ["runtime/format", *names[0], *(_shape(*s) for s in shapes), "MB", "smaller"]
    rows = [
        [each.pair.name, *sizes.values(), *_figures(each.predicted), f"{each.margin:.2f}"]
        for each, sizes in zip(listed, names, strict=True)
    ]
    yield from markdown_table([*columns, "margin"], rows)


def _checked(listed: Sequence[Candidate], checked: Mapping[int, Sample | str]) -> Iterator[str]:
    yield "## Predicted and measured"
    yield ""
    shapes = listed[0].pair.shapes
    figures = [*(_shape(*shape) for shape in shapes), "bytes"]
    rows = []
    for place, found in checked.items():
        each = listed[place]
        if isinstance(found, str):
            cells = [found, *[""] * len(shapes)]
        else:
            pairs = zip(each.predicted.speedup, found.speedup, strict=True)
            cells = [
                f"{ours:.2f} / {theirs:.2f} ({ours / theirs - 1:+.1%})" for ours, theirs in pairs
            ]
            ours, theirs = each.predicted.size_bytes, found.size_bytes
            cells.append(f"{ours:.0f} / {theirs} ({ours / theirs - 1:+.2%})")
        rows.append([str(place + 1), each.pair.name, *cells])
    yield from markdown_table(["row", "runtime/format", *figures], rows)


def _figures(predicted: Predicted) -> list[str]:
    """Speed-ups, each with its error, megabytes, and how many times smaller."""
    pairs = zip(predicted.speedup, predicted.speedup_error, strict=True)
    speed = [f"{ratio:.1f} ± {ratio * error:.1f}" for ratio, error in pairs]
    return [*speed, f"{predicted.size_bytes / 1e6:.2f}", f"{predicted.smaller:.1f}"]


def _error(fit: Fit, digits: int) -> str:
    return f"{fit.median_error:.{digits}%} ({fit.worst_error:.{digits}%})"


def _shape(batch: int, length: int) -> str:
    return f"{batch}×{length}"
