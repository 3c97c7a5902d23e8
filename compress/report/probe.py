"""The tables of a probe: each format and runtime of one model, and the best of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from compress.analysis.budgets import LITTLE, MORE
from compress.analysis.decision import Rule, placed
from compress.analysis.noninferiority import evidence
from compress.config.errors import ConfigError
from compress.records.csv_text import csv_text
from compress.records.schema import FinishedRun, RunRecord
from compress.records.score_words import (
    difference_words,
    is_share,
    kind_of,
    less_than_words,
    value_words,
)
from compress.records.scores import SCORES, ScoreKind
from compress.records.words import megabytes, p_digits, rows_words, speedup_words
from compress.report.contest import change_on, deciding_split
from compress.report.points import Shape, known_speedup, latency_at, teacher_ms
from compress.report.tables import grouped, markdown_table, screen_table
from compress.system.files import write_atomically
from compress.system.terminal import plain


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    Attributes:
        results: by the pair's name, "cpu/int8_dynamic"; failed ones included.
        refused: by the pair's name, why it was not tried.
        shape: [batch, length] that the fastest is the fastest at.
    """

    results: Mapping[str, RunRecord]
    refused: Mapping[str, str]
    shape: Shape

    @property
    def ok(self) -> dict[str, FinishedRun]:
        """Results with figures, the fastest first."""
        found = {name: record for name, record in self.results.items() if record.status == "ok"}
        times = latencies(found, self.shape)
        return {name: found[name] for name in sorted(times, key=lambda each: times[each])}

    @property
    def metric(self) -> str:
        """Primary metric of the model; at least one result has figures."""
        return next(iter(self.ok.values())).metrics.score.metric

    @property
    def failed(self) -> dict[str, str]:
        """Errors of the results without figures."""
        records = self.results.items()
        return {name: record.error for name, record in records if record.status == "failed"}


def choose_shape(asked: str | None, shapes: Sequence[Shape]) -> Shape:
    """The [batch, length] that `--shape 1x128` means; the first one that is timed without it.

    Raises:
        ConfigError: it is not timed.
    """
    named = {_name(shape): shape for shape in shapes}
    if asked is None:
        return shapes[0]
    if asked not in named:
        raise ConfigError(
            f"--shape must be among the shapes that are timed, {', '.join(named)}; got {asked}"
        )
    return named[asked]


def latencies(records: Mapping[str, FinishedRun], shape: Shape) -> dict[str, float]:
    """Milliseconds of each result that compare: see `compress.report.points`."""
    by_device = grouped((record.environment.device, record) for record in records.values())
    baselines = {device: teacher_ms(alike, shape) for device, alike in by_device.items()}
    return {
        name: baselines[record.environment.device] / known_speedup(record, shape).counted
        for name, record in records.items()
    }


def change_cell(kind: ScoreKind, change: float) -> str:
    """A change of quality: in points of what is a share of the rows."""
    return f"{100 * change:+.1f}" if is_share(kind) else difference_words(kind, change)


def changed(kind: ScoreKind, change: float) -> str:
    """Change of quality in a sentence."""
    unit = " points" if is_share(kind) else ""
    return f"{change_cell(kind, change)}{unit}"


def write_probe(probe: Probe, out: Path) -> tuple[Path, Path]:
    """Writes probe.csv, with every figure, and probe.md for reading; returns both."""
    rows = [_row(name, record) for name, record in probe.ok.items()]
    rows += [
        {"format": name, "status": status, "reason": reason}
        for status, reasons in (("failed", probe.failed), ("not tried", probe.refused))
        for name, reason in reasons.items()
    ]
    write_atomically(out / "probe.csv", csv_text(pd.DataFrame(rows)))
    write_atomically(out / "probe.md", "\n".join(_markdown(probe)) + "\n")
    return out / "probe.csv", out / "probe.md"


def show_probe(probe: Probe, console: Console) -> None:
    """Prints the table at the chosen shape, the winners, and what has no figures and why."""
    if probe.ok:
        console.print(_screen(probe))
        for line in winner_lines(probe):
            console.print(plain(line), soft_wrap=True)
    for name, reason in probe.failed.items():
        console.print(f"[red]failed[/] {plain(name)}: {plain(reason)}", soft_wrap=True)
    for reason, names in _by_reason(probe.refused).items():
        words = f"{plain(', '.join(names))}: {plain(reason)}"
        console.print(f"[dim]not tried[/] {words}", soft_wrap=True)


def winner_lines(probe: Probe) -> Iterator[str]:
    """One sentence a margin: the best of those admitted by the rule of `docs/decision.md`."""
    for margin in (LITTLE, MORE):
        yield _winners(probe, Rule(margin=margin))


def _winners(probe: Probe, rule: Rule) -> str:
    records, kind = probe.ok, SCORES[probe.metric]
    split = deciding_split(list(records.values()))
    changes = {name: change_on(record, split) for name, record in records.items()}
    places = grouped(
        (placed(evidence([change], rule.margin, rule.alpha), rule), name)
        for name, change in changes.items()
    )
    rows = rows_words(next(iter(changes.values())).rows, split)
    words = f"Shown to {less_than_words(kind, rule.margin)}, on {rows}: "
    if admitted := places.get("admitted"):
        times = latencies(records, probe.shape)
        sizes = {name: records[name].metrics.size_bytes for name in admitted}
        fastest = min(admitted, key=lambda name: (times[name], sizes[name]))
        smallest = min(admitted, key=lambda name: (sizes[name], times[name]))
        speed = speedup_words(known_speedup(records[fastest], probe.shape))
        words += (
            f"fastest {fastest} (speed-up {speed}, {_changed(kind, records[fastest])}), smallest "
            f"{smallest} ({megabytes(sizes[smallest])} MB, {_changed(kind, records[smallest])})"
        )
    else:
        words += "none"
    if undecided := places.get("undecided"):
        words += f"; too few rows to decide on {', '.join(undecided)}"
    return words


def _changed(kind: ScoreKind, record: FinishedRun) -> str:
    return changed(kind, record.metrics.score.quality - record.baseline.score.quality)


def _screen(probe: Probe) -> Table:
    table = screen_table()
    # What gives way on a narrow screen: names, and the interval, which goes below the ratio.
    table.add_column("format", overflow="fold")
    for title in (*_titles(probe), "p", "MB", f"ms\n{_name(probe.shape, '×')}"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("speed-up", justify="right", min_width=len("(99.99–99.99)"))
    for name, record in probe.ok.items():
        *figures, ratio = (*_quality(record), *_speed(record, probe.shape))
        # A name may be broken at its slash, an interval not.
        words = (name.replace("/", "/ "), *figures, ratio.replace(" to ", "–"))
        table.add_row(*(plain(word) for word in words))
    return table


def _markdown(probe: Probe) -> Iterator[str]:
    yield "# Formats and runtimes of one model"
    if probe.ok:
        yield from ("", *_setting(probe), "")
        shapes = [(each.batch, each.length) for each in next(iter(probe.ok.values())).speedup]
        titles = ["format", "runtime", "precision", *_titles(probe), "p", "MB"]
        for shape in shapes:
            titles += [f"ms {_name(shape, '×')}", "speed-up"]
        rows = []
        for name, record in probe.ok.items():
            ours = record.metrics
            rows.append([name, ours.runtime, ours.precision or "–", *_quality(record)])
            for shape in shapes:
                rows[-1] += _speed(record, shape)
        yield from markdown_table(titles, rows)
        yield ""
        yield from (f"- {line}" for line in winner_lines(probe))
    for title, reasons in (("Failed", probe.failed), ("Not tried", probe.refused)):
        if reasons:
            # A block: no reason can become markup.
            yield from ("", f"## {title}", "", "```")
            for reason, names in _by_reason(reasons).items():
                yield f"{', '.join(names)}: {reason}"
            yield "```"


def _setting(probe: Probe) -> Iterator[str]:
    """What all rows share."""
    record = next(iter(probe.ok.values()))
    baseline, env = record.baseline, record.environment
    kind = kind_of(baseline.score)
    change = (
        f"Points are its {kind.words}'s change in percent of the rows"
        if is_share(kind)
        else f"The change is of its {kind.words}, of which {kind.better} is better"
    )
    test = record.comparison.test.replace("exact ", "")
    yield (
        f"{record.choices['task']}: the model has {kind.words} "
        f"{value_words(kind, baseline.score.value, 4)} "
        f"(n = {baseline.score.samples}) and {megabytes(baseline.size_bytes)} MB in eager float32 "
        f"torch. {change}; p is {test} of that. {env.machine}; {env.device}; "
        f"torch {env.versions['torch']}."
    )


def _titles(probe: Probe) -> tuple[str, str]:
    """Titles of the columns with the score and its change."""
    kind = SCORES[probe.metric]
    return kind.words, "points" if is_share(kind) else "change"


def _quality(record: FinishedRun) -> tuple[str, str, str, str]:
    ours, theirs = record.metrics, record.baseline
    kind = kind_of(ours.score)
    return (
        value_words(kind, ours.score.value, 4),
        change_cell(kind, ours.score.quality - theirs.score.quality),
        p_digits(record.comparison.p_value),
        megabytes(ours.size_bytes),
    )


def _speed(record: FinishedRun, shape: Shape) -> tuple[str, str]:
    return f"{_ms(record, shape):.2f}", speedup_words(known_speedup(record, shape))


def _row(name: str, record: FinishedRun) -> dict[str, Any]:
    """One line of the CSV file; units are in the column names."""
    ours, theirs = record.metrics, record.baseline
    row: dict[str, Any] = {
        "format": name,
        "status": record.status,
        "runtime": ours.runtime,
        "precision": ours.precision,
        ours.score.metric: ours.score.value,
        f"{ours.score.metric}_change": ours.score.value - theirs.score.value,
        "p_value": record.comparison.p_value,
        "agreement": record.comparison.agreement,
        "size_bytes": ours.size_bytes,
    }
    for speed in record.speedup:
        shape = (speed.batch, speed.length)
        row[f"latency_ms_{_name(shape)}"] = _ms(record, shape)
        row[f"speedup_{_name(shape)}"] = speed.ratio
        row[f"speedup_low_{_name(shape)}"] = speed.low
        row[f"speedup_high_{_name(shape)}"] = speed.high
        row[f"difference_{_name(shape)}"] = speed.counts
    return row


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    return grouped((reason, name) for name, reason in reasons.items())


def _ms(record: FinishedRun, shape: Shape) -> float:
    latency = latency_at(record.metrics, shape)
    assert latency is not None, "every result is timed at every shape"
    return latency.median_ms


def _name(shape: Shape, sign: str = "x") -> str:
    return f"{shape[0]}{sign}{shape[1]}"
