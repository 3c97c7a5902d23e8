"""The evaluation rows that only one of two models has right, with their texts, as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from compress.interfaces import Problem, Split
from compress.records.csv_text import csv_text
from compress.store.run_folder import FLIPS
from compress.system.files import write_atomically

REGRESSED, IMPROVED = "regressed", "improved"


@dataclass(frozen=True)
class Flip:
    """A row that only one of two models has right.

    Attributes:
        row: its place in the split, from 0.
        change: "regressed" where only the baseline has it right, else "improved".
        label: the right answer.
        texts: one or two; none of images.
    """

    row: int
    change: str
    label: str
    baseline: str
    model: str
    texts: tuple[str, ...]


def find_flips(
    problem: Problem,
    kept: tuple[Float[Tensor, "rows ..."], Float[Tensor, "rows ..."]],
    rows: Split,
) -> tuple[Flip, ...]:
    """The rows that flipped, those that regressed first; none where rows are not right or wrong.

    Args:
        problem: of the task.
        kept: logits of the model and of the baseline.
        rows: of which these are.
    """
    ours, theirs = (problem.answers(each) for each in kept)
    if ours is None or theirs is None:
        return ()
    right = problem.right_answers(rows.labels)
    found = []
    for row, (mine, other, label) in enumerate(zip(ours, theirs, right, strict=True)):
        if (mine == label) != (other == label):
            texts = tuple(column[row] for column in rows.columns)
            change = REGRESSED if other == label else IMPROVED
            found.append(Flip(row, change, label, other, mine, texts))
    return tuple(sorted(found, key=lambda flip: flip.change == IMPROVED))


def write_flips(flips: Sequence[Flip], folder: Path) -> None:
    """Writes flips.csv into the folder of a run; no file if nothing flipped."""
    if not flips:
        return
    rows = [
        {
            "row": flip.row,
            "change": flip.change,
            "label": flip.label,
            "teacher": flip.baseline,
            "model": flip.model,
            **{("text", "second")[place]: text for place, text in enumerate(flip.texts)},
        }
        for flip in flips
    ]
    write_atomically(folder / FLIPS, csv_text(pd.DataFrame(rows)))
