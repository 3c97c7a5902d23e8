"""Rows that only one of two models has right, as a file for a reader."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from compress.measure.flips import find_flips, write_flips
from compress.problem.classification import Classification
from compress.problem.regression import Regression
from compress.report.classes import FlippedRow, flipped_rows
from compress.task.components.text import TextSplit

PROBLEM = Classification(("no", "yes"))
TEXTS = ["kept", "=lost()", "won, <b>", "both wrong"]
ROWS = TextSplit("test", pd.DataFrame({"text": TEXTS, "label": [0, 1, 1, 0]}), 8)


def logits(*said: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(said), 2).float()


def test_rows_are_those_that_only_one_has_right_and_the_regressed_come_first() -> None:
    ours, theirs = logits(0, 0, 1, 1), logits(0, 1, 0, 1)
    lost, won = find_flips(PROBLEM, (ours, theirs), ROWS)
    assert (lost.row, lost.change, lost.label, lost.baseline, lost.model, lost.texts) == (
        1, "regressed", "yes", "yes", "no", ("=lost()",),
    )  # fmt: skip
    assert (won.row, won.change, won.texts) == (2, "improved", ("won, <b>",))
    assert find_flips(PROBLEM, (ours, ours), ROWS) == ()
    assert find_flips(Regression(), (ours[:, :1], theirs[:, :1]), ROWS) == ()


def test_the_file_is_read_as_it_was_written_and_no_spreadsheet_runs_it(tmp_path: Path) -> None:
    write_flips(find_flips(PROBLEM, (logits(0, 0, 1, 1), logits(0, 1, 0, 1)), ROWS), tmp_path)
    assert "'=lost()" in (tmp_path / "flips.csv").read_text()
    found = flipped_rows(tmp_path)
    assert found is not None
    assert (found.n_regressed, found.n_improved) == (1, 1)
    assert found.regressed == (FlippedRow("yes", "yes", "no", "=lost()"),)
    assert found.improved == (FlippedRow("yes", "no", "yes", "won, <b>"),)


def test_without_flips_there_is_no_file(tmp_path: Path) -> None:
    write_flips((), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert flipped_rows(tmp_path) is None
    (tmp_path / "flips.csv").write_bytes(b"\xff\xfe")
    assert flipped_rows(tmp_path) is None, "not what a run writes"
