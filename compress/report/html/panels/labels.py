"""Names of runs and other text of unknown length, made to fit into a drawing."""

from __future__ import annotations

import re
from pathlib import Path

from compress.records.recipe import recipe
from compress.records.schema import RunRecord
from compress.report.points import run_name

# What Bokeh would typeset as a formula if a pair of them stood in a label.
FORMULA = re.compile(r"\$(?=\$)|\\(?=[()\[\]])")
LONGEST = 44  # signs of a run's label


def short(text: str, most: int) -> str:
    """Text as one line of at most so many signs, the middle left out; never a formula.

    Args:
        text: from configs and records, so anything.
        most: signs that fit, at least 8.
    """
    line = FORMULA.sub(lambda found: f"{found[0]}\u200b", " ".join(text.split()))
    if len(line) <= most:
        return line
    # The ends tell two names apart: a group's name, and the last of its settings.
    front = (most - 1) * 2 // 3
    return f"{line[:front]}…{line[len(line) - (most - 1 - front) :]}"


def run_sign(folder: Path) -> str:
    """A run in the least space: "#3", or its folder's name where that is not a number."""
    name = run_name(folder, folder.parent)
    return f"#{name}" if name.isdecimal() else name


def run_label(folder: Path, record: RunRecord, most: int = LONGEST) -> str:
    """A run's name and recipe: "#3 wanda sparsity=0.5 + int8_dynamic"."""
    return short(f"{run_sign(folder)} {recipe(record)}", most)
