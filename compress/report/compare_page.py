"""A comparison of runs for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from compress.config.errors import UserError
from compress.records.collect import collect
from compress.records.markdown import plain_text
from compress.records.recipe import recipe
from compress.records.schema import FinishedRun
from compress.records.scores import SCORES
from compress.report.compare import (
    Difference,
    Matching,
    Pair,
    Run,
    cautions,
    changes,
    differences,
    match,
)
from compress.report.tables import grouped, markdown_table, screen_table
from compress.system.terminal import plain

NEWCOMBE = "Newcombe's (1998, method 10) of the two Wilson intervals"
ZOU_DONNER = "Zou and Donner's (2008) of the two intervals"
EXPLAINED = (
    "Speed-up: more than noise if the ratio of the two, with the intervals of both, lies outside "
    "the larger noise floor. Size is exact. Memory repeats to a few percent."
)
DIFFERENT, FIGURES = ("what differs", "A", "B"), ("figure", "A", "B", "change", "more than noise?")


@dataclass(frozen=True)
class Compared:
    """Two folders of runs, side by side, and what differs alike in every pair."""

    left: Path
    right: Path
    matching: Matching
    broken: tuple[str, ...]
    shared: tuple[Difference, ...]

    def own(self, pair: Pair) -> list[Difference]:
        """What differs in this pair and not alike in all."""
        return [each for each in differences(pair) if each not in self.shared]


def compare_folders(left: Path, right: Path) -> Compared:
    """Compares the runs below two folders.

    Raises:
        UserError: one of them has no run, or does not exist.
    """
    found = collect([left]), collect([right])
    for folder, collection in zip((left, right), found, strict=True):
        if not collection.runs:
            reasons = "".join(f"; {reason}" for reason in collection.broken)
            raise UserError(f"{folder} has no readable run{reasons}")
    matching = match(*found)
    each = [differences(pair) for pair in matching.pairs]
    shared = tuple(one for one in each[0] if all(one in other for other in each)) if each else ()
    return Compared(left, right, matching, (*found[0].broken, *found[1].broken), shared)


def show_comparison(compared: Compared, console: Console) -> None:
    """Prints it, warnings first."""
    console.print(f"A: {plain(str(compared.left))}\nB: {plain(str(compared.right))}")
    for words in _notes(compared):
        console.print(f"[yellow]{plain(words)}[/]", soft_wrap=True)
    if compared.shared:
        title = "In every pair" if len(compared.matching.pairs) > 1 else None
        console.print(_table(title, DIFFERENT, compared.shared))
    for pair in compared.matching.pairs:
        console.print(f"[bold]{plain(_name(compared, pair))}[/]")
        for words in _warnings(pair):
            console.print(f"[yellow]{plain(words)}[/]", soft_wrap=True)
        if own := compared.own(pair):
            console.print(_table(None, DIFFERENT, own))
        if found := changes(pair):
            console.print(_table(None, FIGURES, [change[1:] for change in found]))
    for words in _explained(compared):
        console.print(f"[dim]{plain(words)}[/]")


COMPARISON = "# Two runs, or two sweeps, compared"


def comparison_markdown(compared: Compared) -> str:
    """The same as a page."""
    parts = [
        [COMPARISON],
        [f"- A: {plain_text(str(compared.left))}", f"- B: {plain_text(str(compared.right))}"],
        [f"- **{plain_text(words)}**" for words in _notes(compared)],
    ]
    if compared.shared:
        title = "In every pair" if len(compared.matching.pairs) > 1 else "What differs"
        parts += [[f"## {title}"], markdown_table(DIFFERENT, compared.shared)]
    for pair in compared.matching.pairs:
        parts += [[f"## {plain_text(_name(compared, pair))}"]]
        parts += [[f"**{plain_text(words)}**"] for words in _warnings(pair)]
        own, found = compared.own(pair), changes(pair)
        parts += [markdown_table(DIFFERENT, own)] if own else []
        parts += [markdown_table(FIGURES, [change[1:] for change in found])] if found else []
    parts += [[plain_text(words)] for words in _explained(compared)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _notes(compared: Compared) -> Iterator[str]:
    """What was left out."""
    for side, root, runs in (
        ("A", compared.left, compared.matching.only_left),
        ("B", compared.right, compared.matching.only_right),
    ):
        for run in runs:
            yield f"Only in {side}: {_place(run, root)}, {recipe(run[1])}"
    if not compared.matching.pairs:
        yield "No run of A has a partner in B: none has the same overrides, or the same recipe."
    for reason in compared.broken:
        yield f"Unreadable: {reason}"


def _warnings(pair: Pair) -> Iterator[str]:
    for name, (_, record) in zip("AB", pair, strict=True):
        if record.status != "ok":
            yield f"{name} {record.status}, so there are no figures: {record.error}"
    reasons = grouped((reason, kind) for kind, reason in cautions(pair).items())
    for reason, kinds in reasons.items():
        yield f"These do not compare: {', '.join(kinds)}; {reason}."


def _explained(compared: Compared) -> Iterator[str]:
    """Explains which differences count as more than noise."""
    both = (record for pair in compared.matching.pairs for _, record in pair)
    finished = (record for record in both if isinstance(record, FinishedRun))
    for metric in dict.fromkeys(record.metrics.score.metric for record in finished):
        words, how = SCORES[metric].words, NEWCOMBE if metric == "accuracy" else ZOU_DONNER
        yield (
            f"{words[0].upper()}{words[1:]}: the interval of the difference is {how}, treating "
            "the rows as independent samples; records have no predictions to compare row by row."
        )
    yield EXPLAINED


def _name(compared: Compared, pair: Pair) -> str:
    left, right = recipe(pair.left[1]), recipe(pair.right[1])
    words = left if left == right else f"{left} → {right}"
    places = _place(pair.left, compared.left), _place(pair.right, compared.right)
    return f"{words} (A {places[0]}, B {places[1]})"


def _place(run: Run, root: Path) -> str:
    relative = run[0].relative_to(root)
    return f"run {relative if relative.parts else run[0].name}"


def _table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = screen_table(title)
    table.title_justify = "left"
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    return table
