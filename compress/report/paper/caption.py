"""What stands below a printed plot: its named runs, and what they were measured on."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from compress.records.recipe import recipe
from compress.records.schema import FinishedRun
from compress.records.score_words import kind_of, value_words
from compress.records.words import megabytes, speedup_words, warnings
from compress.report.points import Shape, known_speedup

CAPTION = 118  # characters of small type in the figure's width


def front_lines(
    runs: Sequence[tuple[Path, FinishedRun]], shape: Shape, named: Mapping[int, str]
) -> list[str]:
    """The recipes of the named runs."""
    lines = []
    for row, name in named.items():
        _, record = runs[row]
        ours = record.metrics
        kind = kind_of(ours.score)
        words = (
            f"run {name}  {recipe(record)}: {kind.words} "
            f"{value_words(kind, ours.score.value, 3)}, {megabytes(ours.size_bytes)} MB, "
            f"speed-up: {speedup_words(known_speedup(record, shape))}"
        )
        lines += textwrap.wrap(words, CAPTION, subsequent_indent="     ")
    return lines


def condition_lines(runs: Sequence[tuple[Path, FinishedRun]]) -> list[str]:
    """What the figures were measured on, and with."""
    _, record = runs[0]
    env, score = record.environment, record.metrics.score
    used = sorted({"torch", *(each.metrics.runtime for _, each in runs)})
    versions = ", ".join(f"{name} {env.versions[name]}" for name in used if name in env.versions)
    what = f"{env.machine}; {env.device}; {versions}. {record.data.source} (n = {score.samples})."
    return [line for words in (what, *warnings(runs)) for line in textwrap.wrap(words, CAPTION)]
