"""What documents take in an index, in every report: models do not show it, nor do decisions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compress.records.schema import FinishedRun
from compress.records.scores import INDEX_BYTES
from compress.report.write import MARKDOWN, PAGE
from tests.records.test_schema import evaluated_by
from tests.report.test_report import put, screen

NAMES = ("whole", "small", "teacher")

pytestmark = pytest.mark.usefixtures("undrawn")


def with_index(value: float, size: float) -> FinishedRun:
    record: FinishedRun = evaluated_by("ndcg_at_10", value, 0.91)
    ours, theirs = (
        replace(part, score=replace(part.score, others={INDEX_BYTES: each}))
        for part, each in ((record.metrics, size), (record.baseline, 1536.0))
    )
    return replace(record, metrics=ours, baseline=theirs)


def test_bytes_of_a_document_are_beside_those_of_the_model(tmp_path: Path) -> None:
    put(tmp_path, whole=with_index(0.9, 1536.0), small=with_index(0.88, 96.0))
    shown = screen(tmp_path, width=120)
    lines = [line.split() for line in shown.splitlines() if line.startswith(" ")]
    rows = {words[0]: words[-1] for words in lines if words and words[0] in NAMES}
    assert rows == {"whole": "1,536", "small": "96", "teacher": "1,536"}
    said = (
        "Bytes of an index are not weighed here. Run small has the smallest, 96 bytes a document "
        "instead of 1,536, with nDCG@10 0.8800"
    )
    page = (tmp_path / PAGE).read_text()
    assert said in " ".join(page.split())
    table = (tmp_path / MARKDOWN).read_text()
    assert "| index bytes a document |" in table
    assert "| 96 |" in table
    assert "MB, 96 bytes a document" in page


def test_an_index_like_the_teachers_is_not_mentioned(tmp_path: Path) -> None:
    put(tmp_path, whole=with_index(0.9, 1536.0), other=with_index(0.88, 1536.0))
    assert "bytes" not in screen(tmp_path, width=120)
    assert "index bytes" not in (tmp_path / MARKDOWN).read_text()
    assert "bytes a document" not in (tmp_path / PAGE).read_text()
