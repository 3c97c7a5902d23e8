from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from compress.records.schema import RunRecord
from compress.report.table import columns_page, results_table
from compress.report.write import write_report
from tests.configs import ROOT
from tests.records.test_schema import make_failed, make_record
from tests.report.test_points import at_shapes
from tests.report.test_report import put

pytestmark = pytest.mark.usefixtures("undrawn")

PAGE = ROOT / "docs" / "columns.md"


TIMED = at_shapes((1, 32), (8, 128))
TWO_SHAPES = replace(TIMED, speedup=(TIMED.speedup[0], replace(TIMED.speedup[1], ratio=3.0)))


def documented() -> list[str]:
    return re.findall(r"^\| `([^`]+)` \| (?:text|number|integer|boolean) \| ", columns_page(), re.M)


def test_the_page_of_the_columns_is_up_to_date() -> None:
    assert PAGE.read_text() == columns_page(), "run `python scripts/columns.py`"


def test_every_column_is_documented_and_every_documented_one_is_there() -> None:
    """In their order; those of shapes by their pattern."""
    runs = [(Path("0"), TWO_SHAPES), (Path("1"), make_failed())]
    names = results_table(runs, Path())
    found = [re.sub(r"_\d+x\d+$", "_<batch>x<length>", name) for name in names]
    assert list(dict.fromkeys(found)) == documented()
    assert len(documented()) == len(set(documented())) > 40
    shaped = [name for name in documented() if name.endswith("x<length>")]
    assert len(found) == len(documented()) + len(shaped), "a second shape has them all again"


def test_a_run_is_empty_where_it_was_not_timed() -> None:
    table = results_table([(Path("0"), make_record()), (Path("1"), TWO_SHAPES)], Path())
    assert table["speedup_8x128"].isna().tolist() == [True, False]
    assert table["speedup_8x128"][1] == 3.0
    assert table["latency_ms_8x128"][1] == 10.0, "twice as long as at the first shape"


def test_text_to_label_is_a_forward_pass_and_its_tokenization() -> None:
    [timed] = make_record().metrics.latency
    untold = replace(make_record().metrics, latency=(replace(timed, tokenize_ms=None),))
    runs = [make_record(), replace(make_record(), metrics=replace(untold, tokenizer=None))]
    table = results_table([(Path(str(i)), run) for i, run in enumerate(runs)], Path())
    for name in ("text_to_label_ms", "text_to_label_ms_1x32"):
        assert table[name][0] == timed.median_ms + 0.5
    assert table["tokenize_ms_1x32"][0] == 0.5
    assert table["tokenizer"][0] == "transformers"
    names = ("text_to_label_ms", "text_to_label_ms_1x32", "tokenize_ms_1x32", "tokenizer")
    assert table.loc[1, list(names)].isna().all()


TYPES = {
    "run": "string", "accuracy": "Float64", "size_bytes": "Int64", "n_regressed": "Int64",
    "seed": "Int64", "peak_memory_bytes": "Int64", "busy": "string", "error": "string",
    "seconds": "Float64",
}  # fmt: skip


@pytest.mark.parametrize(
    "records",
    [
        {},
        {"r0": make_failed()},
        {"r0": make_record(), "r1": make_failed(), "r2": make_record(seed=None)},
    ],
)
def test_parquet_has_the_same_columns_with_types(
    records: dict[str, RunRecord], tmp_path: Path
) -> None:
    put(tmp_path, **records)
    (tmp_path / "killed" / ".hydra").mkdir(parents=True)
    report = write_report([tmp_path], tmp_path)
    table = pd.read_parquet(tmp_path / "results.parquet")
    pd.testing.assert_frame_equal(table, report.table)
    text = pd.read_csv(tmp_path / "results.csv")
    assert list(text) == list(table)
    assert len(text) == len(table) == len(records)
    assert {name: str(table[name].dtype) for name in TYPES} == TYPES


def test_whole_numbers_stay_whole_beside_missing_ones(tmp_path: Path) -> None:
    put(tmp_path, r0=make_record(), r1=make_failed())
    write_report([tmp_path], tmp_path)
    table = pd.read_csv(tmp_path / "results.csv", dtype=str)
    assert table["size_bytes"].tolist()[0] == "1000"
    assert table["parameters"].tolist()[0] == "100"
    assert table.loc[1, ["size_bytes", "parameters"]].isna().all()
