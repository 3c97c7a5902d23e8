"""Whether one recipe loses less than a margin: what CI asks before a model is shipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from compress.analysis.decision import Rule, placed
from compress.analysis.noninferiority import Evidence, evidence
from compress.config.errors import UserError
from compress.records.recipe import recipe, recipe_key
from compress.records.schema import FILE, FinishedRun, Split, read_record
from compress.records.score_words import kind_of, less_than_words, lost_words, margin_words
from compress.records.words import needed_words, p_of
from compress.report.contest import change_on, deciding_split
from compress.system.terminal import plain


@dataclass(frozen=True)
class Gate:
    """What the rows of a split show of a recipe.

    Attributes:
        record: of the first run.
        seeds: how many runs there are.
    """

    record: FinishedRun
    seeds: int
    split: Split
    rule: Rule
    evidence: Evidence

    @property
    def passes(self) -> bool:
        """Whether the loss is shown to be smaller than the margin."""
        return placed(self.evidence, self.rule) == "admitted"


def read_gate(folders: Sequence[Path], rule: Rule, split: str | None) -> Gate:
    """Reads the runs and tests their recipe.

    Args:
        folders: of one run, or of runs that differ in their seed alone.
        rule: margin and level.
        split: "validation" or "test"; null for validation rows where there are any.

    Raises:
        UserError: a run cannot be read, failed or is of another recipe, rows or seed than it may
            be, or was not scored on the split.
    """
    records = [_finished(folder) for folder in folders]
    first = records[0]
    for folder, record in zip(folders[1:], records[1:], strict=True):
        if recipe_key(record) != recipe_key(first):
            raise UserError(
                f"{folder} differs from {folders[0]} in more than its seed: {recipe(record)} "
                f"instead of {recipe(first)}"
            )
        if record.data.digest != first.data.digest:
            raise UserError(f"{folder} has other rows than {folders[0]}")
    seeds = [record.seed for record in records]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"the runs must have different seeds, got {', '.join(map(str, seeds))}")
    found = deciding_split(records)
    if split == "validation" and found != "validation":
        raise UserError(f"{folders[0]} was not scored on validation rows; take --split test")
    chosen: Split = "evaluation" if split == "test" else found
    changes = [change_on(record, chosen) for record in records]
    return Gate(first, len(records), chosen, rule, evidence(changes, rule.margin, rule.alpha))


def show_gate(gate: Gate, console: Console) -> None:
    """Prints the verdict in a sentence."""
    found, kind = gate.evidence, kind_of(gate.record.metrics.score)
    margin = margin_words(kind, gate.rule.margin)
    rows = f"{found.rows:,} {'test' if gate.split == 'evaluation' else 'validation'} rows"
    seeds = f", mean of {gate.seeds} seeds" if gate.seeds > 1 else ""
    shown = f"{recipe(gate.record)} {lost_words(kind, found.change)} on {rows}{seeds}"
    if gate.passes:
        words = f"passed: {shown}; a loss of {margin} or more is excluded"
        words = f"{words} ({p_of(found.p_within)})"
    elif placed(found, gate.rule) == "excluded":
        words = f"failed: {shown}: more than {margin} ({p_of(found.p_beyond)})"
    else:
        less = less_than_words(kind, gate.rule.margin)
        words = f"failed: {shown}, which are too few to show that it would {less}"
        words = f"{words} ({p_of(found.p_within)}){needed_words(found.rows_needed)}"
    console.print(plain(words), soft_wrap=True)


def _finished(folder: Path) -> FinishedRun:
    path = folder if folder.name == FILE else folder / FILE
    if folder.is_dir() and not path.is_file():
        runs = sorted(map(str, (found.parent for found in folder.glob(f"*/{FILE}"))))
        near = folder.parent / FILE
        such = f"; its runs: {', '.join(runs)}" if runs else ""
        such = such or (f"; its run: {near.parent}" if near.is_file() else "")
        raise UserError(f"{folder} is not a run, it has no {FILE}{such}")
    record = read_record(path)
    if not isinstance(record, FinishedRun):
        raise UserError(f"{path} is of a run without figures: {record.status}: {record.error}")
    return record
